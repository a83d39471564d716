"""Questions out of templates, and those of public collections: what the complexity of a text is learned and judged by.

The templates are our own (`families.toml`). The public collections are read where they lie and never copied: SQuAD 2.0
(CC BY-SA 4.0), XQuAD (CC BY-SA 4.0) and Cranfield (public domain for research), which no training sees.
"""

import json
import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SLOT = re.compile(r"\{(\w+)\}")
CODE = (
    "def total(rows):\n    found = 0\n    for row in rows:\n        found += row.amount\n    return found / len(rows)",
    "async function pull() {\n  while (true) {\n    const job = await next();\n    queue.push(job);\n    flush();\n  }\n}",
    "lock.acquire()\nstate = read(path)\nstate['count'] += 1\nwrite(path, state)\nlock.release()",
    "SELECT c.id, SUM(o.total) FROM customers c JOIN orders o ON o.customer = c.id GROUP BY c.id",
)
MATERIAL = (
    "The harbour office wrote on the fourth of May that berth seven stays closed until the crane is repaired.",
    "Mrs Lindqvist signed for two pallets and noted that one corner was wet.",
    "Im Vertrag steht, dass die Miete am dritten Werktag fällig ist und 840 Euro beträgt.",
    "The offer is valid until the thirtieth of June and includes delivery to the ground floor.",
    "Herr Okafor bat darum, die Unterlagen an die Filiale in Kassel zu schicken.",
    "Visitors reach the building through the north gate, where a pass is printed for them.",
    "If the goods are not collected within ten days, storage is charged at 12 euros a day.",
    "Die Versammlung beschloss mit neun zu vier Stimmen, den Zaun im Herbst zu erneuern.",
    "The thermostat was replaced under warranty, the travel of the technician was not.",
    "Our colleague in Porto will answer the phone on 351 555 0148 while the line is tested.",
)


@dataclass(frozen=True, slots=True)
class Question:
    """A text, whether the work it asks for is hard, and which family it is of."""

    text: str
    hard: bool
    family: str


def built(split: str, *, each: int, seed: int) -> list[Question]:
    """`each` questions of every family of the split; the same for the same seed."""
    with (HERE / "families.toml").open("rb") as file:
        stored: Mapping[str, Any] = tomllib.load(file)
    chance = random.Random(seed)
    found = []
    for family in stored["family"]:
        if family["split"] == split:
            for number in range(each):
                asked = family["ask"][number % len(family["ask"])]
                text = SLOT.sub(lambda slot: _filled(slot[1], stored["slots"], chance), asked)
                found.append(Question(text, family["hard"], family["name"]))
    return found


def _filled(slot: str, slots: Mapping[str, Sequence[str]], chance: random.Random) -> str:
    if slot == "text":
        return " ".join(chance.choice(MATERIAL) for _ in range(chance.choice((1, 2, 4, 8, 16, 40))))
    if slot == "code":
        return chance.choice(CODE)
    return chance.choice(slots[slot])


def squad(path: Path, name: str, *, most: int, with_passage: bool) -> list[Question]:
    """Questions of a collection in SQuAD's form: facts that stand in a passage, and so easy."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    pairs = [
        (paragraph["context"], asked["question"])
        for article in stored["data"]
        for paragraph in article["paragraphs"]
        for asked in paragraph["qas"]
    ]
    random.Random(1).shuffle(pairs)
    return [
        Question(f"{passage}\n\n{question}" if with_passage else question, False, name)
        for passage, question in pairs[:most]
    ]


def cranfield(path: Path) -> list[Question]:
    """Cranfield's queries: what aerodynamicists asked the literature, taken as hard."""
    parts = re.split(r"\.I \d+\s+\.W\s+", path.read_text(encoding="utf-8"))
    return [Question(" ".join(part.split()), True, "cranfield") for part in parts if part.strip()]


def public(folder: Path) -> Iterator[Question]:
    """The questions of all public collections that lie in `folder`."""
    squad_file = folder / "squad" / "dev-v2.0.chrischute-half.json"
    for passage, tail in ((False, ""), (True, "+passage")):
        yield from squad(squad_file, f"squad{tail}", most=400, with_passage=passage)
        yield from squad(
            folder / "xquad" / "xquad.de.json", f"xquad.de{tail}", most=400, with_passage=passage
        )
    yield from cranfield(folder / "cranfield" / "cran.qry")
