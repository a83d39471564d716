"""Searches that were made a moment ago: found again while nothing changed, and never to show what may not be seen."""

import uuid
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from fakes.clocks import FrozenClock
from fakes.library import Library

from kernel.backends import backends
from kernel.errors import EngineUnavailable, NotFound
from kernel.hops import Trail, on_trail
from knowledge.remembered import RememberedSearches, SearchKey
from knowledge.services import delete_document, retrieve
from knowledge.types import Collection, Hit, Passage, SearchMode
from substrate.bridge import wait_for
from substrate.changes import EVERYTHING
from substrate.ports import ChangeEvent
from tenants.types import Principal

T = TypeVar("T")
TENANT, BASE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID(int=3)
HIT = Hit(uuid.UUID(int=4), uuid.UUID(int=5), BASE, 1.0, 1.0, 1.0)
TEXT = "The lighthouse keeper earns nine pounds."


def changed(base: uuid.UUID, kind: str = "document") -> ChangeEvent:
    return ChangeEvent(1, kind, TENANT, str(base))


def key_of(searches: RememberedSearches, *bases: uuid.UUID, **fields: Any) -> SearchKey:
    values: dict[str, Any] = {"limit": 8, "mode": SearchMode.HYBRID, "alpha": 0.5, **fields}
    found = searches.key(Collection(TENANT, "minilm", 3), bases or (BASE,), "keeper", **values)
    assert found is not None
    return found


@pytest.fixture
async def searches() -> RememberedSearches:
    made = RememberedSearches(size=2, keep_s=60, clock=FrozenClock())
    await made.start()
    return made


def test_nothing_is_remembered_where_nobody_tells_of_changes() -> None:
    found = RememberedSearches().key(
        Collection(TENANT, "minilm", 3), (BASE,), "keeper", limit=8, mode=SearchMode.HYBRID, alpha=0.5
    )
    assert found is None


async def test_a_search_is_found_again_until_its_base_changes(searches: RememberedSearches) -> None:
    searches.put(key_of(searches), [HIT])
    assert searches.get(key_of(searches)) == (HIT,)
    searches.on_change(changed(OTHER))
    searches.on_change(ChangeEvent(2, "assistant", TENANT, str(BASE)))
    assert searches.get(key_of(searches)) == (HIT,)
    searches.on_change(changed(BASE))
    assert searches.get(key_of(searches)) is None


async def test_what_was_found_while_the_base_changed_is_not_found_again(
    searches: RememberedSearches,
) -> None:
    key = key_of(searches)
    searches.on_change(changed(BASE, "knowledge_base"))
    searches.put(key, [HIT])
    assert searches.get(key_of(searches)) is None


@pytest.mark.parametrize("kind", [EVERYTHING, "start"])
async def test_all_is_forgotten_at_once(searches: RememberedSearches, kind: str) -> None:
    key = key_of(searches)
    searches.put(key, [HIT])
    if kind == "start":
        await searches.start()
    else:
        searches.on_change(ChangeEvent(1, kind, None, ""))
    searches.put(key, [HIT])
    assert searches.get(key_of(searches)) is None


@pytest.mark.parametrize("other", [{"limit": 9}, {"mode": SearchMode.VECTOR}, {"alpha": 0.6}])
async def test_another_search_is_another_one(searches: RememberedSearches, other: dict[str, Any]) -> None:
    searches.put(key_of(searches), [HIT])
    assert searches.get(key_of(searches, **other)) is None
    assert searches.get(key_of(searches, BASE, OTHER)) is None


async def test_the_least_recently_made_leave_first(searches: RememberedSearches) -> None:
    keys = [key_of(searches, limit=limit) for limit in (1, 2, 3)]
    searches.put(keys[0], [HIT])
    searches.put(keys[1], [HIT])
    assert searches.get(keys[0]) is not None
    searches.put(keys[2], [HIT])
    assert [searches.get(key) is not None for key in keys] == [True, False, True]


class Searching:
    """Searches of a library through one memory, as one process makes them."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.searches = RememberedSearches()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        async def all_of_it() -> T:
            backends.replace("remembered_searches", self.searches)
            return await work

        return wait_for(all_of_it)

    def find(self, principal: Principal, base: object) -> tuple[list[Passage], bool]:
        """What is found, and whether it was remembered."""

        async def work() -> tuple[list[Passage], bool]:
            trail = Trail("v1", "request-1", "0" * 32)
            with on_trail(trail):
                passages = await retrieve(
                    principal=principal, knowledge_base_ids=[str(base)], query="lighthouse keeper"
                )
            (hop,) = [each for each in trail.hops if each[0] == "retrieve"]
            return passages, bool(hop[3]["remembered"])

        return self.run(work())


@pytest.fixture
def searching(library: Library) -> Searching:
    made = Searching(library)
    made.run(made.searches.start())
    return made


def test_rights_are_asked_before_a_remembered_search(searching: Searching) -> None:
    library = searching.library
    base = library.base("Payroll")
    library.text(base, TEXT)
    library.work()
    insider = library.principal
    first, remembered = searching.find(insider, base.id)
    assert ([each.text for each in first], remembered) == ([TEXT], False)
    assert searching.find(insider, base.id) == (first, True)
    outsider = replace(insider, closed=frozenset({f"knowledge_base:{base.id}"}))
    with pytest.raises(NotFound):
        searching.find(outsider, base.id)


def test_what_is_gone_is_not_shown_and_what_is_new_is_found_once_it_is_told(searching: Searching) -> None:
    library = searching.library
    base = library.base("Payroll")
    document = library.text(base, TEXT)
    library.work()
    searching.find(library.principal, base.id)
    delete_document(principal=library.principal, document_id=document.id)
    assert searching.find(library.principal, base.id) == ([], True)
    library.text(base, "The lighthouse keeper is new.")
    library.work()
    searching.searches.on_change(changed(base.id))
    passages, remembered = searching.find(library.principal, base.id)
    assert ([each.text for each in passages], remembered) == (["The lighthouse keeper is new."], False)


def test_a_search_that_finds_what_is_being_removed_is_not_remembered(searching: Searching) -> None:
    library = searching.library
    base = library.base("Payroll")
    document = library.text(base, TEXT)
    library.work()
    delete_document(principal=library.principal, document_id=document.id)
    # Its points are removed by a later job; until then they are found, and are not live.
    assert searching.find(library.principal, base.id) == ([], False)
    assert searching.find(library.principal, base.id) == ([], False)


def test_a_search_by_words_alone_in_place_of_a_better_one_is_not_remembered(searching: Searching) -> None:
    library = searching.library
    base = library.base("Payroll")
    library.text(base, TEXT)
    library.work()
    library.trouble.errors = [EngineUnavailable("The engine is not reachable.")]
    assert [each.text for each in searching.find(library.principal, base.id)[0]] == [TEXT]
    assert not library.trouble.errors
    assert searching.find(library.principal, base.id)[1] is False
