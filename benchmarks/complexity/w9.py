"""Benchmark W9: does the choice between light and heavy find the hard work, and is its share what was asked for?

    .venv/bin/python benchmarks/complexity/w9.py --public ../shared/data

Tested on families of templates and on public collections that no training has seen, against the same share of heavy
calls given by chance, by length alone, and against always light and always heavy. Writes a table to standard output; the
document is docs/benchmarks/choice.md.
"""

import argparse
import random
import statistics
import sys
import timeit
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from benchmarks.complexity.texts import Question, built, public  # noqa: E402 - the paths come first
from routing.complexity import load_model  # noqa: E402
from routing.shares import Shares  # noqa: E402

SHARES = (10, 20, 30, 40, 50)
SEEDS = range(10)
MATCHINGS = range(3)
# What a call of the heavy model costs, where one of the light costs 1.
HEAVY_COSTS = 10.0
CALLS = 2_000
WITHIN = 0.05

Scorer = Callable[[str], float]


def auc(questions: Sequence[Question], score: Scorer) -> float:
    """How often a hard question scores above an easy one, a tie as a half."""
    easy = sorted(score(each.text) for each in questions if not each.hard)
    found = 0.0
    hard = [score(each.text) for each in questions if each.hard]
    for each in hard:
        found += (bisect_left(easy, each) + bisect_right(easy, each)) / 2
    return found / (len(hard) * len(easy))


def matched(questions: Sequence[Question], seed: int) -> list[tuple[Question, Question]]:
    """Pairs of a hard and an easy question whose lengths differ by a twentieth at most, the closest first, each question in one pair."""
    chance = random.Random(seed)
    easy = [each for each in questions if not each.hard]
    chance.shuffle(easy)
    pairs = []
    for hard in sorted((each for each in questions if each.hard), key=lambda _: chance.random()):
        size = len(hard.text)
        partner = min(easy, key=lambda each: abs(len(each.text) - size), default=None)
        if partner is not None and abs(len(partner.text) - size) <= WITHIN * size:
            easy.remove(partner)
            pairs.append((hard, partner))
    return pairs


def won(pairs: Sequence[tuple[Question, Question]], score: Scorer) -> float:
    """In which share of the pairs the hard question scores higher, a tie as a half."""
    points = (
        1.0 if score(hard.text) > score(easy.text) else 0.5 * (score(hard.text) == score(easy.text))
        for hard, easy in pairs
    )
    return statistics.fmean(points)


def run(
    questions: Sequence[Question], score: Scorer, prior: Sequence[float], percent: int, seed: int, hard: float
) -> tuple[float, float]:
    """(share of heavy calls, share of the hard work that a heavy model answered) over a stream of calls.

    `hard` of the calls are hard. The first tenth, in which the sketch gets to know its tenant, counts too.
    """
    chance = random.Random(seed)
    kinds = {kind: [each for each in questions if each.hard is kind] for kind in (True, False)}
    shares, tenant = Shares(prior), uuid.UUID(int=1)
    heavy = asked_hard = hit = 0
    for _ in range(CALLS):
        question = chance.choice(kinds[chance.random() < hard])
        sketch, value = shares.of(tenant), score(question.text)
        chosen = sketch.threshold(percent).heavy(value, chance.random)
        sketch.note(value)
        heavy += chosen
        asked_hard += question.hard
        hit += chosen and question.hard
    return heavy / CALLS, hit / asked_hard


def chance_of(seed: int) -> Scorer:
    """Scores that know nothing."""
    chance = random.Random(seed + 1_000)
    return lambda _: chance.random()


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % interval over the seeds, in percent."""
    spread = 1.96 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.fmean(values) * 100:.1f} ± {spread * 100:.1f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--public", type=Path, required=True)
    folder = parser.parse_args().public
    model = load_model()
    cache: dict[str, float] = {}

    def trained(text: str) -> float:
        return cache.setdefault(text, model.score(text))

    def length(text: str) -> float:
        return float(len(text))

    sets = {"templates": built("test", each=60, seed=90), "public": list(public(folder))}
    sets["both"] = [*sets["templates"], *sets["public"]]
    out = sys.stdout.write
    out("| set | questions | hard | AUC trained | AUC length | pairs | pairs won, trained | length |\n")
    out("|---|---|---|---|---|---|---|---|\n")
    for name, questions in sets.items():
        pairs = [pair for seed in MATCHINGS for pair in matched(questions, seed)]
        hard = sum(each.hard for each in questions)
        out(
            f"| {name} | {len(questions)} | {hard} | {auc(questions, trained):.3f} | {auc(questions, length):.3f} "
            f"| {len(pairs) // len(MATCHINGS)} | {won(pairs, trained) * 100:.1f} % | {won(pairs, length) * 100:.1f} % |\n"
        )
    out("\n| asked share | got | hard work found: trained | length | chance | cost against always heavy |\n")
    out("|---|---|---|---|---|---|\n")
    for percent in SHARES:
        got = [run(sets["both"], trained, model.quantiles, percent, seed, 0.3) for seed in SEEDS]
        long = [run(sets["both"], length, (), percent, seed, 0.3) for seed in SEEDS]
        luck = [run(sets["both"], chance_of(seed), (), percent, seed, 0.3) for seed in SEEDS]
        cost = statistics.fmean((1 - each[0]) + each[0] * HEAVY_COSTS for each in got) / HEAVY_COSTS
        out(
            f"| {percent} % | {interval([each[0] for each in got])} % | {interval([each[1] for each in got])} % "
            f"| {interval([each[1] for each in long])} % | {interval([each[1] for each in luck])} % | {cost * 100:.0f} % |\n"
        )
    out("\n| calls that are hard | asked | got |\n|---|---|---|\n")
    for hard_share in (0.05, 0.3, 0.7):
        for percent in (10, 30, 50):
            shares = [
                run(sets["both"], trained, model.quantiles, percent, seed, hard_share)[0] for seed in SEEDS
            ]
            out(f"| {hard_share * 100:.0f} % | {percent} % | {interval(shares)} % |\n")
    out("\n| family | hard | mean score |\n|---|---|---|\n")
    for family in dict.fromkeys(each.family for each in sets["both"]):
        mine = [each for each in sets["both"] if each.family == family]
        out(f"| {family} | {mine[0].hard} | {statistics.fmean(trained(each.text) for each in mine):.2f} |\n")
    by_size = sorted((each.text for each in sets["both"]), key=len)
    for name, text in (("middle", by_size[len(by_size) // 2]), ("longest", by_size[-1])):
        took = min(timeit.repeat(lambda text=text: model.score(text), number=50, repeat=100)) / 50 * 1e6  # type: ignore[misc]
        out(f"\nscore of the {name} text ({len(text)} characters): {took:.1f} µs\n")


if __name__ == "__main__":
    main()
