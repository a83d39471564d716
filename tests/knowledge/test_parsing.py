"""Every format read by the parser process; what cannot or must not be read named with its reason."""

import asyncio
import gzip
import io
import os
import re
import socket
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from factories.files import (
    HTML_PAGE,
    billion_laughs,
    encrypt_pdf,
    make_docx,
    make_pdf,
    make_word_archive,
    make_word_body,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.parsing.blocks import Block, BlockKind, DocumentRefused, ParsedDocument, Refusal, clean
from knowledge.parsing.child import read_document
from knowledge.parsing.markdown import parse as parse_markdown
from knowledge.parsing.runner import DocumentUnreadable, parse_document
from knowledge.parsing.sniffing import detect_format


def read(content: bytes, file_name: str) -> ParsedDocument:
    """By the child's own function within this process: quick."""
    outcome = read_document(content, file_name, "")
    assert isinstance(outcome, ParsedDocument), outcome
    return outcome


def blocks_of(content: bytes, file_name: str) -> tuple[Block, ...]:
    return read(content, file_name).blocks


def shapes(blocks: tuple[Block, ...]) -> list[tuple[str, str]]:
    return [
        (str(block.kind), block.text or " / ".join(" | ".join(row) for row in block.rows)) for block in blocks
    ]


def verdict(content: bytes, file_name: str) -> str:
    """The code of the refusal, by the child's own function within this process: quick."""
    outcome = read_document(content, file_name, "")
    assert isinstance(outcome, Refusal)
    assert outcome.reason
    return outcome.code


async def refusal(content: bytes, file_name: str, media_type: str = "") -> str:
    with pytest.raises(DocumentUnreadable) as caught:
        await parse_document(content, file_name=file_name, media_type=media_type)
    assert caught.value.message
    assert not caught.value.retryable
    return caught.value.code


async def told(content: bytes, file_name: str, **options: Any) -> str:
    """Everything a document says, or the code of its refusal."""
    try:
        found = await parse_document(content, file_name=file_name, **options)
    except DocumentUnreadable as error:
        return error.code
    return str(found.blocks)


def test_plain_text_of_any_encoding() -> None:
    text = "Grüße aus Köln.\n\nDer zweite Absatz über Züge und Brücken."
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"):
        found = shapes(blocks_of(text.encode(encoding), "a.txt"))
        assert found[0] == ("paragraph", "Grüße aus Köln."), encoding
        assert len(found) == 2


def test_markdown() -> None:
    source = (
        b"---\ntitle: Handbook\n---\n# Fog\n\nThree blasts\nevery minute.\n\nLamp\n----\n"
        b"| a | b |\n|---|:-:|\n| 1 | x\\|y |\n\n```py\n# no heading\n\nx = 1\n```\n- one\n- two\n"
    )
    document = read(source, "a.md")
    assert document.title == "Handbook"
    assert shapes(document.blocks) == [
        ("heading", "Fog"),
        ("paragraph", "Three blasts\nevery minute."),
        ("heading", "Lamp"),
        ("table", "a | b / 1 | x|y"),
        ("code", "# no heading\n\nx = 1"),
        ("paragraph", "- one\n- two"),
    ]


def test_html_keeps_the_article_and_drops_the_rest() -> None:
    document = read(HTML_PAGE, "fog.html")
    said = "\n".join(text for _, text in shapes(document.blocks))
    assert document.title == "Fog signals"
    assert ("heading", "History") in shapes(document.blocks)
    assert "three blasts every ninety seconds" in said
    assert any(block.kind is BlockKind.TABLE and ("1901", "3") in block.rows for block in document.blocks)
    assert "Oil the bearings" in said
    assert "hidden" not in said


def test_html_without_an_article_is_read_whole() -> None:
    page = b"<html><body><h2>Menu</h2><div>Soup <b>of</b> the day</div><pre>a\n  b</pre></body></html>"
    said = " ".join(text for _, text in shapes(blocks_of(page, "a.htm")))
    assert "Menu" in said
    assert "Soup of the day" in said


def test_pdf_by_pages() -> None:
    content = make_pdf(
        "The first page speaks of wings that are\nlong and thin.", "The second page (of two) ends."
    )
    document = read(content, "a.pdf")
    assert document.pages == 2
    assert [(block.page, block.text) for block in document.blocks] == [
        (1, "The first page speaks of wings that are long and thin."),
        (2, "The second page (of two) ends."),
    ]


def test_docx() -> None:
    document = read(make_docx(), "manual.docx")
    assert document.title == "Engine manual"
    assert shapes(document.blocks) == [
        ("heading", "Engine manual"),
        ("paragraph", "The engine has two stages."),
        ("heading", "Maintenance"),
        ("paragraph", "- Change the filter"),
        ("table", "Part | Hours / Filter | 400"),
    ]


def test_csv_with_any_delimiter() -> None:
    for content in (
        b'name,price\n"bolt, long",3\n',
        b'name;price\n"bolt, long";3\n',
        b"name\tprice\nbolt, long\t3\n",
    ):
        found = blocks_of(content, "parts.csv")
        assert found[0].rows == (("name", "price"), ("bolt, long", "3"))


def test_control_characters_never_come_through() -> None:
    found = blocks_of("a\x07b\x1bc \u200bd\ufeff\r\nnext".encode(), "a.txt")
    assert found[0].text == "abc d\nnext"
    assert clean("x\ud800y\x00z") == "xyz"


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.pdf", "a.docx", "a.csv", "a"])
def test_empty(name: str) -> None:
    for content in (b"", b" \n\t\r\n", b"\x00\x00"):
        assert verdict(content, name) == "empty"


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (make_pdf("text"), "a.txt", "mislabelled"),
        (make_pdf("text"), "a.docx", "mislabelled"),
        (make_docx(), "a.pdf", "mislabelled"),
        (b"only text", "a.pdf", "mislabelled"),
        (b"only text", "a.docx", "mislabelled"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 50, "a.txt", "unsupported"),
        (b"\x7fELF" + b"\x00" * 50, "a.md", "unsupported"),
        (b"MZ\x90\x00", "a", "unsupported"),
        (gzip.compress(b"x" * 500, mtime=0), "a.csv", "unsupported"),
        (b"\xd0\xcf\x11\xe0" + b"\x00" * 600, "a.docx", "unsupported"),
        (b"\xd0\xcf\x11\xe0" + "EncryptedPackage".encode("utf-16-le"), "a.docx", "encrypted"),
        (b"abc\x00\x01\x02def" * 20, "a.txt", "unsupported"),
        (make_pdf("text")[:60], "a.pdf", "damaged"),
        (make_docx()[:900], "a.docx", "damaged"),
        (make_pdf("", ""), "a.pdf", "no_text"),
        (encrypt_pdf(make_pdf("secret"), "pw"), "a.pdf", "encrypted"),
        (make_word_archive("<not-closed"), "a.docx", "damaged"),
        (make_word_archive(make_word_body("")), "a.docx", "empty"),
        (b"<html><body></body></html>", "a.html", "empty"),
    ],
)
def test_what_cannot_be_read_says_why(content: bytes, name: str, code: str) -> None:
    assert verdict(content, name) == code


