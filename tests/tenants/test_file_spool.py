"""Usage in files: killed processes, torn lines, rotation, full disks, speed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
from factories.usage import make_entry

from kernel.errors import Unavailable
from tenants.adapters.file_spool import FileUsageSpool
from tenants.spooling import REJECTED, SpoolReader, SpoolWriter, decode_entry, encode_entry

# Appends until it is killed, and says after each append which one is done.
WRITER = """
import asyncio, sys
from factories.usage import make_entry
from tenants.adapters.file_spool import FileUsageSpool

async def main():
    spool = FileUsageSpool(directory=sys.argv[1])
    while True:
        entry = make_entry()
        await spool.append(entry)
        sys.stdout.write(str(entry.record_id) + "\\n")
        sys.stdout.flush()

asyncio.run(main())
"""


def test_what_a_killed_process_appended_is_there(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(map(str, (root, root / "platform", root / "tests")))
    acknowledged: set[str] = set()
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        assert process.stdout is not None
        for _ in range(200):
            acknowledged.add(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        acknowledged |= {line.strip() for line in process.stdout if len(line) == 37}
        process.wait()
        process.stdout.close()
    assert len(acknowledged) >= 600
    found = _drain(tmp_path)
    assert acknowledged <= found
    assert len(found) - len(acknowledged) <= 3
    assert list(tmp_path.glob("usage-*")) == []


def _drain(directory: Path) -> set[str]:
    reader = SpoolReader(directory)
    found: set[str] = set()
    while (batch := reader.take(100)).offsets:
        found |= {str(each.record_id) for each in batch.entries}
        reader.confirm(batch)
    return found


def test_a_torn_last_line_is_put_aside(tmp_path: Path) -> None:
    entry = make_entry()
    whole = encode_entry(entry)
    (tmp_path / "usage-1-dead-1.jsonl").write_bytes(whole + b"\n" + whole[:40])
    assert _drain(tmp_path) == {str(entry.record_id)}
    assert (tmp_path / REJECTED).read_bytes() == whole[:40] + b"\n"
    assert list(tmp_path.glob("usage-*")) == []


def test_a_torn_last_line_of_a_living_writer_waits_for_its_rest(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    line = encode_entry(make_entry())
    writer.write(line)
    [path] = tmp_path.glob("usage-*")
    with path.open("ab") as file:
        file.write(line[:30])
        file.flush()
        assert len(_drain(tmp_path)) == 1
        assert path.exists()
        file.write(line[30:] + b"\n")
    assert len(_drain(tmp_path)) == 1
    writer.close()
    assert _drain(tmp_path) == set()
    assert not path.exists()


def test_rubbish_does_not_stop_the_drain(tmp_path: Path) -> None:
    entry = make_entry()
    lines = [b"rubbish", b"{}", b"[]", b'{"record_id": 1}', encode_entry(entry), b"\xff\xfe"]
    (tmp_path / "usage-1-dead-1.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert _drain(tmp_path) == {str(entry.record_id)}
    assert (tmp_path / REJECTED).read_bytes().count(b"\n") == 5


@pytest.mark.parametrize("line", [b"", b"null", b"1", b'{"record_id": "x"}', b'"text"'])
def test_what_is_no_entry_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a usage entry"):
        decode_entry(line)


def test_a_moment_may_be_written_as_seconds() -> None:
    entry = make_entry()
    told = orjson.loads(encode_entry(entry))
    told["started_at"] = entry.started_at.timestamp()
    assert decode_entry(orjson.dumps(told)) == entry


def test_forgotten_offsets_only_repeat(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    entry = make_entry()
    writer.write(encode_entry(entry))
    assert _drain(tmp_path) == {str(entry.record_id)}
    (tmp_path / "drained.json").write_bytes(b"torn{")
    assert _drain(tmp_path) == {str(entry.record_id)}


def test_files_rotate_and_finished_ones_go(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, rotate_bytes=2_000)
    ids = set()
    for _ in range(40):
        entry = make_entry()
        ids.add(str(entry.record_id))
        writer.write(encode_entry(entry))
    assert len(list(tmp_path.glob("usage-*"))) > 4
    assert _drain(tmp_path) == ids
    assert len(list(tmp_path.glob("usage-*"))) == 1
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("usage-*"))


def test_a_disk_that_takes_a_part_is_said_and_the_next_line_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SpoolWriter(tmp_path)
    first, lost, second = (make_entry() for _ in range(3))
    writer.write(encode_entry(first))
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: real(descriptor, line[:25]))
    with pytest.raises(Unavailable):
        writer.write(encode_entry(lost))
    monkeypatch.setattr(os, "write", real)
    writer.write(encode_entry(second))
    assert _drain(tmp_path) == {str(first.record_id), str(second.record_id)}


async def test_an_append_takes_microseconds(tmp_path: Path) -> None:
    spool = FileUsageSpool(directory=str(tmp_path))
    entry = make_entry()
    await spool.append(entry)
    fastest = min([await _timed(spool, entry) for _ in range(20)])
    spool.close()
    # A generous bound for a shared machine; the expected figure is below 30 µs.
    assert fastest < 200e-6


async def _timed(spool: FileUsageSpool, entry: object) -> float:
    started = time.perf_counter()
    for _ in range(100):
        await spool.append(entry)  # type: ignore[arg-type]
    return (time.perf_counter() - started) / 100
