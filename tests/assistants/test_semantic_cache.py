"""Answers given again to questions like theirs: who gets one, who never does, how it is told and booked."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.utils import timezone
from factories.tenants import make_principal, make_tenant
from fakes.clocks import FrozenClock
from fakes.desk import Desk
from fakes.engines import Act, ScriptedEngine, model_spec, replica_spec
from fakes.limits import KnownLimits, of_tenant

from assistants.adapters.memory_alike import MemorySemanticCache
from assistants.adapters.redis_alike import RedisSemanticCache
from assistants.services import (
    answer,
    clear_semantic_cache,
    create_assistant,
    create_conversation,
    find_message,
    follow_run,
    recalling,
    start_run,
    update_assistant,
)
from assistants.services.recalling import recall_turn
from assistants.types import LONGEST_KEPT_S, AssistantView, TurnRequest
from inference.types import Chunk, Completion, Embeddings, EngineRequest, ModelKind, ReplicaSpec, TokenUsage
from kernel.backends import backends
from kernel.errors import (
    BadInput,
    EngineUnavailable,
    ModelNotFound,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from kernel.hops import Trail, on_trail
from knowledge.models import KnowledgeBase
from knowledge.services import (
    create_knowledge_base,
    create_text_document,
    delete_document,
    delete_knowledge_base,
    knowledge_state,
)
from knowledge.types import Hit, KnowledgeBaseView, NewDocument
from routing.services import set_policy
from routing.types import CacheWish
from substrate.changes import KEEP_CHANGES
from substrate.models import Change
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.limit_types import Measure
from tenants.types import Principal, Role

ASKED = "How many days of leave do I have?"
ALIKE = "How many days of leave are there for me?"
NEAR = "How many days of leave may I take this year?"
OTHER = "Who pays for the train?"
# Cosines with ASKED: 0.98, 0.9, 0.1.
VECTORS = {ASKED: [1.0, 0.0], ALIKE: [0.98, 0.199], NEAR: [0.9, 0.436], OTHER: [0.1, 0.995]}


class Engine(ScriptedEngine):
    """Writes what it is told, and knows the vectors of some questions."""

    said = "Thirty days [1]."
    embedded: list[str]

    async def stream(self, replica: ReplicaSpec, request: EngineRequest) -> AsyncIterator[Chunk]:
        """What is said, in two chunks."""
        self.calls.append((replica.id, request))
        yield Chunk([b'{"id":"c","model":"tiny","choices":[]}'], text=self.said[:5], tokens=3)
        yield Chunk([b"{}"], text=self.said[5:], tokens=4, usage=TokenUsage(70, 7), finish_reason="stop")

    async def complete(self, replica: ReplicaSpec, request: EngineRequest) -> Completion:
        """What is said, at once."""
        self.calls.append((replica.id, request))
        return Completion(orjson.dumps({"model": "tiny"}), self.said, TokenUsage(70, 7), "stop")

    async def embed(self, replica: ReplicaSpec, request: EngineRequest) -> Embeddings:
        """The known vectors; of other texts one that is like none of them."""
        act = self._begin(replica, request)
        self.calls.pop()
        if act.error is not None:
            raise act.error
        texts = request.body["input"]
        self.embedded += texts
        return Embeddings([VECTORS.get(text, [0.0, -1.0]) for text in texts], TokenUsage(4, 0))


@dataclass
class Counter:
    """A desk at which an assistant gives answers again."""

    desk: Desk
    engine: Engine
    cache: MemorySemanticCache = field(default_factory=MemorySemanticCache)

    async def ask(self, question: str = ASKED, **fields: Any) -> tuple[str, str]:
        """(what the cache said, the answer's text)."""
        async with answer(self.turn(question, **fields)) as found:
            if fields.get("stream", True):
                text = "".join([chunk.text async for chunk in found.chunks()])
            else:
                text = (await found.completion()).text
        await backends["aside"].settled()
        return found.decision.cache, text

    def turn(self, question: str = ASKED, **fields: Any) -> TurnRequest:
        """A question to the assistant."""
        values: dict[str, Any] = {
            "principal": self.desk.principal,
            "messages": [{"role": "user", "content": question}],
            "request_id": "request-1",
            "origin": "v1",
            "assistant": "leave",
            "stream": True,
            "body": {"stream": True},
        }
        return TurnRequest(**{**values, **fields})

    async def forget_assistant(self) -> None:
        """What the change log does within two seconds."""
        await backends["assistant_directory"].start()


@pytest.fixture
async def counter(desk: Desk, settings: Any) -> Counter:
    """An assistant `leave` without knowledge, that gives answers again."""
    settings.EMBEDDING_MODEL = "vectors"
    engine = Engine()
    engine.embedded = []
    made = Counter(desk, engine)
    desk.engine = engine
    backends.replace("engine.scripted", engine)
    backends.replace("semantic_cache", made.cache)
    backends["model_directory"].show(
        (
            model_spec(
                "tiny", replica_spec("r1", max_concurrency=50), cached_price_percent=10, cache_seconds=3600
            ),
            model_spec("vectors", replica_spec("r2", model="vectors"), kind=ModelKind.EMBEDDING),
            model_spec("other", replica_spec("r3", model="other"), cache_seconds=3600),
        )
    )
    await make_assistant(desk.principal)
    return made


async def make_assistant(principal: Principal, **fields: Any) -> AssistantView:
    given = {"slug": "leave", "name": "Leave", "model": "tiny", "semantic_cache_seconds": 600, **fields}
    return await run_unit(create_assistant, principal=principal, **given)


async def make_base(counter: Counter) -> tuple[KnowledgeBaseView, AssistantView]:
    """A base that the assistant answers from."""
    base = await run_unit(create_knowledge_base, principal=counter.desk.principal, name="Handbook")
    view = await run_unit(
        update_assistant, principal=counter.desk.principal, slug="leave", knowledge_base_ids=[base.id]
    )
    await counter.forget_assistant()
    await calm()
    return base, view


async def calm() -> None:
    """Some time has passed since the last change."""
    await run_unit(lambda: Change.objects.update(created_at=timezone.now() - timedelta(seconds=30)))


def shut(principal: Principal, *things: str) -> Principal:
    """The principal without these."""
    return replace(principal, closed=frozenset(things))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_question_like_one_before_gets_its_answer(counter: Counter, stream: bool) -> None:
    assert await counter.ask(stream=not stream) == ("miss", "Thirty days [1].")
    assert await counter.ask(ALIKE, stream=stream) == ("semantic", "Thirty days [1].")
    assert await counter.ask("how many days of leave do i have", stream=stream) == (
        "semantic",
        "Thirty days [1].",
    )
    assert await counter.ask(OTHER, stream=stream) == ("miss", "Thirty days [1].")
    assert len(counter.engine.calls) == 2


async def test_what_is_less_alike_than_the_threshold_gets_its_own(counter: Counter) -> None:
    await counter.ask()
    assert (await counter.ask(NEAR))[0] == "miss"
    await run_unit(
        update_assistant, principal=counter.desk.principal, slug="leave", semantic_cache_threshold=0.89
    )
    await counter.forget_assistant()
    await counter.ask()
    assert (await counter.ask(NEAR))[0] == "semantic"


async def test_words_that_turn_the_answer_round_are_heard(counter: Counter) -> None:
    VECTORS["How many days of leave do I not have?"] = VECTORS[ASKED]
    await counter.ask()
    assert (await counter.ask("How many days of leave do I not have?"))[0] == "miss"


async def test_the_same_words_need_no_vector_and_hits_are_booked_once(counter: Counter) -> None:
    await counter.ask()
    assert counter.engine.embedded == [ASKED]
    spool = counter.desk.spool
    asked, made = spool.entries
    assert (asked.model, made.model, made.cached, made.cost_nano) == ("vectors", "tiny", False, 161)
    await counter.ask("How many days of leave do I have ?")
    assert counter.engine.embedded == [ASKED]
    again = spool.entries[2]
    assert (again.cached, again.cost_nano, again.assistant) == (True, 17, "leave")
    assert (again.prompt_tokens, again.completion_tokens, again.replica) == (70, 7, "")
    assert len(spool.entries) == 3
    await counter.ask(ALIKE)
    assert [entry.model for entry in spool.entries[3:]] == ["vectors", "tiny"]
    assert spool.entries[4].cached


async def test_a_stream_is_replayed_as_openais_events(counter: Counter) -> None:
    await counter.ask()
    async with answer(counter.turn(ALIKE)) as found:
        chunks = [chunk async for chunk in found.chunks()]
    events = [orjson.loads(frame) for chunk in chunks for frame in chunk.frames]
    assert [event["object"] for event in events] == ["chat.completion.chunk"] * 3
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert events[1]["choices"][0]["delta"]["content"] == "Thirty days [1]."
    assert events[2]["choices"][0]["finish_reason"] == "stop"
    async with answer(counter.turn(ALIKE, stream=False)) as found:
        body = orjson.loads((await found.completion()).body)
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Thirty days [1]."}
    assert body["usage"]["total_tokens"] == 77


async def test_the_way_tells_what_was_saved(counter: Counter) -> None:
    await counter.ask()
    for question, outcome in ((ALIKE, "semantic"), (OTHER, "semantic_miss")):
        trail = Trail("v1", "request-2", "0" * 32)
        with on_trail(trail):
            await counter.ask(question)
        (hop,) = [each for each in trail.hops if each[0] == "cache"]
        assert hop[3]["outcome"] == outcome
        if outcome == "semantic":
            assert hop[3]["saved_tokens"] == 77
            assert hop[3]["saved_nano"] == 161 - 17
            assert "retrieve" not in [each[0] for each in trail.hops]


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASKED}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ASKED}]}]},
        {"messages": [{"role": "user", "content": ASKED, "name": "bob"}]},
        {"messages": [{"role": "user", "content": "word " * 200}]},
        {"body": {"tools": []}},
        {"body": {"response_format": {"type": "json_object"}}},
        {"body": {"n": 2}},
        {"knowledge_base_ids": []},
        {"cache": CacheWish(read=False, keep=False)},
    ],
)
async def test_turns_that_rest_on_more_are_left_out(counter: Counter, fields: dict[str, Any]) -> None:
    await counter.ask()
    assert (await counter.ask(**fields))[0] == "off"
    assert counter.engine.embedded == [ASKED]


