"""What every VectorStore promises, asked of the adapter that the importing module's fixtures give.

They are `store`, and `tenant_ids` of two tenants.
"""

import uuid
from collections.abc import AsyncIterator, Callable

import pytest

from knowledge.ports import VectorStore
from knowledge.types import ChunkPoint, Collection, SearchMode, VectorQuery

DIMENSIONS = 8


@pytest.fixture
async def collect(store: VectorStore) -> AsyncIterator[Callable[[uuid.UUID], Collection]]:
    """Makes collections of tenants; what the tests stored there is removed at the end."""
    made: list[Collection] = []

    def collection(tenant_id: uuid.UUID) -> Collection:
        made.append(Collection(tenant_id, "contract-test", DIMENSIONS))
        return made[-1]

    yield collection
    for each in made:
        await store.delete_tenant(each.tenant_id)


def axis(number: int, tilt: float = 0.0) -> list[float]:
    """A vector along one axis, tilted a little to the next one."""
    vector = [0.0] * DIMENSIONS
    vector[number] = 1.0
    vector[(number + 1) % DIMENSIONS] += tilt
    return vector


def point(
    text: str, vector: list[float], *, base: uuid.UUID, document: uuid.UUID | None = None, version: int = 1
) -> ChunkPoint:
    return ChunkPoint(uuid.uuid4(), document or uuid.uuid4(), base, text, vector, version)


def ask(
    text: str,
    vector: list[float] | None,
    *bases: uuid.UUID,
    mode: SearchMode = SearchMode.HYBRID,
    alpha: float = 0.5,
    limit: int = 10,
    document_ids: tuple[uuid.UUID, ...] | None = None,
) -> VectorQuery:
    return VectorQuery(text, vector, bases, limit, mode, alpha, document_ids)


Collect = Callable[[uuid.UUID], Collection]
Tenants = tuple[uuid.UUID, uuid.UUID]


async def test_each_leg_finds_its_own_and_hybrid_finds_both(
    store: VectorStore, collect: Collect, tenant_ids: Tenants
) -> None:
    place, base = collect(tenant_ids[0]), uuid.uuid4()
    wing = point("Wing flutter in supersonic flow", axis(0), base=base)
    heat = point("Heat transfer of a blunt body", axis(1), base=base)
    soup = point("Recipe for a warm soup", axis(2), base=base)
    await store.upsert(place, [wing, heat, soup])

    by_words = await store.search(place, ask("flutter", None, base, mode=SearchMode.KEYWORD))
    assert [hit.chunk_id for hit in by_words] == [wing.chunk_id]
    assert by_words[0].score == 1.0
    assert by_words[0].vector_score is None
    assert by_words[0].keyword_score is not None
    assert by_words[0].keyword_score > 0

    by_meaning = await store.search(place, ask("", axis(1, 0.2), base, mode=SearchMode.VECTOR))
    assert [hit.chunk_id for hit in by_meaning][:2] == [heat.chunk_id, soup.chunk_id]
    assert by_meaning[0].keyword_score is None
    assert by_meaning[0].vector_score == pytest.approx(0.98, abs=0.01)

    both = await store.search(place, ask("flutter", axis(2), base))
    assert {hit.chunk_id for hit in both[:2]} == {wing.chunk_id, soup.chunk_id}
    assert all(0.0 <= hit.score <= 1.0 for hit in both)
    assert both[0].document_id in (wing.document_id, soup.document_id)
    assert both[0].knowledge_base_id == base


async def test_alpha_moves_the_weight_between_the_legs(
    store: VectorStore, collect: Collect, tenant_ids: Tenants
) -> None:
    place, base = collect(tenant_ids[0]), uuid.uuid4()
    said, meant = point("flutter", axis(0), base=base), point("something else", axis(3), base=base)
    await store.upsert(place, [said, meant])
    words_first = await store.search(place, ask("flutter", axis(3), base, alpha=0.1))
    meaning_first = await store.search(place, ask("flutter", axis(3), base, alpha=0.9))
    assert words_first[0].chunk_id == said.chunk_id
    assert meaning_first[0].chunk_id == meant.chunk_id


