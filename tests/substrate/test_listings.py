"""Lists asked for one way: every row once in either direction whatever repeats, filters, safe files."""

import csv
import io
from typing import Any, ClassVar

import pytest
from django.http import FileResponse
from factories.tenants import make_tenant
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from kernel.errors import BadInput, NotFound
from substrate.jobs import enqueue_job
from substrate.listings import Listing, choice_filter, safe_cell
from substrate.models import Job
from substrate.scoping import tenant_scope

pytestmark = pytest.mark.django_db

LISTING = Listing(
    sorts={"created_at": "created_at", "state": "state", "attempts": "attempts"},
    default="-created_at",
    search=("error",),
    filters={"state": choice_filter("state", ("queued", "running", "done", "failed"))},
    csv=("state", "error"),
    file_name="jobs",
)


class JobOutput(serializers.Serializer[Any]):
    """What the list shows."""

    id = serializers.UUIDField()
    state = serializers.CharField()
    error = serializers.CharField()


class Jobs:
    """A tenant with jobs, and the list of them."""

    kinds: ClassVar[tuple[str, ...]] = ("queued", "done")

    def __init__(self, count: int) -> None:
        self.tenant_id = make_tenant().id
        with tenant_scope(self.tenant_id):
            for number in range(count):
                # Ids of one millisecond are in no order: the last one by id need not be this one.
                row = Job.objects.get(
                    id=enqueue_job(kind="knowledge.ingest", payload={}, tenant_id=self.tenant_id)
                )
                row.state = self.kinds[number % 2]
                row.error = f"=reason {number}" if number % 3 == 0 else ""
                row.save()

    def ask(self, query: str) -> Any:
        request = Request(
            APIRequestFactory().get(f"/jobs?{query}" if not query.startswith("http") else query)
        )
        with tenant_scope(self.tenant_id, read_only=True):
            return LISTING.answer(request, Job.objects.all(), list, JobOutput)

    def walk(self, query: str, way: str = "next") -> list[str]:
        seen: list[str] = []
        link: str | None = query
        for _ in range(50):
            body = self.ask(link or "").data
            ids = [row["id"] for row in body["results"]]
            seen = [*seen, *ids] if way == "next" else [*ids, *seen]
            link = body[way]
            if link is None:
                return seen
        raise AssertionError("the pages never end")


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "state", "-state", "attempts"])
@pytest.mark.parametrize("limit", [1, 3, 4, 11, 12])
def test_each_row_comes_once_forward_and_backward(sort: str, limit: int) -> None:
    jobs = Jobs(11)
    forward = jobs.walk(f"sort={sort}&limit={limit}")
    assert len(forward) == len(set(forward)) == 11
    last = jobs.ask(f"sort={sort}&limit={limit}")
    while last.data["next"]:
        last = jobs.ask(last.data["next"])
    at_the_end = [row["id"] for row in last.data["results"]]
    before = jobs.walk(last.data["previous"], "previous") if last.data["previous"] else []
    assert before + at_the_end == forward


def test_the_first_page_has_no_previous_and_the_last_no_next() -> None:
    jobs = Jobs(4)
    first = jobs.ask("limit=2").data
    assert first["previous"] is None
    last = jobs.ask(first["next"]).data
    assert last["next"] is None
    back = jobs.ask(last["previous"]).data
    assert back["previous"] is None
    assert [row["id"] for row in back["results"]] == [row["id"] for row in first["results"]]


def test_filters_search_and_total_narrow_the_list() -> None:
    jobs = Jobs(9)
    assert len(jobs.ask("state=done").data["results"]) == 4
    assert len(jobs.ask("state=done,queued").data["results"]) == 9
    found = jobs.ask("q=REASON&total=true&limit=1").data
    assert found["total"] == 3
    assert len(found["results"]) == 1
    assert "total" not in jobs.ask("").data


@pytest.mark.parametrize("query", ["sort=error", "state=lost", "format=xml", "q=" + "x" * 201, "q=%00"])
def test_what_the_list_does_not_know_is_bad_input(query: str) -> None:
    with pytest.raises(BadInput):
        Jobs(0).ask(query)


@pytest.mark.parametrize("cursor", ["x", "W10=", "%00", "eyJhIjoxfQ==", "9" * 3000])
def test_a_cursor_of_somebody_else_is_not_found(cursor: str) -> None:
    with pytest.raises(NotFound):
        Jobs(1).ask(f"cursor={cursor}")


def test_a_cursor_belongs_to_its_order() -> None:
    jobs = Jobs(3)
    link = jobs.ask("sort=state&limit=1").data["next"]
    with pytest.raises(NotFound):
        jobs.ask(link.replace("sort=state", "sort=-state"))


def test_the_file_has_every_row_and_no_formula() -> None:
    answer = Jobs(7).ask("format=csv&sort=created_at&limit=2")
    assert isinstance(answer, FileResponse)
    assert "jobs.csv" in answer["Content-Disposition"]
    content = b"".join(answer.streaming_content)
    answer.close()
    assert len(content) == int(answer["Content-Length"])
    rows = list(csv.reader(io.StringIO(content.decode())))
    assert rows[0] == ["state", "error"]
    assert len(rows) == 8
    assert rows[1] == ["queued", "'=reason 0"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_text_that_begins_a_formula_is_quoted(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


def test_numbers_and_plain_text_stay() -> None:
    assert [safe_cell(each) for each in (-5, "a=b", None, True)] == [-5, "a=b", "", True]