async def test_a_document_comes_out_of_the_process() -> None:
    document = await parse_document(make_pdf("Wings flutter."), file_name="a.pdf")
    assert document == read(make_pdf("Wings flutter."), "a.pdf")


async def test_a_refusal_comes_out_of_the_process() -> None:
    assert await refusal(make_pdf("", ""), "a.pdf") == "no_text"


def test_a_pdf_whose_password_is_empty_is_read() -> None:
    content = encrypt_pdf(make_pdf("Anyone may read this."), "")
    assert blocks_of(content, "a.pdf")[0].text == "Anyone may read this."


def zip_of(*entries: tuple[str, bytes]) -> bytes:
    return make_word_archive(make_word_body("<w:p/>"), *entries)


@pytest.mark.parametrize(
    "content",
    [
        make_word_archive(b"0" * 60_000_000),
        zip_of(*[(f"word/media/{n}", os.urandom(10)) for n in range(2_100)]),
        zip_of(("word/embeddings/inner.zip", b"PK\x03\x04")),
        zip_of(*[(f"word/part{n}.xml", b" " * 1_000_000) for n in range(210)]),
    ],
    ids=["ratio", "entries", "nested", "sum"],
)
def test_zip_bombs_are_refused_before_they_unpack(content: bytes) -> None:
    began = time.monotonic()
    assert verdict(content, "bomb.docx") == "zip_bomb"
    assert time.monotonic() - began < 20


