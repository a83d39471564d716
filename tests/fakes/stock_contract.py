"""What limits of what is kept promise when many write at once: the same over SQLite and PostgreSQL.

A module that provides `library` imports these tests.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from django.db import connections
from factories.tenants import make_principal
from fakes.library import Library

from kernel.errors import QuotaExhausted
from knowledge.models import Document
from knowledge.services import delete_document, restore_document
from knowledge.types import KnowledgeBaseView
from substrate.scoping import tenant_scope
from tenants.models import Group, GroupMember, Quota


def limit(library: Library, level: str, measure: str, hard: int | None, subject: str = "") -> None:
    """A limit of the library's tenant, or of somebody in it."""
    with tenant_scope(library.tenant.id):
        Quota.objects.create(
            tenant=library.tenant, level=level, measure=measure, subject=subject, hard=hard, soft=0
        )


def colleague(library: Library) -> Library:
    """The same library, as another user of the tenant."""
    return replace(library, principal=make_principal(library.tenant))


def group_of(*members: Library) -> str:
    """A group of these users."""
    tenant = members[0].tenant
    with tenant_scope(tenant.id):
        group = Group.objects.create(tenant=tenant, name=f"group {Group.objects.count()}")
        for each in members:
            GroupMember.objects.create(tenant=tenant, group=group, membership_id=each.principal.membership_id)
    return str(group.id)


def kept(library: Library) -> int:
    """How many documents this user handed in."""
    with tenant_scope(library.tenant.id, read_only=True):
        return Document.objects.filter(user_id=library.principal.user_id).count()


def at_once(acts: Sequence[Callable[[], object]]) -> list[bool]:
    """All of the acts in six threads; which of them were within the limits."""

    def done(act: Callable[[], object]) -> bool:
        try:
            act()
            return True
        except QuotaExhausted:
            return False
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        return list(pool.map(done, acts))


def uploads(base: KnowledgeBaseView, *members: Library) -> list[Callable[[], object]]:
    """Six uploads of each, in turn."""
    return [
        lambda user=user, number=number: user.text(base, f"{number} by {user.principal.user_id}")  # type: ignore[misc]
        for number in range(6)
        for user in members
    ]


def test_the_last_place_of_a_group_is_given_once(library: Library) -> None:
    other, outside = colleague(library), colleague(library)
    limit(library, "group", "documents", 3, group_of(library, other))
    base = library.base()
    done = at_once(uploads(base, library, other, outside))
    assert sum(done) == 3 + 6
    assert (kept(library) + kept(other), kept(outside), len(library.blobs())) == (3, 6, 9)


def test_each_user_has_a_last_place_of_their_own(library: Library) -> None:
    other = colleague(library)
    limit(library, "user", "documents", 2)
    limit(library, "user", "documents", 4, str(other.principal.user_id))
    assert sum(at_once(uploads(library.base(), library, other))) == 6
    assert (kept(library), kept(other)) == (2, 4)


def test_the_strictest_of_all_levels_holds(library: Library) -> None:
    other = colleague(library)
    limit(library, "tenant", "documents", 5)
    limit(library, "group", "documents", 4, group_of(library, other))
    limit(library, "user", "documents", 3)
    assert sum(at_once(uploads(library.base(), library, other, colleague(library)))) == 5
    assert kept(library) + kept(other) <= 4


def test_who_restores_and_who_uploads_share_the_last_place(library: Library) -> None:
    limit(library, "user", "documents", 1)
    base = library.base()
    gone = library.text(base, "deleted")
    delete_document(principal=library.principal, document_id=gone.id)
    acts: list[Callable[[], object]] = [
        lambda: restore_document(principal=library.principal, document_id=gone.id),
        lambda: library.text(base, "another"),
    ]
    assert sum(at_once(acts)) == 1
    assert kept(library) == 1
