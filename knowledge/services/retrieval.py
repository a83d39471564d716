"""Search: a question in, the best passages out.

The query is embedded by each knowledge base's own model; bases that share an embedder are searched together. Hits
become passages by joining the live chunks, so that nothing of a version that is not (or no longer) live is shown.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from inference.services import embedder_fingerprint, ensure_models
from inference.types import Surface
from kernel.backends import backends
from kernel.context import ensure_request
from kernel.errors import BadInput, ModelNotFound, NotFound, Unavailable, UpstreamFailed
from kernel.hops import hop
from kernel.ids import make_traceparent, parse_uuid
from kernel.streams import together
from knowledge import selectors
from knowledge.limits import MAX_FILTERED_DOCUMENTS, MAX_HITS, MAX_QUERY_CHARS
from knowledge.models import Chunk, KnowledgeBase
from knowledge.ports import VectorStore
from knowledge.remembered import RememberedSearches, SearchKey
from knowledge.scoring import places
from knowledge.types import Collection, FoundPassages, Hit, Passage, SearchFilters, SearchMode, VectorQuery
from routing.services import embed
from routing.types import ModelCall
from substrate.bridge import wait_for
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.services import require
from tenants.types import Principal, PriorityClass

log = structlog.get_logger(__name__)
NO_FILTERS = SearchFilters()
# Hits beyond the limit, for those that turn out to be of a version that is not live.
SPARE_HITS = 10


@dataclass(frozen=True, slots=True)
class _Group:
    """Knowledge bases whose vectors can be compared."""

    model: str
    collection: Collection
    base_ids: tuple[uuid.UUID, ...]
    alpha: float


@dataclass(frozen=True, slots=True)
class _Found:
    """The hits of a group: whether they were searched as asked for, by what they may be remembered, whether they are."""

    hits: Sequence[Hit]
    whole: bool = True
    key: SearchKey | None = None
    remembered: bool = False


@dataclass(frozen=True, slots=True)
class _Plan:
    groups: tuple[_Group, ...]
    document_ids: tuple[uuid.UUID, ...] | None


async def retrieve(
    *,
    principal: Principal,
    knowledge_base_ids: Sequence[uuid.UUID | str],
    query: str,
    limit: int = 8,
    mode: SearchMode = SearchMode.HYBRID,
    alpha: float | None = None,
    filters: SearchFilters = NO_FILTERS,
    skip_missing: bool = False,
    origin: str = "rest",
) -> list[Passage]:
    """The best `limit` passages of the knowledge bases, best first; none for a blank query.

    `alpha` None takes the bases' own. A base that does not exist, or is shut to the principal, raises NotFound, or is left
    out with `skip_missing`. When the embedder is away a hybrid search goes on by words alone. Raises PermissionDenied,
    BadInput, Unavailable.
    """
    found = await find_passages(
        principal=principal,
        knowledge_base_ids=knowledge_base_ids,
        query=query,
        limit=limit,
        mode=mode,
        alpha=alpha,
        filters=filters,
        skip_missing=skip_missing,
        origin=origin,
    )
    return list(found.passages)


async def find_passages(
    *,
    principal: Principal,
    knowledge_base_ids: Sequence[uuid.UUID | str],
    query: str,
    limit: int = 8,
    mode: SearchMode = SearchMode.HYBRID,
    alpha: float | None = None,
    filters: SearchFilters = NO_FILTERS,
    skip_missing: bool = False,
    origin: str = "rest",
) -> FoundPassages:
    """As `retrieve`, with whether the search was whole, for who keeps what is made of it. Raises the same."""
    require(principal, "knowledge.read")
    text = query.replace("\x00", " ").strip()[:MAX_QUERY_CHARS]
    if not text or not knowledge_base_ids:
        return FoundPassages((), whole=True)
    limit = max(1, min(limit, MAX_HITS))
    base_ids = _parse_ids(knowledge_base_ids, skip_missing=skip_missing)
    with hop("retrieve") as on_the_way:
        plan = await run_unit(_plan, principal, base_ids, filters, skip_missing=skip_missing)
        found = await together(
            *(_find(principal, each, plan, text, limit, mode, alpha, origin) for each in plan.groups)
        )
        hits = sorted((hit for each in found for hit in each.hits), key=lambda hit: -hit.score)
        chunks = await run_unit(_live, principal.tenant_id, hits) if hits else {}
        for each in found:
            _remember(each, chunks)
        passages = _passages([hit for hit in hits if hit.chunk_id in chunks], chunks, limit)
        on_the_way.facts |= {
            "mode": mode.value,
            "knowledge_bases": len(base_ids),
            "hits": len(hits),
            "passages": len(passages),
            "remembered": sum(each.remembered for each in found),
        }
    whole = all(each.whole for each in found) and all(hit.chunk_id in chunks for hit in hits)
    return FoundPassages(tuple(passages), whole)


def search(
    *,
    principal: Principal,
    knowledge_base_id: uuid.UUID,
    query: str,
    limit: int = 8,
    mode: SearchMode = SearchMode.HYBRID,
    alpha: float | None = None,
    filters: SearchFilters = NO_FILTERS,
) -> list[Passage]:
    """`retrieve` over one base, for synchronous callers."""

    async def work() -> list[Passage]:
        return await retrieve(
            principal=principal,
            knowledge_base_ids=[knowledge_base_id],
            query=query,
            limit=limit,
            mode=mode,
            alpha=alpha,
            filters=filters,
        )

    return wait_for(work)


async def _find(
    principal: Principal,
    group: _Group,
    plan: _Plan,
    text: str,
    limit: int,
    mode: SearchMode,
    alpha: float | None,
    origin: str,
) -> _Found:
    """The hits of a group, remembered or searched. Rights were asked before, what is live will be after."""
    remembered: RememberedSearches = backends["remembered_searches"]
    alpha = group.alpha if alpha is None else alpha
    key = None
    if plan.document_ids is None:
        key = remembered.key(group.collection, group.base_ids, text, limit=limit, mode=mode, alpha=alpha)
    known = remembered.get(key) if key is not None else None
    if known is not None:
        return _Found(known, remembered=True)
    hits, whole = await _search_group(principal, group, plan, text, limit, mode, alpha, origin)
    return _Found(hits, whole, key if whole else None)


def _remember(found: _Found, live: Mapping[uuid.UUID, Chunk]) -> None:
    """Remember a search all of whose hits are live: one that points to what is being removed hides what comes after."""
    if found.key is not None and all(hit.chunk_id in live for hit in found.hits):
        remembered: RememberedSearches = backends["remembered_searches"]
        remembered.put(found.key, found.hits)


async def _search_group(
    principal: Principal,
    group: _Group,
    plan: _Plan,
    text: str,
    limit: int,
    mode: SearchMode,
    alpha: float,
    origin: str,
) -> tuple[list[Hit], bool]:
    """The hits, and whether the search was made as it was asked for."""
    vector, whole = None, True
    if mode is not SearchMode.KEYWORD:
        try:
            vector = await embed_query(principal, group.model, group.collection, text, origin)
        except (Unavailable, UpstreamFailed, ModelNotFound) as error:
            if mode is SearchMode.VECTOR:
                raise
            log.warning("query_not_embedded", model=group.model, error=str(error))
            mode, whole = SearchMode.KEYWORD, False
    store: VectorStore = backends["vector_store"]
    hits = await store.search(
        group.collection,
        VectorQuery(
            text=text,
            vector=vector,
            knowledge_base_ids=group.base_ids,
            limit=limit + SPARE_HITS,
            mode=mode,
            alpha=alpha,
            document_ids=plan.document_ids,
        ),
    )
    return hits, whole


async def embed_query(
    principal: Principal, model: str, collection: Collection, text: str, origin: str
) -> Sequence[float]:
    """The query's vector. Raises Unavailable when the model now makes vectors that the index cannot compare."""
    await ensure_models()
    if embedder_fingerprint(model) != collection.embedder:
        raise Unavailable("The knowledge base was embedded by another version of the embedding model.")
    request = ensure_request()
    call = ModelCall(
        principal=principal,
        surface=Surface.EMBEDDINGS,
        model=model,
        body={"model": model, "input": [text]},
        prompt_chars=len(text),
        request_id=request.request_id,
        origin=origin,
        priority=PriorityClass.INTERACTIVE.clamped(principal.priority_cap),
        traceparent=make_traceparent(request.trace_id),
    )
    embeddings, _ = await embed(call)
    return embeddings.vectors[0]