async def test_an_archive_that_lies_about_its_sizes_is_caught_by_the_limits() -> None:
    honest = make_word_archive(make_word_body("<w:p/>" + " " * 210_000_000))
    lie = honest.replace((210_000_000 + 160).to_bytes(4, "little"), (900).to_bytes(4, "little"))
    assert await refusal(lie, "liar.docx") in {"damaged", "zip_bomb", "too_large", "parser_crashed"}


def test_slipping_and_linking_archives_are_refused() -> None:
    assert verdict(zip_of(("../../etc/passwd", b"x")), "a.docx") == "damaged"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
        link = zipfile.ZipInfo("word/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert verdict(out.getvalue(), "a.docx") == "damaged"


async def test_entities_do_not_expand() -> None:
    laughs = make_word_archive(make_word_body("<w:p><w:r><w:t>&l9;</w:t></w:r></w:p>", billion_laughs()))
    began = time.monotonic()
    assert await refusal(laughs, "a.docx") in {"damaged", "empty", "too_large", "parser_crashed"}
    assert time.monotonic() - began < 30


async def test_external_entities_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("TOPSECRET")
    prologue = f'<!DOCTYPE w:document [<!ENTITY leak SYSTEM "file://{secret}">]>'
    body = make_word_body("<w:p><w:r><w:t>before &leak; after</w:t></w:r></w:p>", prologue)
    assert "TOPSECRET" not in await told(make_word_archive(body), "a.docx")


def test_a_cell_of_a_huge_line() -> None:
    assert verdict(b'a,b\n"' + b"x" * 1_200_000 + b'",2\n', "a.csv") == "damaged"


async def test_deeply_nested_html_is_survived() -> None:
    page = b"<html><body>" + b"<div>" * 50_000 + b"deep" + b"</div>" * 50_000 + b"</body></html>"
    said = await told(page, "a.html")
    assert "deep" in said or said in {"empty", "too_complex", "parser_crashed", "too_large"}


# What a hostile file may make a parser do, done by a small program in the parser's place.
CRASHES = {
    "segfault": ("import ctypes; ctypes.string_at(0)", "parser_crashed"),
    "killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "parser_crashed"),
    "exits": ("raise SystemExit(3)", "parser_crashed"),
    "memory": (
        "from knowledge.parsing.confinement import confine; confine(memory_bytes=1 << 28); x = b'x' * (1 << 29)",
        "parser_crashed",
    ),
    "silent": ("pass", "parser_crashed"),
    "nonsense": ('print(\'{"type": "nonsense"}\')', "parser_crashed"),
    "cpu": (
        "from knowledge.parsing.confinement import confine; confine(cpu_seconds=1)\nwhile True: pass",
        "timeout",
    ),
    "sleeps": ("import time; time.sleep(60)", "timeout"),
    "floods": (
        "import sys\nwhile True: sys.stdout.write('x' * 1_000_000)",
        "too_large",
    ),
}


@pytest.mark.parametrize("name", CRASHES)
async def test_whatever_a_parser_does_ends_with_a_reason(name: str) -> None:
    program, code = CRASHES[name]
    # What says too much is stopped by how much it says: on a busy machine that takes longer than a timeout of seconds.
    wall_seconds = 60.0 if code == "too_large" else 3.0
    began = time.monotonic()
    with pytest.raises(DocumentUnreadable) as caught:
        await parse_document(
            b"some bytes " * 1000,
            file_name="a.txt",
            wall_seconds=wall_seconds,
            command=(sys.executable, "-c", program),
        )
    assert caught.value.code == code
    assert time.monotonic() - began < wall_seconds + 7


async def test_after_a_crash_the_next_document_is_read() -> None:
    crash = (sys.executable, "-c", "import os; os.abort()")
    assert await told(b"x", "a.txt", command=crash) == "parser_crashed"
    assert "still fine" in await told(b"still fine", "a.txt")


def ends_within(pid: int, seconds: float) -> bool:
    state = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not state.exists() or state.read_text().split()[2] == "Z":
            return True
        time.sleep(0.05)
    return False


async def test_what_a_parser_started_dies_with_it(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    program = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(told)!r}, 'w').write(str(child.pid))\ntime.sleep(60)"
    )
    with pytest.raises(DocumentUnreadable):
        await parse_document(b"x", file_name="a", wall_seconds=2.0, command=(sys.executable, "-c", program))
    pid = int(told.read_text())
    assert await asyncio.to_thread(ends_within, pid, 3.0), "the parser's child lives on"