async def test_off_is_the_default(counter: Counter) -> None:
    await make_assistant(counter.desk.principal, slug="plain", semantic_cache_seconds=0)
    for _ in range(2):
        assert (await counter.ask(assistant="plain"))[0] == "off"
    assert counter.engine.embedded == []


async def test_other_settings_of_the_call_are_another_question(counter: Counter) -> None:
    await counter.ask()
    assert (await counter.ask(body={"temperature": 1, "stream": True}))[0] == "miss"
    assert (await counter.ask(body={"temperature": 1, "user": "someone"}))[0] == "semantic"
    assert (await counter.ask(body={"max_tokens": 5}))[0] == "miss"


async def test_what_a_caller_says_of_kept_answers_holds(counter: Counter) -> None:
    await counter.ask()
    assert (await counter.ask(cache=CacheWish(read=False)))[0] == "miss"
    assert (await counter.ask(cache=CacheWish(age_s=0)))[0] == "miss"
    assert (await counter.ask(cache=CacheWish(age_s=60)))[0] == "semantic"


async def test_the_first_question_of_a_conversation_may_be_answered_so_a_later_one_never(
    counter: Counter,
) -> None:
    """Over the socket too, where it is told; both messages are stored."""
    await counter.ask()
    conversation = await run_unit(create_conversation, principal=counter.desk.principal)
    events = await run(counter, "request-a", conversation.id)
    assert {"type": "message.routed", "model": "tiny", "cache": "semantic"}.items() <= events[1].items()
    assert "".join(each.get("text", "") for each in events) == "Thirty days [1]."
    assert events[-1]["usage"]["total_tokens"] == 77
    events = await run(counter, "request-b", conversation.id)
    assert "cache" not in events[1]
    assert len(counter.engine.calls[-1][1].body["messages"]) == 3


