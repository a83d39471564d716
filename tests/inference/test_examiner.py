"""The connection test against engines that are well, slow, broken, rubbish, or none at all."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes.engine_server import Behaviour, EngineServer

from inference.adapters import examiner as examining
from inference.adapters.examiner import HttpEngineExaminer
from inference.types import EngineReport, ModelKind


@pytest.fixture
async def engine() -> AsyncIterator[EngineServer]:
    async with EngineServer(behaviour=Behaviour(context=4096, words=1)) as made:
        yield made


async def examine(url: str, key: str = "", kind: ModelKind | None = None) -> EngineReport:
    return await HttpEngineExaminer().examine(url, key, kind)


async def test_an_engine_that_is_well(engine: EngineServer) -> None:
    report = await examine(engine.url)
    assert (report.problem, report.engine, report.version, report.vllm) == ("", "vLLM", "0.0-fake", True)
    assert [(model.id, model.context_length) for model in report.models] == [("tiny", 4096)]
    assert len(report.tries_ms) == examining.TRIES
    assert all(0 < took < 1000 for took in report.tries_ms)
    first = report.first_tokens
    assert first is not None
    assert (first.kind, first.streams, first.tells_usage, first.problem) == (ModelKind.CHAT, True, True, "")
    assert first.first_token_ms is not None
    assert first.first_token_ms > 0
    assert [call.body["max_tokens"] for call in engine.requests] == [1]


async def test_an_embedding_engine_tells_its_dimensions(engine: EngineServer) -> None:
    engine.behaviour = Behaviour(chats=False, dimensions=17)
    report = await examine(engine.url)
    assert report.first_tokens is not None
    assert (report.first_tokens.kind, report.first_tokens.dimensions) == (ModelKind.EMBEDDING, 17)


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        (Behaviour(api_key="secret"), "unauthorized"),
        (Behaviour(listing="rubbish"), "not_openai"),
        (Behaviour(listing="html"), "not_openai"),
        (Behaviour(listing="huge"), "not_openai"),
        (Behaviour(listing="404"), "not_openai"),
        (Behaviour(listing="redirect"), "redirect"),
        (Behaviour(listing="empty"), "no_models"),
    ],
)
async def test_what_is_wrong_is_told(engine: EngineServer, behaviour: Behaviour, problem: str) -> None:
    engine.behaviour = behaviour
    report = await examine(engine.url, "wrong-key")
    assert report.problem == problem
    assert report.message.endswith((".", "?"))
    assert "wrong-key" not in repr(report)
    assert engine.requests == []


async def test_the_key_is_used(engine: EngineServer) -> None:
    engine.behaviour = Behaviour(api_key="secret")
    report = await examine(engine.url, "secret")
    assert report.problem == ""
    assert engine.requests[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (Behaviour(status=500), "status 500"),
        (Behaviour(rubbish=True, words=2), "not valid JSON"),
        (Behaviour(die_after=0), "closed the connection"),
        (Behaviour(no_usage=True), ""),
    ],
)
async def test_a_chat_that_fails_is_told_beside_what_works(
    engine: EngineServer, behaviour: Behaviour, said: str
) -> None:
    engine.behaviour = behaviour
    report = await examine(engine.url, kind=ModelKind.CHAT)
    assert report.problem == ""
    assert [model.id for model in report.models] == ["tiny"]
    assert report.first_tokens is not None
    assert said in report.first_tokens.problem
    assert not report.first_tokens.tells_usage


async def test_slow_engines_end_the_test_in_time(
    engine: EngineServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "ANSWER_S", 0.1)
    engine.behaviour = Behaviour(listing_s=5)
    assert (await examine(engine.url)).problem == "timeout"
    monkeypatch.setattr(examining, "ANSWER_S", 8.0)
    monkeypatch.setattr(examining, "WITHIN_S", 0.3)
    report = await examine(engine.url)
    assert (report.problem, report.took_ms < 1500) == ("timeout", True)
    engine.behaviour = Behaviour(hang=True)
    monkeypatch.setattr(examining, "WITHIN_S", 30.0)
    monkeypatch.setattr(examining, "FIRST_TOKEN_S", 0.1)
    report = await examine(engine.url, kind=ModelKind.CHAT)
    assert report.first_tokens is not None
    assert "in time" in report.first_tokens.problem


async def test_nothing_there_and_names_that_are_none(engine: EngineServer) -> None:
    await engine.stop()
    assert (await examine(engine.url)).problem == "refused"
    assert (await examine("http://no-such-name.invalid/v1")).problem == "dns"


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "metadata.google.internal"])
async def test_metadata_is_never_asked(host: str) -> None:
    assert (await examine(f"http://{host}/v1")).problem == "forbidden_address"


async def test_a_name_that_means_metadata_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def looked_up(*_: object, **__: object) -> list[object]:
        return [(0, 0, 0, "", ("169.254.169.254", 80))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked_up, raising=False)
    assert (await examine("http://innocent.example/v1")).problem == "forbidden_address"


async def test_the_wrong_scheme_is_told(engine: EngineServer) -> None:
    report = await examine(engine.url.replace("http://", "https://"))
    assert report.problem == "tls"
    assert "http://" in report.message


async def test_an_untrusted_certificate_is_told(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        report = await examine(f"https://127.0.0.1:{port}/v1")
    finally:
        server.close()
    assert report.problem == "tls_certificate"


async def test_a_server_that_speaks_no_http() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        assert (await examine(f"http://127.0.0.1:{port}/v1")).problem == "not_openai"
    finally:
        server.close()