async def test_the_parser_sees_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATRIUM_SECRET_KEY", "do-not-tell")
    program = (
        "import os, json; print(json.dumps({'type': 'document', 'blocks': "
        "[{'kind': 'paragraph', 'text': ' '.join(sorted(os.environ))}]}))"
    )
    found = await parse_document(b"x", file_name="a", command=(sys.executable, "-c", program))
    assert "ATRIUM" not in found.blocks[0].text


async def test_the_confined_process_writes_no_file() -> None:
    program = (
        "import json, tempfile\n"
        "from knowledge.parsing.confinement import confine\n"
        "confine()\n"
        "told = []\n"
        "try:\n    open(tempfile.mktemp(), 'w').write('x' * 10)\n    told.append('wrote')\n"
        "except OSError: told.append('no file')\n"
        "print(json.dumps({'type': 'document', 'blocks': [{'kind': 'paragraph', 'text': ' '.join(told)}]}))"
    )
    said = await told(b"x", "a", command=(sys.executable, "-c", program))
    # SIGXFSZ may end a process that writes beyond its limit.
    assert said == "parser_crashed" or "no file" in said


async def test_the_confined_process_reaches_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = (
            "import json, socket\n"
            "from knowledge.parsing.confinement import confine\n"
            "left = confine()\n"
            f"try:\n    socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=2).close()\n"
            "    told = 'connected'\n"
            "except OSError: told = 'unreachable'\n"
            "told = told if left else 'the kernel keeps it'\n"
            "print(json.dumps({'type': 'document', 'blocks': [{'kind': 'paragraph', 'text': told}]}))"
        )
        said = await told(b"x", "a", command=(sys.executable, "-c", program))
    assert "unreachable" in said or "the kernel keeps it" in said


async def test_cancelling_ends_the_parser() -> None:
    task = asyncio.create_task(
        parse_document(b"x", file_name="a", command=(sys.executable, "-c", "import time; time.sleep(60)"))
    )
    await asyncio.sleep(0.5)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 20


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=3000), st.sampled_from(["a.txt", "a.md", "a.html", "a.pdf", "a.docx", "a.csv", "a"])
)
def test_sniffing_any_bytes_gives_a_format_or_a_reason(content: bytes, name: str) -> None:
    try:
        outcome = str(detect_format(content, name))
    except DocumentRefused as error:
        outcome = error.refusal.reason
    assert outcome


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=2000))
def test_any_text_is_read_and_no_word_is_lost(text: str) -> None:
    content = text.encode("utf-8", "replace")
    assert isinstance(parse_markdown(content, "a.md"), ParsedDocument)
    outcome = read_document(content, "a.txt", "")
    words = re.findall(r"[a-z0-9]+", clean(text))
    assert isinstance(outcome, Refusal) or all(word in str(outcome.blocks) for word in words)