async def run(counter: Counter, request_id: str, conversation_id: Any) -> list[dict[str, Any]]:
    principal = counter.desk.principal
    started = await start_run(
        principal=principal,
        request_id=request_id,
        content=ALIKE,
        assistant="leave",
        conversation_id=conversation_id,
        origin="ws",
    )
    events = [
        dict(event.body) async for event in follow_run(principal=principal, message_id=started.message_id)
    ]
    message = await find_message(principal=principal, message_id=started.message_id)
    assert message.content == "Thirty days [1]."
    return events


@pytest.mark.parametrize("finish_reason", ["length", "tool_calls"])
async def test_only_what_ended_by_itself_is_kept(counter: Counter, finish_reason: str) -> None:
    class Cut(Engine):
        async def complete(self, replica: ReplicaSpec, request: EngineRequest) -> Completion:
            return Completion(b"{}", "Thirty", TokenUsage(70, 7), finish_reason)

        async def stream(self, replica: ReplicaSpec, request: EngineRequest) -> AsyncIterator[Chunk]:
            yield Chunk([b"{}"], text="Thirty", usage=TokenUsage(70, 7), finish_reason=finish_reason)

    cut = Cut()
    cut.embedded = []
    backends.replace("engine.scripted", cut)
    for _ in range(2):
        assert (await counter.ask())[0] == "miss"
        assert (await counter.ask(stream=False))[0] == "miss"


