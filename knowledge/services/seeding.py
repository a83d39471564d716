"""Knowledge bases and documents in quantities, as metadata: what lists and pages must stay quick over."""

import random
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from knowledge.models import Document, KnowledgeBase
from knowledge.types import DocumentState
from substrate.bulk import write_rows
from substrate.scoping import tenant_scope
from substrate.seeding import dice_of, made_up_id, without_indexes

WORDS = (
    "travel",
    "expenses",
    "onboarding",
    "contract",
    "safety",
    "pump",
    "invoice",
    "release",
    "handbook",
    "audit",
)
REASONS = (
    ("The PDF is protected by a password.", "encrypted"),
    ("The file is damaged: its end is missing.", "unreadable"),
    ("There is no text in the file; it seems to be a scan.", "no_text"),
)
_BASE = (
    "id",
    "created_at",
    "updated_at",
    "tenant_id",
    "name",
    "description",
    "alpha",
    "embedding_model",
    "embedder",
    "dimensions",
)
_DOCUMENT = (
    "id", "created_at", "updated_at", "tenant_id", "knowledge_base_id", "title", "external_id", "url", "media_type",
    "file_name", "size", "blob_key", "content_hash", "metadata", "acl", "state", "error", "error_code", "chunk_count",
    "page_count", "version", "live_version",
)  # fmt: skip


def seed_documents(
    *, tenants: Sequence[uuid.UUID], count: int, seed: int, now: datetime, told: Callable[[str], None]
) -> int:
    """Give each tenant a knowledge base, and the tenants (the first most) about `count` documents; returns how many.

    The documents have no content and no chunks; one in a hundred has failed.
    """
    dice = dice_of(seed + 2)
    weights = [1 / (number + 1) for number in range(len(tenants))]
    made = 0
    with without_indexes(KnowledgeBase, Document):
        for number, tenant_id in enumerate(tenants):
            wanted = round(count * weights[number] / sum(weights))
            base_id = made_up_id(dice, now - timedelta(days=60))
            with tenant_scope(tenant_id):
                write_rows(KnowledgeBase, _BASE, [_base(base_id, tenant_id, now)], then="")
                rows = [_document(dice, tenant_id, base_id, now) for _ in range(wanted)]
                if rows:
                    write_rows(Document, _DOCUMENT, rows, then="")
            made += wanted
            if number % 1_000 == 999:
                told(f"documents: {made:,}")
    return made


def _base(base_id: uuid.UUID, tenant_id: uuid.UUID, now: datetime) -> tuple[Any, ...]:
    return (base_id, now, now, tenant_id, "Handbook", "", 0.5, "", "", 0)


def _document(
    dice: random.Random, tenant_id: uuid.UUID, base_id: uuid.UUID, now: datetime
) -> tuple[Any, ...]:
    moment = now - timedelta(seconds=dice.randrange(60 * 86_400))
    failed = dice.random() < 0.01
    error, code = dice.choice(REASONS) if failed else ("", "")
    title = f"{dice.choice(WORDS)} {dice.choice(WORDS)} {dice.getrandbits(24):06x}"
    state = DocumentState.FAILED if failed else DocumentState.READY
    chunks = 0 if failed else dice.randrange(1, 60)
    return (
        made_up_id(dice, moment), moment, moment, tenant_id, base_id, title, "", "", "text/plain", f"{title}.txt",
        dice.randrange(500, 2_000_000), f"{tenant_id}/none", f"{dice.getrandbits(256):064x}", "{}", "[]", state.value,
        error, code, chunks, 0, 1, 0 if failed else 1,
    )  # fmt: skip