async def test_limit_and_order(store: VectorStore, collect: Collect, tenant_ids: Tenants) -> None:
    place, base = collect(tenant_ids[0]), uuid.uuid4()
    points = [point(f"report number {n} " + "flow " * n, axis(0, n / 10), base=base) for n in range(1, 9)]
    await store.upsert(place, points)
    hits = await store.search(place, ask("flow", axis(0), base, limit=3))
    assert len(hits) == 3
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_knowledge_bases_and_documents_narrow_a_search(
    store: VectorStore, collect: Collect, tenant_ids: Tenants
) -> None:
    place, one, two = collect(tenant_ids[0]), uuid.uuid4(), uuid.uuid4()
    first, second = point("flutter", axis(0), base=one), point("flutter", axis(0), base=two)
    third = point("flutter", axis(0), base=two)
    await store.upsert(place, [first, second, third])
    for mode in SearchMode:
        only_one = await store.search(place, ask("flutter", axis(0), one, mode=mode))
        assert {hit.chunk_id for hit in only_one} == {first.chunk_id}
        both = await store.search(place, ask("flutter", axis(0), one, two, mode=mode))
        assert {hit.chunk_id for hit in both} == {first.chunk_id, second.chunk_id, third.chunk_id}
        narrowed = await store.search(
            place, ask("flutter", axis(0), one, two, mode=mode, document_ids=(third.document_id,))
        )
        assert {hit.chunk_id for hit in narrowed} == {third.chunk_id}
        assert await store.search(place, ask("flutter", axis(0), one, mode=mode, document_ids=())) == []
        assert await store.search(place, ask("flutter", axis(0), uuid.uuid4(), mode=mode)) == []


async def test_same_ids_replace(store: VectorStore, collect: Collect, tenant_ids: Tenants) -> None:
    place, base = collect(tenant_ids[0]), uuid.uuid4()
    old = point("the old words", axis(0), base=base)
    await store.upsert(place, [old])
    await store.upsert(place, [ChunkPoint(old.chunk_id, old.document_id, base, "fresh words", axis(4), 2)])
    assert await store.count(place) == 1
    assert await store.search(place, ask("old", None, base, mode=SearchMode.KEYWORD)) == []
    assert len(await store.search(place, ask("fresh", None, base, mode=SearchMode.KEYWORD))) == 1
    near = await store.search(place, ask("", axis(4), base, mode=SearchMode.VECTOR))
    assert near[0].vector_score == pytest.approx(1.0, abs=1e-3)


async def test_deleting_a_document_or_its_older_versions(
    store: VectorStore, collect: Collect, tenant_ids: Tenants
) -> None:
    place, base, document = collect(tenant_ids[0]), uuid.uuid4(), uuid.uuid4()
    await store.upsert(place, [point("flutter", axis(0), base=base, document=document) for _ in range(3)])
    kept = point("flutter", axis(0), base=base, document=document, version=2)
    other = point("flutter", axis(0), base=base)
    await store.upsert(place, [kept, other])
    assert await store.count(place, document) == 4
    await store.delete_document(place, document, before_version=2)
    assert await store.count(place, document) == 1
    found = await store.search(place, ask("flutter", axis(0), base))
    assert {hit.chunk_id for hit in found} == {kept.chunk_id, other.chunk_id}
    await store.delete_document(place, document)
    assert await store.count(place, document) == 0
    assert await store.count(place) == 1


async def test_identical_documents_of_two_tenants_never_meet(
    store: VectorStore, collect: Collect, tenant_ids: Tenants
) -> None:
    """Even with the same knowledge base, document and chunk ids."""
    here, there = collect(tenant_ids[0]), collect(tenant_ids[1])
    base = uuid.uuid4()
    points = [point(f"flutter of wing {n}", axis(n % DIMENSIONS), base=base) for n in range(5)]
    await store.upsert(here, points)
    await store.upsert(there, points[:2])
    alone = {hit.chunk_id: hit for hit in await store.search(here, ask("flutter wing", axis(0), base))}
    assert len(alone) == 5
    assert len(await store.search(there, ask("flutter wing", axis(0), base))) == 2
    await store.delete_document(there, points[0].document_id)
    assert await store.count(there) == 1
    assert await store.count(here) == 5
    # What others store does not move a score.
    await store.upsert(there, [point("flutter flutter wing", axis(0), base=base) for _ in range(50)])
    again = {hit.chunk_id: hit for hit in await store.search(here, ask("flutter wing", axis(0), base))}
    assert again.keys() == alone.keys()
    for chunk, hit in again.items():
        assert hit.keyword_score == pytest.approx(alone[chunk].keyword_score, rel=1e-6)
        assert hit.score == pytest.approx(alone[chunk].score, abs=1e-6)
    await store.delete_tenant(tenant_ids[0])
    assert await store.count(here) == 0
    assert await store.count(there) == 51