async def test_an_answer_that_was_left_is_not_kept(counter: Counter) -> None:
    async with answer(counter.turn()) as found:
        async for _ in found.chunks():
            break
    await backends["aside"].settled()
    assert (await counter.ask())[0] == "miss"


async def test_an_answer_ends_with_its_time_counted_from_when_its_knowledge_was_looked_at(
    counter: Counter,
) -> None:
    clock = FrozenClock()
    cache = MemorySemanticCache(clock=clock)
    backends.replace("semantic_cache", cache)
    await counter.ask()
    recalled = await recall_turn(counter.turn(), await view_of(counter), ())
    assert recalled is not None
    assert recalled.found is not None
    assert recalled.found.until - recalled.found.at == 600
    clock.advance(601)
    assert (await counter.ask())[0] == "miss"


async def view_of(counter: Counter) -> AssistantView:
    found: AssistantView | None = await backends["assistant_directory"].find(counter.desk.tenant.id, "leave")
    assert found is not None
    return found


async def test_an_assistant_that_changed_and_one_that_was_cleared_begin_anew(counter: Counter) -> None:
    principal = counter.desk.principal
    before = await view_of(counter)
    await counter.ask()
    await run_unit(clear_semantic_cache, principal=principal, slug="leave")
    await counter.forget_assistant()
    assert (await view_of(counter)).updated_at == before.updated_at
    assert (await counter.ask())[0] == "miss"
    assert (await counter.ask())[0] == "semantic"
    await run_unit(update_assistant, principal=principal, slug="leave", instructions="Be exact.")
    await counter.forget_assistant()
    assert (await counter.ask())[0] == "miss"


async def test_a_foreign_tenant_finds_nothing(counter: Counter) -> None:
    """Not even with an assistant of the same id, version and question."""
    await counter.ask()
    stranger = await run_unit(lambda: make_principal(make_tenant(), role=Role.ADMIN))
    own = await view_of(counter)
    theirs = counter.turn(principal=stranger)
    ours = await recall_turn(counter.turn(), own, ())
    found = await recall_turn(theirs, replace(own, tenant_id=stranger.tenant_id), ())
    assert ours is not None
    assert ours.found is not None
    assert found is not None
    assert found.found is None
    assert found.shelf.key != ours.shelf.key
    assert found.name != ours.name
    # Even where the tenant's own key is guessed, its name is part of the place.
    assert await counter.cache.questions(replace(ours.shelf, tenant=stranger.tenant_name)) == {}


