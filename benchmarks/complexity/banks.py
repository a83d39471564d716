"""What banks of examples add to the words (a part of W9): AUC and pairs of equal length, with and without them.

    .venv/bin/python benchmarks/complexity/banks.py --public ../shared/data

`general` are examples out of the training's families: what a platform may give to all. `own` are examples out of the very
collections that are tested, taken out of the test: what a tenant gives that knows its own questions. Each by MiniLM, and by
the hashing vectoriser that stands in for it. Writes a table; the document is docs/benchmarks/choice.md.
"""

import argparse
import random
import statistics
import sys
import timeit
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(Path(__file__).resolve().parent)]

from texts import Question, built, public  # noqa: E402 - the paths come first
from w9 import MATCHINGS, auc, matched, won  # noqa: E402

from inference.adapters.local_embedding import LocalEmbeddingEngine  # noqa: E402
from inference.hashing_vectoriser import hash_vectors  # noqa: E402
from routing.complexity import asked_part, load_model  # noqa: E402
from routing.examples import EXAMPLE_LENGTH, Bank, Examples, Likeness, likeness_of, make_bank  # noqa: E402

Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]
SEEDS = range(5)
# Examples of each kind.
SIZES = (5, 20, 40)
# Texts that are embedded at once.
BATCH = 64


def minilm(texts: Sequence[str]) -> Sequence[Sequence[float]]:
    """By the engine that the platform comes with."""
    return [
        vector for at in range(0, len(texts), BATCH) for vector in _ENGINE._work(texts[at : at + BATCH])[0]
    ]


_ENGINE = LocalEmbeddingEngine()


def hashed(texts: Sequence[str]) -> Sequence[Sequence[float]]:
    """By words alone."""
    return hash_vectors(texts).tolist()


def part(question: Question) -> str:
    """What is embedded of it, as production does."""
    return asked_part(question.text).strip() or "-"


def drawn(pool: Sequence[Question], size: int, seed: int) -> tuple[list[Question], list[Question]]:
    """So many easy and hard ones that may be examples: short enough, and none twice."""
    chance = random.Random(seed)
    kinds = []
    for hard in (False, True):
        able = {
            each.text: each
            for each in pool
            if each.hard is hard and len(each.text) <= EXAMPLE_LENGTH and each.text.isprintable()
        }
        kinds.append(chance.sample(sorted(able.values(), key=lambda each: each.text), size))
    return kinds[0], kinds[1]


def measured(
    tested: Sequence[Question], bank: Bank | None, vectors: dict[str, Sequence[float]]
) -> tuple[float, float]:
    """(AUC, share of pairs of equal length in which the hard one scores higher)."""
    model = load_model()
    scores: dict[str, float] = {}
    for each in tested:
        found: Likeness | None = likeness_of(vectors[part(each)], bank) if bank is not None else None
        scores[each.text] = model.score(each.text, found.evidence if found is not None else 0.0)
    pairs = [pair for seed in MATCHINGS for pair in matched(tested, seed)]
    return auc(tested, scores.__getitem__), won(pairs, scores.__getitem__)


def rows(name: str, embed: Embed, sets: dict[str, list[Question]], trained: list[Question]) -> Iterator[str]:
    """Lines of the table for one embedder."""
    texts = sorted({part(each) for each in (*trained, *sets["templates"], *sets["public"])})
    vectors = dict(zip(texts, embed(texts), strict=True))
    for kind, tested in (("general", "templates"), ("general", "public"), ("own", "public")):
        for size in SIZES:
            with_bank, without = [], []
            for seed in SEEDS:
                pool = trained if kind == "general" else sets[tested]
                easy, hard = drawn(pool, size, seed)
                examples = Examples(tuple(map(part, easy)), tuple(map(part, hard)))
                bank = make_bank(examples, name, [vectors[each] for each in (*examples.easy, *examples.hard)])
                given = {each.text for each in (*easy, *hard)}
                rest = [each for each in sets[tested] if each.text not in given]
                with_bank.append(measured(rest, bank, vectors))
                without.append(measured(rest, None, vectors))
            cells = [_mean(values, at) for at in (0, 1) for values in (without, with_bank)]
            yield (
                f"| {name} | {kind} | {tested} | {size} + {size} | {cells[0]:.3f} | {cells[1]:.3f} "
                f"| {cells[2] * 100:.1f} % | {cells[3] * 100:.1f} % |\n"
            )


def _mean(values: Sequence[tuple[float, float]], at: int) -> float:
    return statistics.fmean(each[at] for each in values)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--public", type=Path, required=True)
    folder = parser.parse_args().public
    sets = {"templates": built("test", each=30, seed=90), "public": list(public(folder))}
    trained = built("train", each=20, seed=20)
    out = sys.stdout.write
    out(
        "| embedder | examples | tested on | easy + hard | AUC, words | with examples | pairs won, words | with examples |\n"
    )
    out("|---|---|---|---|---|---|---|---|\n")
    for name, embed in (("MiniLM", minilm), ("hashing", hashed)):
        for line in rows(name, embed, sets, trained):
            out(line)
            sys.stdout.flush()
    easy, hard = drawn(trained, 40, 1)
    examples = Examples(tuple(map(part, easy)), tuple(map(part, hard)))
    bank = make_bank(examples, "", minilm([*examples.easy, *examples.hard]))
    question = "Under which assumptions does more trade lead to less waste?"
    vector = minilm([question])[0]
    if bank is None:
        raise SystemExit("no bank")
    for name, work in (
        ("vector of a short question by MiniLM", lambda: minilm([question])),
        ("likeness to 40 + 40 examples", lambda: likeness_of(vector, bank)),
    ):
        took = min(timeit.repeat(work, number=20, repeat=20)) / 20 * 1e6
        out(f"\n{name}: {took:.1f} µs\n")


if __name__ == "__main__":
    main()
