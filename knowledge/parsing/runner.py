"""Runs the parser process: bounded in wall time and output, killed with its group, never given our environment."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from kernel.errors import BadInput, Unavailable
from kernel.streams import together
from knowledge.parsing.blocks import ParsedDocument, Refusal

log = structlog.get_logger(__name__)

WALL_SECONDS = 90.0
MAX_OUTPUT_BYTES = 96 * 1024 * 1024
_STDERR_BYTES = 2_000
_ROOT = Path(__file__).resolve().parents[2]
COMMAND: tuple[str, ...] = (sys.executable, "-m", "knowledge.parsing.child")
_Answer: msgspec.json.Decoder[ParsedDocument | Refusal] = msgspec.json.Decoder(ParsedDocument | Refusal)


class DocumentUnreadable(BadInput):
    """The document cannot be read; `message` is the reason for people, `code` a stable name of it. Not retryable."""

    code = "document_unreadable"


async def parse_document(
    content: bytes,
    *,
    file_name: str,
    media_type: str = "",
    wall_seconds: float = WALL_SECONDS,
    command: Sequence[str] = COMMAND,
) -> ParsedDocument:
    """The blocks of a file. Raises DocumentUnreadable, or Unavailable when no process can be started.

    Cancelling kills the process and waits for its end.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            file_name,
            media_type,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=_ROOT,
            env=_environment(),
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable("The parser process cannot be started.") from error
    try:
        async with asyncio.timeout(wall_seconds):
            output, noise = await _talk(process, content)
            status = await process.wait()
    except TimeoutError as error:
        raise DocumentUnreadable(
            f"Reading the document took longer than {wall_seconds:.0f} seconds.", code="timeout"
        ) from error
    finally:
        await _kill(process)
    return _answer(output, noise, status)


async def _talk(process: asyncio.subprocess.Process, content: bytes) -> tuple[bytes, bytes]:
    _, output, noise = await together(
        _feed(process, content), _read_answer(process.stdout), _read_noise(process.stderr)
    )
    return output, noise


async def _feed(process: asyncio.subprocess.Process, content: bytes) -> bytes:
    assert process.stdin is not None  # noqa: S101 - it was asked for as a pipe
    try:
        process.stdin.write(content)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        # It died or answered before it had read everything; its end says which.
        return b""
    return b""


async def _read_answer(stream: asyncio.StreamReader | None) -> bytes:
    """All of it. Raises DocumentUnreadable beyond the limit."""
    assert stream is not None  # noqa: S101 - it was asked for as a pipe
    kept = bytearray()
    while piece := await stream.read(1 << 16):
        kept += piece
        if len(kept) > MAX_OUTPUT_BYTES:
            raise DocumentUnreadable("The document holds more text than can be stored.", code="too_large")
    return bytes(kept)


async def _read_noise(stream: asyncio.StreamReader | None) -> bytes:
    """The start of it; the rest is read and dropped, so that the writer never blocks."""
    assert stream is not None  # noqa: S101 - it was asked for as a pipe
    kept = b""
    while piece := await stream.read(1 << 16):
        kept += piece[: _STDERR_BYTES - len(kept)]
    return kept


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End the whole group, whatever the parser has started, and let go of its pipes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # A reader that had paused never sees the pipe's end, and `wait` waits for that: close them instead.
    process._transport.close()  # type: ignore[attr-defined]
    await process.wait()


def _environment() -> dict[str, str]:
    """Only what Python needs; no secret of ours."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(_ROOT),
        "PARSER_PARENT": str(os.getpid()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _answer(output: bytes, noise: bytes, status: int) -> ParsedDocument:
    if status != 0:
        log.warning("parser_died", status=status, stderr=noise.decode("utf-8", "replace")[-_STDERR_BYTES:])
        if status == -signal.SIGXCPU:
            raise DocumentUnreadable(
                "Reading the document took more than a minute of computing.", code="timeout"
            )
        raise DocumentUnreadable(
            "The document made its parser crash. It may be damaged, or made to do harm.",
            code="parser_crashed",
        )
    try:
        answer = _Answer.decode(output)
    except msgspec.DecodeError as error:
        raise DocumentUnreadable(
            "The document's parser gave no sensible answer.", code="parser_crashed"
        ) from error
    if isinstance(answer, Refusal):
        raise DocumentUnreadable(answer.reason, code=answer.code)
    return answer