async def test_who_may_read_less_gets_an_answer_of_their_own(counter: Counter) -> None:
    base, _ = await make_base(counter)
    assert (await counter.ask())[0] == "miss"
    assert (await counter.ask())[0] == "semantic"
    colleague = await run_unit(make_principal, counter.desk.tenant, role=Role.MEMBER)
    assert (await counter.ask(principal=colleague))[0] == "semantic"
    barred = shut(colleague, f"knowledge_base:{base.id}")
    assert (await counter.ask(principal=barred))[0] == "miss"
    # What they were told without the base is not told to those who may read it either.
    assert (await counter.ask(ALIKE, principal=barred))[0] == "semantic"
    counter.engine.said = "New."
    assert await counter.ask(ALIKE, principal=barred) == ("semantic", "Thirty days [1].")
    # A grant that ended.
    assert (await counter.ask(principal=shut(counter.desk.principal, f"knowledge_base:{base.id}")))[
        0
    ] == "semantic"


async def test_who_may_not_use_the_assistant_or_its_model_is_refused(counter: Counter) -> None:
    view = await view_of(counter)
    await counter.ask()
    barred = shut(counter.desk.principal, f"assistant:{view.id}")
    with pytest.raises(ModelNotFound):
        await counter.ask(principal=barred)
    with pytest.raises(ModelNotFound):
        await counter.ask(principal=shut(counter.desk.principal, "model:tiny"))
    viewer = await run_unit(make_principal, counter.desk.tenant, role=Role.VIEWER)
    with pytest.raises(PermissionDenied):
        await counter.ask(principal=viewer)


async def test_an_answer_of_a_model_that_the_asker_may_not_use_is_made_anew(counter: Counter) -> None:
    await run_unit(update_assistant, principal=counter.desk.principal, slug="leave", model="auto")
    await counter.forget_assistant()
    await counter.ask()
    made_by = counter.desk.spool.entries[-1].model
    others = shut(counter.desk.principal, f"model:{made_by}")
    cache, _ = await counter.ask(principal=others)
    assert cache == "miss"
    assert counter.desk.spool.entries[-1].model != made_by


async def test_a_changed_document_and_a_deleted_one_make_all_answers_new(counter: Counter) -> None:
    principal = counter.desk.principal
    base, _ = await make_base(counter)
    await counter.ask()
    assert (await counter.ask())[0] == "semantic"
    note = NewDocument(title="Note", external_id="note")
    made = await run_unit(
        create_text_document, principal=principal, knowledge_base_id=base.id, new=note, text="Thirty days."
    )
    assert (await counter.ask())[0] == "miss"
    await calm()
    await counter.ask()
    assert (await counter.ask())[0] == "semantic"
    await run_unit(
        create_text_document, principal=principal, knowledge_base_id=base.id, new=note, text="Twenty days."
    )
    assert (await counter.ask())[0] == "miss"
    await calm()
    await counter.ask()
    assert (await counter.ask())[0] == "semantic"
    await run_unit(delete_document, principal=principal, document_id=made.document.id)
    assert (await counter.ask())[0] == "miss"
    await calm()
    await counter.ask()
    assert (await counter.ask())[0] == "semantic"
    await run_unit(delete_knowledge_base, principal=principal, knowledge_base_id=base.id)
    assert (await counter.ask())[0] == "miss"


async def test_right_after_a_change_nothing_is_kept(counter: Counter) -> None:
    """Searches may not show it yet."""
    base, _ = await make_base(counter)
    note = NewDocument(title="Note")
    await run_unit(
        create_text_document,
        principal=counter.desk.principal,
        knowledge_base_id=base.id,
        new=note,
        text="Thirty.",
    )
    assert (await counter.ask())[0] == "miss"
    assert (await counter.ask())[0] == "miss"


