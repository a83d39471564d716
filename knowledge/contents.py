"""Content on its way into the blob store, and out of it again."""

import asyncio
import contextlib
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

import structlog

from kernel.backends import backends
from kernel.errors import AtriumError, TooLarge
from kernel.ids import uuid7
from kernel.streams import together
from knowledge.limits import MAX_FILE_BYTES
from knowledge.types import StoredContent
from substrate.ports import BlobStore

log = structlog.get_logger(__name__)

# Contents on their way at once: a store over the network answers in milliseconds, not microseconds.
AT_ONCE = 16


async def store_content(tenant_id: uuid.UUID, pieces: Iterable[bytes], *, limit: int) -> StoredContent:
    """Store one content under a fresh key. Raises TooLarge beyond `limit` bytes (nothing stays), Unavailable."""
    blobs: BlobStore = backends["blob_store"]
    key = f"{tenant_id}/documents/{uuid7()}"
    digest = hashlib.sha256()
    size = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal size
        source = iter(pieces)
        # What is at hand needs no thread to be read.
        ready = isinstance(pieces, list)
        while piece := _next(source) if ready else await asyncio.to_thread(_next, source):
            size += len(piece)
            if size > limit:
                raise TooLarge(f"The file is larger than {limit // (1024 * 1024)} MB.")
            digest.update(piece)
            yield piece

    await blobs.put(key, counted())
    return StoredContent(key, size, digest.hexdigest())


async def read_content(key: str) -> bytes:
    """The content of `key`. Raises NotFound, Unavailable."""
    blobs: BlobStore = backends["blob_store"]
    return await blobs.read(key)


async def store_texts(tenant_id: uuid.UUID, texts: Sequence[str]) -> list[StoredContent]:
    """Store several texts, some at once; what comes back is in order. Raises Unavailable."""
    stored: list[StoredContent] = []
    for start in range(0, len(texts), AT_ONCE):
        part = texts[start : start + AT_ONCE]
        stored += await together(
            *(store_content(tenant_id, [text.encode()], limit=MAX_FILE_BYTES) for text in part)
        )
    return stored


async def forget_contents(keys: Iterable[str]) -> None:
    """Remove contents that nothing refers to; one that cannot be removed is logged and stays."""
    blobs: BlobStore = backends["blob_store"]
    for key in keys:
        with contextlib.suppress(AtriumError):
            await blobs.delete(key)
            continue
        log.warning("content_left_behind", blob_key=key)


def _next(source: Iterator[bytes]) -> bytes:
    """The next piece that is not empty; empty at the end."""
    return next((piece for piece in source if piece), b"")
