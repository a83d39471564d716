"""How often alike questions are taken for the same, rightly and wrongly: thresholds, with and without the words' guard.

`PYTHONPATH=.:platform .venv/bin/python benchmarks/semantic_cache.py [FOLDER OF DATA]`. Questions are those of SQuAD and XQuAD.
Prints a table; JSON under var/bench/semantic-cache.json.

Pairs that ask the same: two questions of one paragraph whose answers are the same span (as people asked them, some of
them in truth for different things), and rewordings made by rule. Pairs that do not: two questions of one paragraph with
answers that share no word, and a question beside itself with a number, a name, the interrogative or the sense turned round, with two
words of it in each other's place, or with a sign more; and who does what to whom, in made sentences.
"""

import itertools
import json
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assistants.likeness import may_share_an_answer, normal_form
from inference.adapters.local_embedding import _load
from inference.hashing_vectoriser import hash_vectors

ROOT = Path(__file__).resolve().parent.parent
THRESHOLDS = (0.80, 0.85, 0.88, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98)
MOST_PAIRS = 3_000
Pair = tuple[str, str]
_CAPITAL = re.compile(r"(?<!^)\b[A-ZÄÖÜ][a-zäöüß]{3,}\b")
_TURNS = {
    "When": "Where",
    "Where": "When",
    "Who": "When",
    "Why": "When",
    "Wann": "Wo",
    "Wo": "Wann",
    "Wer": "Wann",
}
_PARTIES = ("landlord", "tenant", "employer", "employee", "buyer", "seller", "agency", "client")
_PARTEIEN = ("Vermieter", "Mieter", "Arbeitgeber", "Käufer", "Verkäufer", "Kunde", "Anbieter")
_ROLES = {
    "en": (
        ("Does the {} pay the {}?", _PARTIES),
        ("When may the {} give notice to the {}?", _PARTIES),
        ("How do I convert {} to {}?", ("USD", "EUR", "GBP", "CHF", "metres", "feet", "litres", "gallons")),
        ("How do I switch from {} to {}?", ("Basic", "Pro", "Team", "Windows", "Linux", "German", "English")),
        ("May {} approve the expenses of their {}?", ("employees", "managers", "directors", "contractors")),
    ),
    "de": (
        ("Zahlt der {} dem {} etwas?", _PARTEIEN),
        ("Wann darf der {} dem {} kündigen?", _PARTEIEN),
        ("Wie rechne ich {} in {} um?", ("Euro", "Dollar", "Franken", "Meter", "Fuß", "Liter", "Gallonen")),
        (
            "Wie wechsle ich von {} zu {}?",
            ("Basis", "Pro", "Team", "Windows", "Linux", "Deutsch", "Englisch"),
        ),
    ),
}


def main() -> int:
    """Measure and print."""
    data = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT.parent / "shared" / "data")
    if not data.is_dir():
        sys.stderr.write(f"{data} is no folder\n")
        return 2
    rng = random.Random(7)
    sets = {
        "en": _paragraphs(data / "squad" / "dev-v2.0.chrischute-half.json")
        + _paragraphs(data / "xquad" / "xquad.en.json"),
        "de": _paragraphs(data / "xquad" / "xquad.de.json"),
    }
    pairs: dict[str, list[Pair]] = {}
    for language, paragraphs in sets.items():
        for kind, found in _pairs(paragraphs, language, rng).items():
            pairs[f"{language} {kind}"] = rng.sample(found, min(MOST_PAIRS, len(found)))
    report = {"MiniLM": _measure(pairs, _embedded), "hashing": _measure(pairs, hash_vectors)}
    out = ROOT / "var" / "bench" / "semantic-cache.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1))
    for embedder, rows in report.items():
        print(f"\n{embedder}: share of pairs taken for the same, in percent (with the guard / without)")
        print(f"{'pairs':28}{'n':>6}" + "".join(f"{each:>12.2f}" for each in THRESHOLDS))
        for kind, row in rows.items():
            cells = (f"{a:.1f}/{b:.1f}" for a, b in zip(row["guarded"], row["bare"], strict=True))
            print(f"{kind:28}{row['pairs']:>6}" + "".join(f"{cell:>12}" for cell in cells))
    return 0


def _paragraphs(path: Path) -> list[list[tuple[str, str, int]]]:
    """(question, answer, where the answer stands), by paragraph."""
    found = []
    for article in json.loads(path.read_text())["data"]:
        for paragraph in article["paragraphs"]:
            rows = [
                (each["question"].strip(), each["answers"][0]["text"], each["answers"][0]["answer_start"])
                for each in paragraph["qas"]
                if each["answers"]
            ]
            found.append(rows)
    return found


