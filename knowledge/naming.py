"""Names that follow from what they name."""

import uuid


def chunk_id(document_id: uuid.UUID, version: int, position: int) -> uuid.UUID:
    """The id of a chunk: the same each time the same version of a document is ingested."""
    return uuid.uuid5(document_id, f"{version}/{position}")