def _parse_ids(ids: Sequence[uuid.UUID | str], *, skip_missing: bool) -> list[uuid.UUID]:
    found = [each if isinstance(each, uuid.UUID) else parse_uuid(each) for each in ids]
    if None in found and not skip_missing:
        raise NotFound("There is no such knowledge base.")
    return list(dict.fromkeys(each for each in found if each is not None))


def _plan(
    principal: Principal, base_ids: Sequence[uuid.UUID], filters: SearchFilters, *, skip_missing: bool
) -> _Plan:
    with tenant_scope(principal.tenant_id, read_only=True):
        bases = list(selectors.open_bases(principal).filter(id__in=base_ids))
        if len(bases) < len(base_ids) and not skip_missing:
            raise NotFound("There is no such knowledge base.")
        document_ids = None
        if not filters.empty:
            found = selectors.filtered_documents([base.id for base in bases], filters)
            if len(found) > MAX_FILTERED_DOCUMENTS:
                raise BadInput(
                    f"The filters leave more than {MAX_FILTERED_DOCUMENTS:,} documents; narrow them.",
                    param="filters",
                )
            document_ids = tuple(found)
    return _Plan(_grouped(principal.tenant_id, bases), document_ids)


def _grouped(tenant_id: uuid.UUID, bases: Sequence[KnowledgeBase]) -> tuple[_Group, ...]:
    """By embedder; bases without any embedded document hold nothing to find."""
    kinds: dict[tuple[str, str, int], list[KnowledgeBase]] = {}
    for base in bases:
        if base.embedder:
            kinds.setdefault((base.embedding_model, base.embedder, base.dimensions), []).append(base)
    return tuple(
        _Group(
            model=model,
            collection=Collection(tenant_id, embedder, dimensions),
            base_ids=tuple(base.id for base in members),
            alpha=sum(base.alpha for base in members) / len(members),
        )
        for (model, embedder, dimensions), members in kinds.items()
    )


