"""Files and folders of this machine, for the `ingest` command and the demo."""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from kernel.errors import AtriumError, BadInput
from knowledge.limits import MAX_FILE_BYTES
from knowledge.parsing.sniffing import media_type_of, named_format
from knowledge.services.bases import ensure_knowledge_base
from knowledge.services.documents import upload_document
from knowledge.types import IngestedFile, NewDocument
from tenants.types import Principal

READ_BYTES = 1 << 20


def ingest_paths(*, principal: Principal, knowledge_base: str, paths: Sequence[Path]) -> list[IngestedFile]:
    """Hand in every readable file of the paths, folders with all they hold, into the base of this name.

    The base is made when it is missing. A file's path below what was named is its external id, so that doing it again
    replaces what changed and leaves the rest. Hidden files, links and unknown formats are left out with a reason.
    Raises PermissionDenied, BadInput for a path that does not exist.
    """
    for path in paths:
        if not path.exists():
            raise BadInput(f"{path} does not exist.")
    base = ensure_knowledge_base(principal=principal, name=knowledge_base)
    return [_ingest(principal, base.id, path, name) for path, name in _files(paths)]


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Each file with its name below the path that was given."""
    for given in paths:
        if given.is_file():
            yield given, given.name
            continue
        for path in sorted(given.rglob("*")):
            inside = path.relative_to(given)
            if path.is_file() and not any(part.startswith(".") for part in inside.parts):
                yield path, inside.as_posix()


def _ingest(principal: Principal, base_id: uuid.UUID, path: Path, name: str) -> IngestedFile:
    reason = _unfit(path)
    if reason:
        return IngestedFile(str(path), None, None, reason)
    new = NewDocument(
        title=path.name[:500],
        external_id=name[:500],
        file_name=path.name[:255],
        media_type=media_type_of(path.name),
    )
    try:
        done = upload_document(
            principal=principal,
            knowledge_base_id=base_id,
            new=new,
            pieces=_read(path),
            size=path.stat().st_size,
        )
    except (AtriumError, OSError) as error:
        return IngestedFile(str(path), None, None, str(error))
    return IngestedFile(str(path), done.document.id, done.outcome)


def _unfit(path: Path) -> str:
    if path.is_symlink():
        return "a link"
    if named_format(path.name) is None:
        return "not a format that can be read"
    size = path.stat().st_size
    if size == 0:
        return "empty"
    return "larger than 50 MB" if size > MAX_FILE_BYTES else ""


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            yield piece
