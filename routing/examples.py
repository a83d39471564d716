"""How alike a question is to examples of easy and of hard work. Pure: vectors in, numbers out.

A tenant (or the platform, for all) gives questions that it calls easy and questions that it calls hard. Each is a vector
of one embedder; a question's evidence is

    EVIDENCE · (mean cosine to the NEAREST hard ones - mean cosine to the NEAREST easy ones)

added to the logit of the score by words (`routing/complexity.py`). So examples move a score and never decide alone, and a
question for which no vector can be had is scored as if there were none. The two numbers were chosen by benchmark W9
(docs/benchmarks/choice.md): from 8 on little is gained, and one cosine of 0.3 more then weighs as much as two or three cues.
"""

import base64
import binascii
import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

Vectors = npt.NDArray[np.float32]
NEAREST = 3
EVIDENCE = 8.0
# Questions whose vectors a process keeps, so that what search or the semantic cache has embedded is not embedded anew.
MOST_QUESTIONS = 512
MOST_EXAMPLES = 40
EXAMPLE_LENGTH = 300
# What people read in one line, and every database can keep.
PLAIN = r"^[^\x00-\x1f\x7f\ud800-\udfff]+\Z"
Example = Annotated[str, Meta(min_length=1, max_length=EXAMPLE_LENGTH, pattern=PLAIN)]


class Examples(Struct, frozen=True, forbid_unknown_fields=True):
    """Questions that are easy, and questions that are hard. Both kinds, or none."""

    easy: Annotated[tuple[Example, ...], Meta(max_length=MOST_EXAMPLES)] = ()
    hard: Annotated[tuple[Example, ...], Meta(max_length=MOST_EXAMPLES)] = ()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.easy or self.hard)


class Bank(Struct, frozen=True):
    """Examples with their vectors, each of length 1, a row each; `embedder` is the fingerprint of what made them."""

    embedder: str
    examples: Examples
    easy: Vectors
    hard: Vectors


class Likeness(Struct, frozen=True):
    """What examples say of a question: `evidence` in logits, above 0 where it is more like the hard ones.

    `easy` and `hard` are the examples nearest to it.
    """

    evidence: float
    easy: str
    hard: str


def likeness_of(vector: Sequence[float], bank: Bank) -> Likeness | None:
    """How a question's vector stands to the bank; None where it is of another length, or has none."""
    asked = np.asarray(vector, dtype=np.float32)
    size = float(np.linalg.norm(asked))
    if asked.shape != bank.easy.shape[1:] or not np.isfinite(size) or size == 0.0:
        return None
    asked = asked / size
    easy, hard = bank.easy @ asked, bank.hard @ asked
    return Likeness(
        EVIDENCE * (_nearest(hard) - _nearest(easy)),
        bank.examples.easy[int(easy.argmax())],
        bank.examples.hard[int(hard.argmax())],
    )


def make_bank(examples: Examples, embedder: str, vectors: Sequence[Sequence[float]] | Vectors) -> Bank | None:
    """A bank of examples whose vectors come in their order, the easy ones first; None where they are no such vectors."""
    if not examples.easy or not examples.hard or len(vectors) != len(examples.easy) + len(examples.hard):
        return None
    if len({len(each) for each in vectors}) != 1:
        return None
    rows = np.asarray(vectors, dtype=np.float32)
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    if not rows.size or not np.isfinite(sizes).all():
        return None
    # One without any word stays a vector of zeros: like nothing.
    sizes[sizes == 0.0] = 1.0
    rows /= sizes
    return Bank(embedder, examples, rows[: len(examples.easy)], rows[len(examples.easy) :])


def write_bank(bank: Bank) -> dict[str, object]:
    """The bank as it is stored beside the policy that its examples stand in: vectors in half precision."""
    rows = np.concatenate((bank.easy, bank.hard)).astype("<f2")
    return {
        "embedder": bank.embedder,
        "of": _digest(bank.examples),
        "dimensions": int(rows.shape[1]),
        "vectors": base64.b64encode(rows.tobytes()).decode(),
    }


def read_bank(stored: object, examples: Examples) -> Bank | None:
    """The bank of stored vectors; None where they are of other examples than these, or cannot be read."""
    if not isinstance(stored, Mapping) or stored.get("of") != _digest(examples):
        return None
    try:
        raw = base64.b64decode(stored["vectors"], validate=True)
        rows = np.frombuffer(raw, dtype="<f2").reshape(-1, int(stored["dimensions"]))
        return make_bank(examples, str(stored["embedder"]), rows.astype(np.float32))
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None


class AskedVectors:
    """Vectors of the questions that were embedded last, each known to its tenant alone."""

    def __init__(self, *, most: int = MOST_QUESTIONS) -> None:
        """Holds `most` of them."""
        self._kept: OrderedDict[tuple[uuid.UUID, str, str], Sequence[float]] = OrderedDict()
        self._most = most

    def note(self, tenant_id: uuid.UUID, model: str, text: str, vector: Sequence[float]) -> None:
        """`model` has made this of the text."""
        key = (tenant_id, model, text)
        self._kept[key] = vector
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def find(self, tenant_id: uuid.UUID, model: str, text: str) -> Sequence[float] | None:
        """What `model` has made of the text, if it was lately."""
        return self._kept.get((tenant_id, model, text))


def _nearest(cosines: Vectors) -> float:
    return float(np.sort(cosines)[-NEAREST:].mean())


def _digest(examples: Examples) -> str:
    lines = ["easy", *examples.easy, "hard", *examples.hard]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()