async def test_a_change_that_commits_late_makes_another_state(counter: Counter) -> None:
    """Its number is lower than one that was seen already."""
    base, _ = await make_base(counter)

    def state() -> Any:
        return knowledge_state(principal=counter.desk.principal, knowledge_base_ids=[base.id])

    def commit(seq: int) -> None:
        Change.objects.create(
            seq=seq, kind="document", tenant_id=counter.desk.tenant.id, object_id=str(base.id)
        )

    await run_unit(commit, 90_002)
    before = await run_unit(state)
    await run_unit(commit, 90_001)
    assert await run_unit(state) != before
    # Of other tenants and bases nothing is heard.
    here = await run_unit(state)

    def elsewhere() -> None:
        Change.objects.create(kind="document", tenant_id=None, object_id=str(base.id))
        Change.objects.create(kind="document", tenant_id=counter.desk.tenant.id, object_id="another")

    await run_unit(elsewhere)
    assert await run_unit(state) == here


def test_an_answer_never_outlives_what_the_log_tells() -> None:
    assert KEEP_CHANGES.total_seconds() >= 2 * LONGEST_KEPT_S


async def test_whatever_is_away_the_answer_comes(counter: Counter) -> None:
    backends.replace("semantic_cache", RedisSemanticCache(url="redis://127.0.0.1:1/0"))
    assert await counter.ask() == ("miss", "Thirty days [1].")
    backends.replace("semantic_cache", counter.cache)
    counter.engine.script("r2", *[Act(error=EngineUnavailable())] * 6)
    assert await counter.ask() == ("miss", "Thirty days [1].")
    await counter.cache.forget(counter.desk.principal.tenant_name)
    assert (await counter.ask())[0] == "miss"


