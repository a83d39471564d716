"""The main job over REST, OpenAI and WebSocket, on PostgreSQL, Redis, Weaviate and vLLM."""

import time
import uuid

import pytest
import requests
from fakes.stack import Member, Socket

pytestmark = pytest.mark.services

HANDBOOK = """# Lighthouse handbook

## Fog signals

The fog signal of the Skerryvore lighthouse sounds three blasts every ninety seconds.

## Lamp

The lamp is changed after 2,400 hours of service.
"""
QUESTION = "How often does the fog signal of the Skerryvore lighthouse sound?"
ANSWER = "three blasts every ninety seconds"


@pytest.fixture
def keeper(member: Member) -> Member:
    """A member whose tenant knows the handbook and has an assistant for each engine."""
    base = member.rest("POST", "/knowledge-bases", json={"name": "Handbooks"})
    member.upload(base["id"], "handbook.md", HANDBOOK)
    for slug, model in (("keeper", "atrium-extractive"), ("writer", "tiny")):
        body = {"slug": slug, "name": slug, "instructions": "Answer from the handbook.", "model": model}
        member.rest("POST", "/assistants", json=body | {"knowledge_base_ids": [base["id"]]})
    return member


def usage_of(member: Member, model: str) -> dict[str, int]:
    """Requests and tokens of a model in the ledger, once the spool is drained."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        rows = [
            row for row in member.rest("GET", "/usage?group_by=model")["results"] if row["group"] == model
        ]
        if rows:
            return rows[0]
        time.sleep(0.2)
    raise AssertionError(f"no usage of {model} was recorded")


def test_rest_door(keeper: Member) -> None:
    base = keeper.rest("GET", "/knowledge-bases")["results"][0]
    found = keeper.rest("POST", f"/knowledge-bases/{base['id']}/search", json={"query": QUESTION, "limit": 3})
    assert ANSWER in found["results"][0]["text"]
    assert found["results"][0]["keyword_score"] is not None

    conversation = keeper.rest("POST", "/conversations", json={"assistant": "keeper"})
    path = f"/conversations/{conversation['id']}/messages"
    message = keeper.rest("POST", path, json={"content": QUESTION})
    assert message["state"] == "completed"
    assert ANSWER in message["content"]
    assert ANSWER in message["citations"][0]["text"]
    kept = keeper.rest("GET", path)["results"]
    assert [each["role"] for each in kept] == ["user", "assistant"]


def test_openai_door_with_citations(keeper: Member) -> None:
    answer = keeper.openai().chat.completions.create(
        model="assistant/keeper", messages=[{"role": "user", "content": QUESTION}]
    )
    assert ANSWER in (answer.choices[0].message.content or "")
    citations = answer.model_extra["citations"]
    assert ANSWER in citations[0]["text"]
    assert f"[{citations[0]['index']}]" in (answer.choices[0].message.content or "")


def test_openai_door_streams_from_vllm_and_counts_once(keeper: Member) -> None:
    stream = keeper.openai().chat.completions.create(
        model="assistant/writer",
        messages=[{"role": "user", "content": QUESTION}],
        max_tokens=32,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
    )
    chunks = list(stream)
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 32
    assert usage.prompt_tokens > 100
    row = usage_of(keeper, "tiny")
    assert row["requests"] == 1
    assert row["completion_tokens"] == 32
    assert row["cost_nano"] == usage.prompt_tokens * 100 + 32 * 400


def test_openai_headers_name_the_way(keeper: Member) -> None:
    answer = keeper.openai().chat.completions.with_raw_response.create(
        model="tiny", messages=[{"role": "user", "content": "hello"}], max_tokens=4
    )
    assert answer.headers["x-atrium-model"] == "tiny"
    assert answer.headers["x-atrium-pool"] == "cpu"
    assert answer.headers["x-atrium-cache"] == "off"
    assert float(answer.headers["x-atrium-queue-ms"]) >= 0
    assert float(answer.headers["x-atrium-overhead-ms"]) < 500


def test_embeddings_over_the_openai_door(keeper: Member) -> None:
    answer = keeper.openai().embeddings.create(model="atrium-embedding", input=["a lighthouse", "a fog horn"])
    assert [each.index for each in answer.data] == [0, 1]
    assert len(answer.data[0].embedding) == len(answer.data[1].embedding) > 0


async def test_websocket_door(keeper: Member) -> None:
    async with Socket(keeper.stack.gateways[0], keeper.key) as socket:
        await socket.send(
            type="message.create", request_id=uuid.uuid4().hex, assistant="keeper", content=QUESTION
        )
        frames = await socket.until("message.completed", "error")
    kinds = [frame["type"] for frame in frames]
    assert kinds[0] == "message.started"
    assert kinds[-1] == "message.completed"
    assert "message.routed" in kinds
    assert "message.citations" in kinds
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    text = "".join(frame["text"] for frame in frames if frame["type"] == "message.delta")
    assert ANSWER in text


def test_two_tenants_with_identical_documents_never_see_each_others(keeper: Member, stranger: Member) -> None:
    mine = keeper.rest("GET", "/knowledge-bases")["results"][0]["id"]
    base = stranger.rest("POST", "/knowledge-bases", json={"name": "Handbooks"})
    document = stranger.upload(base["id"], "handbook.md", HANDBOOK)
    found = stranger.rest(
        "POST", f"/knowledge-bases/{base['id']}/search", json={"query": QUESTION, "limit": 50}
    )
    assert {hit["document_id"] for hit in found["results"]} == {document["id"]}
    foreign = f"{stranger.stack.url}/api/v1/knowledge-bases/{mine}"
    headers = {"Authorization": f"Bearer {stranger.key}"}
    assert requests.get(foreign, headers=headers, timeout=10).status_code == 404
    assert (
        requests.post(f"{foreign}/search", headers=headers, json={"query": "fog"}, timeout=10).status_code
        == 404
    )
    refused = requests.post(
        f"{stranger.stack.url}/v1/chat/completions",
        headers=headers,
        json={
            "model": "atrium-extractive",
            "messages": [{"role": "user", "content": QUESTION}],
            "knowledge_base_ids": [mine],
        },
        timeout=10,
    )
    assert refused.status_code == 404


def test_files_are_kept_in_the_blob_store_and_failures_say_why(member: Member) -> None:
    base = member.rest("POST", "/knowledge-bases", json={"name": "Broken"})
    made = member.rest(
        "POST", f"/knowledge-bases/{base['id']}/documents", files={"file": ("a.pdf", b"not a pdf")}
    )
    deadline = time.monotonic() + 30
    state = made
    while state["state"] in ("queued", "processing") and time.monotonic() < deadline:
        time.sleep(0.2)
        state = member.rest("GET", f"/documents/{made['id']}")
    assert state["state"] == "failed"
    assert state["error"]
