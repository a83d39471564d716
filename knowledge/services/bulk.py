"""Many documents at once: each line stands alone, the good ones are taken and the bad ones answered with their reason."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kernel.errors import Conflict, QuotaExhausted
from knowledge.services.documents import create_text_documents
from knowledge.types import BulkLine, NewDocument
from tenants.types import Principal

# Documents per transaction: long enough to be quick, short enough to let other writers in.
PER_TRANSACTION = 50


@dataclass(frozen=True, slots=True)
class CheckedLine:
    """One line after its shape was checked: a document with its text, or `error`."""

    line: int
    new: NewDocument | None
    text: str = ""
    error: str = ""
    external_id: str = ""


def upsert_lines(
    *, principal: Principal, knowledge_base_id: uuid.UUID, lines: Sequence[CheckedLine]
) -> list[BulkLine]:
    """Hand in the documents, in order; an `external_id` that is known is replaced.

    Raises PermissionDenied, NotFound for the base, Unavailable when nothing at all could be stored.
    """
    done: list[BulkLine] = []
    for part in _parts(lines):
        done += _upsert_part(principal, knowledge_base_id, part)
    return done


def _upsert_part(
    principal: Principal, knowledge_base_id: uuid.UUID, part: Sequence[CheckedLine]
) -> list[BulkLine]:
    good = [(line, line.new) for line in part if line.new is not None]
    outcomes: dict[int, BulkLine] = {
        line.line: BulkLine(line.line, None, None, line.external_id, line.error) for line in part
    }
    try:
        upserted = create_text_documents(
            principal=principal,
            knowledge_base_id=knowledge_base_id,
            documents=[(new, line.text) for line, new in good],
        )
    except (Conflict, QuotaExhausted) as error:
        for line, new in good:
            outcomes[line.line] = BulkLine(line.line, None, None, new.external_id, error.message)
    else:
        for (line, new), each in zip(good, upserted, strict=True):
            outcomes[line.line] = BulkLine(line.line, each.outcome, each.document.id, new.external_id)
    return [outcomes[line.line] for line in part]


def _parts(lines: Sequence[CheckedLine]) -> Iterator[Sequence[CheckedLine]]:
    for start in range(0, len(lines), PER_TRANSACTION):
        yield lines[start : start + PER_TRANSACTION]
