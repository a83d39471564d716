"""The Cranfield collection (1,400 abstracts, 225 questions with judgements), and nDCG over it.

Read from `ATRIUM_TEST_CRANFIELD`, else from `../shared/data/cranfield` beside the checkout.
"""

import json
import math
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from knowledge.chunking import TextChunk, cut_chunks
from knowledge.parsing.blocks import paragraph

_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data" / "cranfield"
FOLDER = Path(os.environ.get("ATRIUM_TEST_CRANFIELD", _BESIDE))
BASE = uuid.UUID(int=0xC0FFEE)


@dataclass(frozen=True, slots=True)
class Cranfield:
    """Titles and texts by number; questions; the relevant numbers of each question."""

    documents: Mapping[int, tuple[str, str]]
    questions: Mapping[int, str]
    relevant: Mapping[int, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of an abstract as it is indexed."""

    number: int
    chunk_id: uuid.UUID
    document_id: uuid.UUID
    text: str


def read_cranfield(folder: Path = FOLDER) -> Cranfield:
    """The collection; judgements of the least interest (code -1) left out."""
    relevant: dict[int, set[int]] = {}
    for line in (folder / "cranqrel").read_text().splitlines():
        question, document, code = line.split()
        if int(code) >= 1:
            relevant.setdefault(int(question), set()).add(int(document))
    lines = (folder / "queries.jsonl").read_text().splitlines()
    questions = {number: json.loads(line)["text"] for number, line in enumerate(lines, start=1)}
    return Cranfield(
        documents=_documents((folder / "cran.all.1400").read_text()),
        questions=questions,
        relevant={number: frozenset(found) for number, found in relevant.items()},
    )


def _documents(text: str) -> dict[int, tuple[str, str]]:
    documents: dict[int, tuple[str, str]] = {}
    for part in text.split("\n.I ")[0:]:
        number = int(part.removeprefix(".I ").split("\n", 1)[0])
        title = part.split("\n.T\n", 1)[1].split("\n.A", 1)[0].replace("\n", " ").strip()
        body = part.split("\n.W\n", 1)[1].replace("\n", " ").strip() if "\n.W\n" in part else ""
        documents[number] = (title, body.removeprefix(title).strip() or title)
    return documents


def pieces_of(collection: Cranfield, numbers: Sequence[int]) -> list[Piece]:
    """The abstracts cut and put together as an ingestion does it."""
    pieces = []
    for number in numbers:
        title, text = collection.documents[number]
        chunks: list[TextChunk] = cut_chunks([paragraph(text or title)])
        for chunk in chunks:
            pieces.append(
                Piece(
                    number,
                    uuid.uuid5(BASE, f"{number}/{chunk.position}"),
                    uuid.UUID(int=number),
                    f"{title}\n{chunk.text}",
                )
            )
    return pieces


def ndcg(order: Sequence[int], relevant: frozenset[int], *, at: int = 10) -> float:
    """Normalised discounted cumulative gain of one order, all relevant documents of equal worth."""
    gain = sum(
        1 / math.log2(rank + 1) for rank, number in enumerate(order[:at], start=1) if number in relevant
    )
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(at, len(relevant)) + 1))
    return gain / best if best else 0.0


def recall(order: Sequence[int], relevant: frozenset[int], *, at: int) -> float:
    """Which share of the relevant documents is among the first `at`."""
    return len(relevant & set(order[:at])) / len(relevant) if relevant else 0.0


def ranked_documents(document_ids: Sequence[uuid.UUID]) -> list[int]:
    """Documents in the order of their best chunk."""
    return list(dict.fromkeys(each.int for each in document_ids))