def _pairs(paragraphs: Sequence[Any], language: str, rng: random.Random) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {
        "same: same answer span": [], "same: reworded": [], "other: same paragraph": [], "other: number": [],
        "other: name": [], "other: interrogative": [], "other: negated": [],
        "other: swapped": list(_who_to_whom(language)), "other: sign": [],
    }  # fmt: skip
    # Chance of its own, so that what was measured before is drawn as it was.
    later = random.Random(11)
    for rows in paragraphs:
        for (one, answer, at), (two, other, there) in itertools.combinations(rows, 2):
            if normal_form(one) == normal_form(two):
                continue
            if answer == other and at == there:
                found["same: same answer span"].append((one, two))
            elif not set(answer.casefold().split()) & set(other.casefold().split()):
                found["other: same paragraph"].append((one, two))
        names = sorted({name for row in rows for name in _CAPITAL.findall(row[0])})
        for question, _, _ in rows:
            found["same: reworded"] += [(question, each) for each in _reworded(question, language, rng)]
            for kind, changed in [*_changed(question, names, language, rng), *_otherwise(question, later)]:
                found[kind].append((question, changed))
    return found


def _reworded(question: str, language: str, rng: random.Random) -> Iterator[str]:
    bare = question.rstrip("? ")
    yield bare.lower()
    if language == "en":
        yield f"Can you tell me: {bare[0].lower()}{bare[1:]}?"
        yield f"{bare}, please?"
    else:
        yield f"Können Sie mir sagen: {bare[0].lower()}{bare[1:]}?"
        yield f"{bare}, bitte?"
    words = bare.split()
    long = [at for at, word in enumerate(words) if len(word) > 5 and word.islower()]
    if long:
        at = rng.choice(long)
        word = words[at]
        cut = rng.randrange(1, len(word) - 2)
        words[at] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
        yield " ".join(words) + "?"


def _changed(question: str, names: list[str], language: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    number = re.search(r"\d+", question)
    if number:
        other = str(int(number.group()) + rng.choice((1, 2, 10)))
        yield "other: number", question[: number.start()] + other + question[number.end() :]
    own = _CAPITAL.findall(question)
    others = [name for name in names if name not in question]
    if own and others:
        yield "other: name", question.replace(rng.choice(own), rng.choice(others))
    head, _, rest = question.partition(" ")
    if head in _TURNS:
        yield "other: interrogative", f"{_TURNS[head]} {rest}"
    verb = (
        r"\b(is|are|was|were|did|does|do|can|has|have)\b"
        if language == "en"
        else r"\b(ist|sind|war|waren|wurde|hat|kann)\b"
    )
    match = re.search(verb, question)
    if match:
        word = "not" if language == "en" else "nicht"
        yield "other: negated", f"{question[: match.end()]} {word}{question[match.end() :]}"


def _otherwise(question: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """With two of its names, else two of its long words, in each other's place; with a sign at its number."""
    words = dict.fromkeys(_CAPITAL.findall(question)) or dict.fromkeys(
        re.findall(r"\b[a-zäöüß]{6,}\b", question)
    )
    if len(words) > 1:
        one, other = rng.sample(list(words), 2)
        places = {one: other, other: one}
        yield "other: swapped", re.sub(rf"\b({one}|{other})\b", lambda match: places[match[0]], question)
    number = re.search(r"\d+", question)
    if number:
        before, after = rng.choice((("-", ""), ("", " %"), ("$", ""), ("", " €"), ("> ", ""), ("", "²")))
        head, tail = question[: number.start()], question[number.end() :]
        yield "other: sign", f"{head}{before}{number.group()}{after}{tail}"


def _who_to_whom(language: str) -> Iterator[Pair]:
    for frame, fillings in _ROLES[language]:
        for one, other in itertools.combinations(fillings, 2):
            yield frame.format(one, other), frame.format(other, one)


def _measure(pairs: dict[str, list[Pair]], embed: Any) -> dict[str, Any]:
    texts = sorted({text for found in pairs.values() for pair in found for text in pair})
    vectors: npt.NDArray[np.float32] = np.asarray(embed(texts), dtype=np.float32)
    place = {text: at for at, text in enumerate(texts)}
    report = {}
    for kind, found in pairs.items():
        if not found:
            continue
        likeness = np.array([float(vectors[place[a]] @ vectors[place[b]]) for a, b in found])
        guard = np.array([may_share_an_answer(a, b) for a, b in found])
        same = np.array([normal_form(a) == normal_form(b) for a, b in found])
        report[kind] = {
            "pairs": len(found),
            "bare": [round(100 * float(((likeness >= each) | same).mean()), 2) for each in THRESHOLDS],
            "guarded": [
                round(100 * float((((likeness >= each) & guard) | same).mean()), 2) for each in THRESHOLDS
            ],
        }
    return report


def _embedded(texts: Sequence[str]) -> Any:
    embed = _load(None)
    return [vector for start in range(0, len(texts), 256) for vector in embed(texts[start : start + 256])[0]]


if __name__ == "__main__":
    raise SystemExit(main())
