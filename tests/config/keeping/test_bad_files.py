"""Whatever is wrong with a backup, one line says so, and nothing was touched."""

import io
import json
import os
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from factories.tenants import make_tenant
from fakes.backups import restore, state, take, tampered
from fakes.library import Library

from config.keeping.archive import MAX_LINE
from config.keeping.failures import KeepingFailed, NotABackup, WrongVersion
from kernel.errors import AtriumError
from knowledge.models import Document
from substrate.crossing import system_scope

pytestmark = pytest.mark.stack

Members = dict[str, bytes]
Told = dict[str, Any]


@pytest.fixture
def backup(library: Library, tmp_path: Path) -> Path:
    """A backup of a small installation that went on afterwards."""
    base = library.base()
    library.text(base, "The lamp is changed after 2,400 hours.", title="Lamp")
    library.work()
    path = take(tmp_path / "backup.zip")
    make_tenant("since-then")
    return path


def refused(path: Path, error: type[AtriumError], match: str) -> None:
    """Restoring it fails in one line, and rows and files are as they were."""
    files = sorted(str(each) for each in path.parent.rglob("files/**/*") if each.is_file())
    before = state()
    with pytest.raises(error, match=match) as raised:
        restore(path)
    assert "\n" not in raised.value.message
    assert state() == before
    assert sorted(str(each) for each in path.parent.rglob("files/**/*") if each.is_file()) == files


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file(backup: Path, tmp_path: Path, share: float) -> None:
    short = tmp_path / "short.zip"
    raw = backup.read_bytes()
    short.write_bytes(raw[: int(len(raw) * share)])
    refused(short, NotABackup, "cut short|no backup")


@pytest.mark.parametrize(
    "member", ["rows/tenants.user.jsonl", "vectors/000001.jsonl", "files/000001.tar", "manifest.json"]
)
def test_a_flipped_byte(backup: Path, tmp_path: Path, member: str) -> None:
    broken = tmp_path / "broken.zip"
    raw = bytearray(backup.read_bytes())
    with zipfile.ZipFile(backup) as file:
        entry = file.getinfo(member)
    raw[entry.header_offset + 30 + len(member) + entry.compress_size // 2] ^= 0x55
    broken.write_bytes(raw)
    refused(broken, AtriumError, "damaged|no backup|do not fit")


def test_something_else_entirely(backup: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.zip"
    other.write_bytes(os.urandom(4096))
    refused(other, NotABackup, "no backup")
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("readme.txt", "hello")
    refused(other, NotABackup, "holds 'readme.txt'")
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("manifest.json", "[1, 2")
    refused(other, NotABackup, "manifest cannot be read")
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("manifest.json", json.dumps({"format": 1}))
    refused(other, NotABackup, "manifest is not whole")


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "rows/../../x.jsonl",
        "files/000001.tar/../x",
        "rows/a.b.jsonl\x00",
        "C:\\x",
    ],
)
def test_names_that_lead_elsewhere(backup: Path, tmp_path: Path, name: str) -> None:
    def change(members: Members, manifest: Told) -> None:
        members[name] = b"{}\n"

    refused(tampered(backup, tmp_path / "odd.zip", change), NotABackup, "no backup of Atrium|do not fit")


@pytest.mark.parametrize("key", ["../../escape", "/etc/cron.d/x", "not-a-tenant/documents/x", "a" * 300])
def test_files_whose_keys_lead_elsewhere(backup: Path, tmp_path: Path, key: str) -> None:
    def change(members: Members, manifest: Told) -> None:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            entry = tarfile.TarInfo(key)
            entry.size = 3
            tar.addfile(entry, io.BytesIO(b"abc"))
        members["files/000001.tar"] = content.getvalue()

    refused(tampered(backup, tmp_path / "odd.zip", change), NotABackup, "odd name")


def test_links_among_the_files(backup: Path, tmp_path: Path) -> None:
    def change(members: Members, manifest: Told) -> None:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            entry = tarfile.TarInfo("01a20b4c-29b1-7352-bc49-09b92f00643e/documents/x")
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(entry)
        members["files/000001.tar"] = content.getvalue()

    refused(tampered(backup, tmp_path / "odd.zip", change), NotABackup, "odd name")


def test_a_member_that_is_larger_than_it_says(backup: Path, tmp_path: Path) -> None:
    def change(members: Members, manifest: Told) -> None:
        members["rows/tenants.tenant.jsonl"] = b" " * 50_000_000

    bomb = tampered(backup, tmp_path / "bomb.zip", change, honest=False)
    assert bomb.stat().st_size < 1_000_000
    refused(bomb, NotABackup, "another size")