async def test_words_alone_are_not_compared_by_their_vectors(
    counter: Counter, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The built-in vectoriser without MiniLM: the same words are found, alike ones are not."""
    monkeypatch.setattr("assistants.services.recalling.lexical_models", lambda: frozenset({"vectors"}))
    await counter.ask()
    assert (await counter.ask(ALIKE))[0] == "miss"
    assert (await counter.ask(f"{ASKED.lower()}!"))[0] == "semantic"
    assert counter.engine.embedded == []


async def test_rubbish_in_the_cache_is_a_miss(counter: Counter) -> None:
    await counter.ask()
    recalled = await recall_turn(counter.turn(), await view_of(counter), ())
    assert recalled is not None
    for question, told in ((b"", b""), (b"\x93\xa1a\xc4\x02xx\xcb", b"\xff"), (b"\x90", b"\x90")):
        await counter.cache.put(recalled.shelf, recalled.name, question, told, 60)
        assert await counter.ask(ALIKE) == ("miss", "Thirty days [1].")
        await counter.cache.forget(counter.desk.principal.tenant_name)


async def test_a_kept_answer_is_no_way_round_a_limit(counter: Counter) -> None:
    limits = KnownLimits()
    backends.replace("limit_directory", limits)
    await counter.ask()
    limits.set(counter.desk.tenant.id, of_tenant(Measure.REQUESTS_PER_MINUTE, 1))
    assert (await counter.ask())[0] == "semantic"
    with pytest.raises(RateLimited):
        await counter.ask()


async def test_figures_out_of_bounds_are_refused(counter: Counter) -> None:
    for fields in (
        {"semantic_cache_seconds": -1},
        {"semantic_cache_seconds": 3601},
        {"semantic_cache_threshold": 0.5},
        {"semantic_cache_threshold": 1.1},
        {"semantic_cache_threshold": float("nan")},
    ):
        with pytest.raises(BadInput):
            await run_unit(update_assistant, principal=counter.desk.principal, slug="leave", **fields)


class Store:
    """A vector store that finds what it is told to."""

    def __init__(self) -> None:
        self.hits: list[Hit] = []

    async def search(self, collection: Any, query: Any) -> list[Hit]:
        """The hits."""
        return self.hits


async def searched(counter: Counter, store: Store, *, model: str = "vectors") -> None:
    """The assistant's base has been embedded by `model`, into this store."""
    base, _ = await make_base(counter)

    def embedded() -> None:
        with tenant_scope(counter.desk.tenant.id):
            KnowledgeBase.objects.filter(id=base.id).update(
                embedder=model, embedding_model=model, dimensions=2
            )

    await run_unit(embedded)
    backends.replace("vector_store", store)


async def test_what_was_found_while_points_are_being_removed_is_not_kept(counter: Counter) -> None:
    """Rows go at once, vectors by a job: that nothing live was found says nothing of what there is."""
    store = Store()
    await searched(counter, store)
    store.hits = [Hit(uuid.uuid4(), uuid.uuid4(), uuid.uuid4(), 0.9, 0.9, None)]
    assert (await counter.ask())[0] == "miss"
    assert (await counter.ask())[0] == "miss"
    store.hits = []
    assert (await counter.ask())[0] == "miss"
    assert (await counter.ask())[0] == "semantic"


async def test_an_answer_of_a_search_by_words_alone_is_not_kept(counter: Counter) -> None:
    """The base's embedder is away, and not the one that compares questions."""
    await searched(counter, Store(), model="gone")
    for _ in range(2):
        assert (await counter.ask())[0] == "miss"


async def test_without_the_state_of_knowledge_an_answer_still_comes(
    counter: Counter, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_base(counter)

    def away(**given: Any) -> Any:
        raise Unavailable

    with monkeypatch.context() as patched:
        patched.setattr("assistants.services.recalling.knowledge_state", away)
        assert await counter.ask() == ("off", "Thirty days [1].")
    settings.EMBEDDING_MODEL = "disabled"
    assert await counter.ask() == ("off", "Thirty days [1].")


async def test_a_new_answer_in_place_of_one_too_old_is_found_by_its_meaning(counter: Counter) -> None:
    await counter.ask()
    assert (await counter.ask(cache=CacheWish(age_s=0)))[0] == "miss"
    assert (await counter.ask(ALIKE))[0] == "semantic"
    assert counter.engine.embedded == [ASKED, ASKED, ALIKE]


def show_models(seconds: int, served: str = "tiny") -> None:
    """The model `tiny`, whose answers may be kept for so long and whose engine knows it by this name."""
    backends["model_directory"].show(
        (
            model_spec("tiny", replica_spec("r1", served_name=served), cache_seconds=seconds),
            model_spec("vectors", replica_spec("r2", model="vectors"), kind=ModelKind.EMBEDDING),
        )
    )


async def test_a_model_whose_answers_may_not_be_kept_is_asked_anew(counter: Counter) -> None:
    show_models(0)
    assert [(await counter.ask())[0] for _ in range(2)] == ["off", "off"]
    assert counter.engine.embedded == []
    show_models(600)
    assert [(await counter.ask())[0] for _ in range(2)] == ["miss", "semantic"]
    # What was kept before its operators said no is not given after.
    backends["model_directory"].show(
        (
            model_spec("tiny", replica_spec("r1")),
            model_spec("other", replica_spec("r3", model="other"), cache_seconds=600),
            model_spec("vectors", replica_spec("r2", model="vectors"), kind=ModelKind.EMBEDDING),
        )
    )
    assert (await counter.ask())[0] == "miss"


async def test_an_answer_ends_with_the_time_that_its_model_allows(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_models(60)
    await counter.ask()
    now = recalling._now()
    monkeypatch.setattr(recalling, "_now", lambda: now + 59)
    assert (await counter.ask())[0] == "semantic"
    monkeypatch.setattr(recalling, "_now", lambda: now + 61)
    assert (await counter.ask())[0] == "miss"


async def test_an_engine_under_another_name_does_not_speak_through_old_answers(counter: Counter) -> None:
    show_models(600)
    await counter.ask()
    show_models(600, "tiny-v2")
    assert [(await counter.ask())[0] for _ in range(2)] == ["miss", "semantic"]


async def test_what_the_tenant_or_a_key_declines_is_neither_kept_nor_given(counter: Counter) -> None:
    key = uuid.uuid4()
    principal = counter.desk.principal
    await counter.ask()
    document = {"caching": {"use": "never", "keys": [{"key": str(key), "use": "asked"}]}}
    await run_unit(set_policy, principal=principal, document=document)
    await backends["choice_directory"].start()
    counter.engine.embedded.clear()
    assert [(await counter.ask())[0], (await counter.ask(ALIKE))[0]] == ["off", "off"]
    assert counter.engine.embedded == []
    assert (await counter.ask(principal=replace(principal, api_key_id=key)))[0] == "semantic"