@pytest.mark.parametrize(
    "text",
    [
        '"',
        "' OR 1=1 --",
        "flutter OR tenant:*",
        'knowledge_base_id:"x" NOT *',
        "NEAR(flutter wing, 5)",
        "{[()]}^~*?:\\/!&|<->",
        "flutter\x00wing",
        "🜚 漢字 Ünïcödé ﷽ \u202e",
        "a" * 20_000,
        "the and of",
        "",
    ],
)
async def test_no_text_of_a_query_is_syntax(
    store: VectorStore, collect: Collect, tenant_ids: Tenants, text: str
) -> None:
    place, other, base = collect(tenant_ids[0]), collect(tenant_ids[1]), uuid.uuid4()
    mine = point("flutter of the wing", axis(0), base=base)
    await store.upsert(place, [mine])
    await store.upsert(other, [point("flutter OR tenant secret", axis(0), base=base)])
    for mode in SearchMode:
        hits = await store.search(place, ask(text, axis(0), base, mode=mode))
        assert {hit.chunk_id for hit in hits} <= {mine.chunk_id}


async def test_words_of_any_script_are_found(
    store: VectorStore, collect: Collect, tenant_ids: Tenants
) -> None:
    place, base = collect(tenant_ids[0]), uuid.uuid4()
    german = point("Die Übertragungsgeschwindigkeit des Geräts", axis(0), base=base)
    greek = point("Η αεροδυναμική της πτέρυγας", axis(1), base=base)
    await store.upsert(place, [german, greek])
    for text, wanted in (("übertragungsgeschwindigkeit", german), ("πτέρυγας", greek)):
        hits = await store.search(place, ask(text, None, base, mode=SearchMode.KEYWORD))
        assert [hit.chunk_id for hit in hits] == [wanted.chunk_id]


async def test_a_tenant_that_stored_nothing_finds_nothing(
    store: VectorStore, collect: Collect, tenant_ids: Tenants
) -> None:
    place = collect(tenant_ids[0])
    assert await store.search(place, ask("flutter", axis(0), uuid.uuid4())) == []
    assert await store.count(place) == 0
    await store.delete_document(place, uuid.uuid4())
    await store.delete_tenant(tenant_ids[0])


async def test_a_search_sees_every_finished_write(
    store: VectorStore, collect: Collect, tenant_ids: Tenants
) -> None:
    """No copy in memory goes stale: writes between searches are in the next result."""
    place, base = collect(tenant_ids[0]), uuid.uuid4()
    known: set[uuid.UUID] = set()
    for round_ in range(4):
        fresh = [point(f"round {round_}", axis(n), base=base) for n in range(5)]
        await store.upsert(place, fresh)
        known |= {each.chunk_id for each in fresh}
        hits = await store.search(place, ask("", axis(0), base, mode=SearchMode.VECTOR, limit=100))
        assert {hit.chunk_id for hit in hits} == known
        await store.delete_document(place, fresh[0].document_id)
        known.discard(fresh[0].chunk_id)
        hits = await store.search(place, ask("", axis(0), base, mode=SearchMode.VECTOR, limit=100))
        assert {hit.chunk_id for hit in hits} == known


async def test_a_tenant_that_was_removed_may_come_back(
    store: VectorStore, collect: Collect, tenant_ids: Tenants
) -> None:
    """Also when another process removed it, of which this one's memory knows nothing."""
    place, base = collect(tenant_ids[0]), uuid.uuid4()
    await store.upsert(place, [point("flutter", axis(0), base=base)])
    tenants = getattr(store, "_tenants", set())
    remembered = set(tenants)
    await store.delete_tenant(tenant_ids[0])
    tenants |= remembered
    assert await store.search(place, ask("flutter", axis(0), base)) == []
    fresh = point("flutter again", axis(0), base=base)
    await store.upsert(place, [fresh])
    found = await store.search(place, ask("flutter", axis(0), base))
    assert [hit.chunk_id for hit in found] == [fresh.chunk_id]