def test_a_line_without_an_end(backup: Path, tmp_path: Path) -> None:
    """The way a bomb would fill the memory of who reads line by line."""

    def change(members: Members, manifest: Told) -> None:
        members["rows/knowledge.document.jsonl"] = b" " * (MAX_LINE + 10_000_000)

    bomb = tampered(backup, tmp_path / "bomb.zip", change)
    assert bomb.stat().st_size < 1_000_000
    refused(bomb, NotABackup, "without an end")


def test_members_over_the_same_bytes(backup: Path, tmp_path: Path) -> None:
    """Two entries of the directory that point to one stream: how a small zip holds terabytes."""
    raw = bytearray(backup.read_bytes())
    with zipfile.ZipFile(backup) as file:
        first, second = file.infolist()[:2]
    start = raw.index(second.filename.encode(), raw.index(b"PK\x01\x02")) - 46
    raw[start + 42 : start + 46] = struct.pack("<L", first.header_offset)
    overlapping = tmp_path / "overlapping.zip"
    overlapping.write_bytes(raw)
    refused(overlapping, NotABackup, "overlap|cannot be read|another size|no backup")


def test_a_newer_format_and_a_newer_schema(backup: Path, tmp_path: Path) -> None:
    def newer_format(members: Members, manifest: Told) -> None:
        manifest.update(format=2, atrium="9.0")

    def newer_schema(members: Members, manifest: Told) -> None:
        manifest["schema"].append("tenants.9999_from_the_future")
        manifest["atrium"] = "9.0"

    refused(tampered(backup, tmp_path / "a.zip", newer_format), WrongVersion, r"format 2.*\(9.0\)")
    refused(
        tampered(backup, tmp_path / "b.zip", newer_schema),
        WrongVersion,
        "newer schema.*upgrade.*9.0 or later",
    )


def test_an_older_schema_names_the_way_out(backup: Path, tmp_path: Path) -> None:
    def older(members: Members, manifest: Told) -> None:
        manifest["schema"].remove("account.0009_emailaddress_unique_primary_email")
        manifest["schema"].remove("account.0008_emailaddress_unique_primary_email_fixup")
        manifest["atrium"] = "0.0.1"

    refused(
        tampered(backup, tmp_path / "a.zip", older),
        WrongVersion,
        "older schema.*restore it with Atrium 0.0.1",
    )


def test_an_older_schema_whose_rows_lack_nothing_is_taken(backup: Path, tmp_path: Path) -> None:
    def older(members: Members, manifest: Told) -> None:
        manifest["schema"].remove("substrate.0002_audit")
        for name in [name for name in members if "substrate.tenantact" in name]:
            del members[name]
            manifest["counts"].pop("substrate.TenantAct")

    outcome = restore(tampered(backup, tmp_path / "a.zip", older))
    assert any("1 migrations older" in remark for remark in outcome.remarks)
    assert state()["substrate.TenantAct"] == []


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("rows/tenants.tenant.jsonl", b"[1]\n"),
        ("rows/tenants.tenant.jsonl", b'{"id": "x"}\n'),
        ("rows/tenants.tenant.jsonl", b"{"),
        ("rows/knowledge.document.jsonl", b'{"id": 1}\n'),
        ("rows/tenants.membership.jsonl", b'{"id": "01a20b4c-29b1-7352-bc49-09b92f00643e"}\n'),
        ("vectors/000001.jsonl", b"{}\n{}\n"),
        ("vectors/000001.jsonl", b""),
    ],
)
def test_rows_and_points_that_are_none(backup: Path, tmp_path: Path, member: str, content: bytes) -> None:
    """Their checksums fit: somebody made the file so. The transaction is undone, files are taken away again."""

    def change(members: Members, manifest: Told) -> None:
        members[member] = content

    refused(tampered(backup, tmp_path / "odd.zip", change), AtriumError, "damaged|refused")


def test_files_that_a_failed_restore_wrote_are_gone(backup: Path, library: Library, tmp_path: Path) -> None:
    def change(members: Members, manifest: Told) -> None:
        members["rows/assistants.message.jsonl"] = b'{"id": 7}\n'

    odd = tampered(backup, tmp_path / "odd.zip", change)
    for path in library.blobs():
        path.unlink()
    with system_scope("tests"):
        Document.objects.all().delete()
    refused(odd, AtriumError, "damaged|refused")
    assert library.blobs() == []


def test_places_that_cannot_be_written(library: Library, tmp_path: Path) -> None:
    with pytest.raises(KeepingFailed, match="cannot be written"):
        take(tmp_path / "no" / "such" / "folder.zip")
    with pytest.raises(KeepingFailed, match="cannot be written"):
        take(Path("/proc/backup.zip"))
