"""Retrieval under the rights of the one who asks: of a base that is shut to them nothing is found, nor opened."""

from dataclasses import replace

import pytest
from fakes.library import Library

from kernel.errors import NotFound
from knowledge.services import get_document, list_passages, retrieve, search
from knowledge.types import Passage
from substrate.bridge import wait_for
from tenants.types import Principal

OPEN, SHUT = "The lighthouse is painted white.", "The lighthouse keeper earns nine pounds."


def found(principal: Principal, *bases: object, skip_missing: bool = True) -> list[Passage]:
    """What the principal finds in the bases."""

    async def work() -> list[Passage]:
        return await retrieve(
            principal=principal,
            knowledge_base_ids=[str(each) for each in bases],
            query="lighthouse keeper",
            skip_missing=skip_missing,
        )

    return wait_for(work)


def test_of_two_bases_one_finds_in_those_that_are_open(library: Library) -> None:
    public, payroll = library.base("Public"), library.base("Payroll")
    library.text(public, OPEN)
    secret = library.text(payroll, SHUT)
    library.work()
    insider = library.principal
    outsider = replace(insider, closed=frozenset({f"knowledge_base:{payroll.id}"}))
    both = found(insider, public.id, payroll.id)
    assert {each.text for each in both} == {OPEN, SHUT}
    assert [each.text for each in found(outsider, public.id, payroll.id)] == [OPEN]
    assert found(outsider, payroll.id) == []
    with pytest.raises(NotFound):
        found(outsider, public.id, payroll.id, skip_missing=False)
    with pytest.raises(NotFound):
        search(principal=outsider, knowledge_base_id=payroll.id, query="keeper")
    # A citation that an insider got opens for insiders alone.
    cited = next(each for each in both if each.text == SHUT)
    document, passages = list_passages(principal=insider, document_id=secret.id, around=cited.chunk_id)
    assert (document.id, [each.text for each in passages]) == (secret.id, [SHUT])
    for open_it in (
        lambda: list_passages(principal=outsider, document_id=secret.id, around=cited.chunk_id),
        lambda: get_document(principal=outsider, document_id=secret.id),
    ):
        with pytest.raises(NotFound):
            open_it()