def _live(tenant_id: uuid.UUID, hits: Sequence[Hit]) -> Mapping[uuid.UUID, Chunk]:
    with tenant_scope(tenant_id, read_only=True):
        return selectors.live_chunks(hit.chunk_id for hit in hits)


def _passages(hits: Sequence[Hit], chunks: Mapping[uuid.UUID, Chunk], limit: int) -> list[Passage]:
    meaning = places({hit.chunk_id: hit.vector_score for hit in hits})
    words = places({hit.chunk_id: hit.keyword_score for hit in hits})
    return [
        _passage(hit, chunks[hit.chunk_id], meaning.get(hit.chunk_id), words.get(hit.chunk_id))
        for hit in hits[:limit]
    ]


def _passage(hit: Hit, chunk: Chunk, vector_rank: int | None, keyword_rank: int | None) -> Passage:
    document = chunk.document
    return Passage(
        document_id=document.id,
        knowledge_base_id=document.knowledge_base_id,
        chunk_id=chunk.id,
        title=document.title,
        text=chunk.text,
        score=hit.score,
        vector_score=hit.vector_score,
        keyword_score=hit.keyword_score,
        external_id=document.external_id,
        url=document.url,
        heading=chunk.heading,
        position=chunk.position,
        page=chunk.page,
        vector_rank=vector_rank,
        keyword_rank=keyword_rank,
    )
