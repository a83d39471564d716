"""What a file really is: its first bytes against the extension of its name. Pure, and quick on any input."""

import io
import zipfile
from enum import StrEnum
from pathlib import PurePath

from knowledge.parsing.blocks import DocumentRefused

MAX_UNPACKED_BYTES = 200 * 1024 * 1024
MAX_RATIO = 100
# Small parts compress well for good reasons; the ratio is asked of parts above this size.
RATIO_FROM_BYTES = 1024 * 1024
MAX_ENTRIES = 2_000
_NESTED = (".zip", ".docx", ".xlsx", ".pptx", ".jar", ".gz", ".7z", ".rar", ".tar", ".bz2", ".xz")
_ENCRYPTED_FLAG = 0x1


class Format(StrEnum):
    """The formats that can be read."""

    TEXT = "txt"
    MARKDOWN = "md"
    HTML = "html"
    PDF = "pdf"
    DOCX = "docx"
    CSV = "csv"


_EXTENSIONS = {
    ".txt": Format.TEXT,
    ".text": Format.TEXT,
    ".log": Format.TEXT,
    ".rst": Format.TEXT,
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
    ".html": Format.HTML,
    ".htm": Format.HTML,
    ".xhtml": Format.HTML,
    ".pdf": Format.PDF,
    ".docx": Format.DOCX,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
}
_MEDIA_TYPES = {
    "text/plain": Format.TEXT,
    "text/markdown": Format.MARKDOWN,
    "text/html": Format.HTML,
    "application/xhtml+xml": Format.HTML,
    "application/pdf": Format.PDF,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": Format.DOCX,
    "text/csv": Format.CSV,
    "text/tab-separated-values": Format.CSV,
}
_BINARIES = (
    (b"\x89PNG\r\n\x1a\n", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"),
    (b"GIF8", "an image (GIF)"),
    (b"BM\x00", "an image (BMP)"),
    (b"RIFF", "a RIFF media file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"{\\rtf", "an RTF document"),
    (b"%!PS", "a PostScript document"),
)
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_SUPPORTED = "Supported are txt, md, html, pdf, docx and csv."


def named_format(file_name: str, media_type: str = "") -> Format | None:
    """The format that the name's extension claims, or else the media type; None when neither says."""
    by_name = _EXTENSIONS.get(PurePath(file_name.lower()).suffix)
    return by_name or _MEDIA_TYPES.get(media_type.partition(";")[0].strip().lower())


def media_type_of(file_name: str) -> str:
    """The media type of the format that the name claims; empty when it claims none."""
    claimed = named_format(file_name)
    return next((media for media, kind in _MEDIA_TYPES.items() if kind is claimed), "") if claimed else ""


def detect_format(content: bytes, file_name: str, media_type: str = "") -> Format:
    """The format to parse `content` as. Text formats go by their name, binary ones must be what their name says.

    Raises DocumentRefused: empty, of an unsupported kind, or mislabelled.
    """
    if not content.strip(b" \t\r\n\x00"):
        raise DocumentRefused("empty", "The file is empty.")
    claimed = named_format(file_name, media_type)
    found = _binary_format(content)
    if found is None:
        return _text_format(content, claimed)
    if claimed is not None and claimed is not found:
        raise DocumentRefused(
            "mislabelled",
            f"The file is named or declared as {claimed} but its content is {found}. Rename it.",
        )
    if found is Format.DOCX:
        check_archive(content)
    return found


def _binary_format(content: bytes) -> Format | None:
    if b"%PDF-" in content[:1024]:
        return Format.PDF
    if content[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _archive_format(content)
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        if "EncryptedPackage".encode("utf-16-le") in content[: 1 << 20]:
            raise DocumentRefused(
                "encrypted", "The document is protected by a password. Remove it and try again."
            )
        raise DocumentRefused(
            "unsupported", "This is an old Office file (.doc, .xls). Save it as .docx first."
        )
    for magic, kind in _BINARIES:
        if content.startswith(magic):
            raise DocumentRefused("unsupported", f"The content is {kind}. {_SUPPORTED}")
    return None


def _archive_format(content: bytes) -> Format:
    names = _entry_names(content)
    if "word/document.xml" in names:
        return Format.DOCX
    kind = "an archive (ZIP)"
    if any(name.startswith("xl/") for name in names):
        kind = "an Excel workbook"
    elif any(name.startswith("ppt/") for name in names):
        kind = "a PowerPoint presentation"
    raise DocumentRefused("unsupported", f"The content is {kind}. {_SUPPORTED}")


def _text_format(content: bytes, claimed: Format | None) -> Format:
    if claimed in (Format.PDF, Format.DOCX):
        raise DocumentRefused(
            "mislabelled", f"The file is named or declared as {claimed} but its content is not."
        )
    if (
        not content.startswith(_BYTE_ORDER_MARKS)
        and b"\x00" in content[: 1 << 16]
        and not _looks_like_utf16(content)
    ):
        raise DocumentRefused("unsupported", f"The content is binary. {_SUPPORTED}")
    if claimed is not None:
        return claimed
    start = content[:512].lstrip().lower()
    return Format.HTML if start.startswith((b"<!doctype html", b"<html")) else Format.TEXT


def _looks_like_utf16(content: bytes) -> bool:
    """Text in UTF-16 without a mark has its NULs on one side alone."""
    even, odd = content[: 1 << 12 : 2].count(0), content[1 : 1 << 12 : 2].count(0)
    half = min(len(content), 1 << 12) // 2
    return min(even, odd) == 0 and max(even, odd) > half * 0.5


def _entry_names(content: bytes) -> frozenset[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return frozenset(archive.namelist()[: MAX_ENTRIES + 1])
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError) as error:
        raise DocumentRefused("damaged", "The file is damaged: its archive cannot be opened.") from error


def check_archive(content: bytes) -> None:
    """Refuse what would not unpack to a document of decent size, before anything is unpacked.

    Raises DocumentRefused: `zip_bomb` (unpacked size, ratio, number of entries, nested archives), `encrypted`,
    `damaged`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError) as error:
        raise DocumentRefused("damaged", "The file is damaged: its archive cannot be opened.") from error
    if len(entries) > MAX_ENTRIES:
        raise DocumentRefused(
            "zip_bomb", f"The archive has {len(entries)} entries; {MAX_ENTRIES} are allowed."
        )
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        raise DocumentRefused("zip_bomb", "The archive would unpack to more than 200 MB.")
    for entry in entries:
        _check_entry(entry)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & _ENCRYPTED_FLAG:
        raise DocumentRefused(
            "encrypted", "The document is protected by a password. Remove it and try again."
        )
    if entry.file_size > RATIO_FROM_BYTES and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        raise DocumentRefused("zip_bomb", f"A part of the archive is packed more than {MAX_RATIO} : 1.")
    if entry.filename.lower().endswith(_NESTED):
        raise DocumentRefused("zip_bomb", "The archive holds another archive.")
    if entry.filename.startswith("/") or ".." in PurePath(entry.filename).parts:
        raise DocumentRefused("damaged", "The archive names parts outside of itself.")
    if entry.external_attr >> 16 & 0o170000 == 0o120000:
        raise DocumentRefused("damaged", "The archive holds a symbolic link.")
