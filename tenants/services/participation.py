"""What the app of tenants holds of one tenant: members, keys, the ledger, sessions, what the counters know."""

import uuid
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

from django.db.models import Model

from kernel.backends import backends
from substrate.crossing import system_scope
from substrate.participation import TableParticipant, line_of
from substrate.ports import ExportedPiece
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.models import Membership, Session, Tenant, User
from tenants.ports import CountersOfTenant

_SUMS = "sums of the ledger, which is in the archive"


class TenantsParticipant(TableParticipant):
    """Whoever belonged to this tenant alone, and is no operator, goes with it."""

    apps = ("tenants",)
    secrets: ClassVar[Mapping[str, frozenset[str]]] = {
        "tenants.ApiKey": frozenset({"fingerprint", "pepper_version"}),
        "tenants.Invitation": frozenset({"token_hash"}),
        "tenants.IdentityProvider": frozenset({"client_secret"}),
        "tenants.ScimToken": frozenset({"token_hash"}),
        "tenants.Webhook": frozenset({"secret", "second_secret"}),
    }
    kept_in: ClassVar[Mapping[str, str]] = {
        "tenants.TenantExport": "archives themselves",
        "tenants.UsageHour": _SUMS,
        "tenants.UsageDay": _SUMS,
        "tenants.TenantHour": _SUMS,
        "tenants.TenantDay": _SUMS,
    }

    async def export(self, tenant_id: uuid.UUID) -> AsyncIterator[ExportedPiece]:
        """As the port says; with the tenant itself, and the people in it by address and name."""
        yield ExportedPiece("tables/tenants.Tenant.jsonl", await run_unit(_tenant, tenant_id), 1)
        people = await run_unit(_people, tenant_id)
        yield ExportedPiece("tables/tenants.User.jsonl", b"".join(people), len(people))
        async for piece in super().export(tenant_id):
            yield piece

    def delete_rows(self, model: type[Model], tenant_id: uuid.UUID, limit: int) -> int:
        """With memberships go their sessions, and people who are nowhere else."""
        if model is Membership:
            return _delete_members(tenant_id, limit) or _delete_accounts(tenant_id, limit)
        return super().delete_rows(model, tenant_id, limit)

    async def delete_outside(self, tenant_id: uuid.UUID) -> None:
        """What the counters know."""
        counters: CountersOfTenant = backends["counters"]
        await counters.forget(str(tenant_id))

    async def count_outside(self, tenant_id: uuid.UUID) -> Mapping[str, int]:
        """Sessions and counters."""
        counters: CountersOfTenant = backends["counters"]
        return {
            "sessions": await run_unit(_count_sessions, tenant_id),
            "users of service accounts": await run_unit(_count_accounts, tenant_id),
            "counters": await counters.known(str(tenant_id)),
        }


def _tenant(tenant_id: uuid.UUID) -> bytes:
    return line_of(Tenant.objects.filter(id=tenant_id).values().get())


def _people(tenant_id: uuid.UUID) -> list[bytes]:
    with tenant_scope(tenant_id, read_only=True):
        ids = Membership.objects.values_list("user_id", flat=True)
        rows = (
            User.objects.filter(id__in=list(ids)).order_by("id").values("id", "email", "name", "created_at")
        )
        return [line_of(row) for row in rows]


def _count_sessions(tenant_id: uuid.UUID) -> int:
    with tenant_scope(tenant_id, read_only=True):
        ids = list(Membership.objects.values_list("id", flat=True))
    return sum(
        Session.objects.filter(membership_id__in=ids[start : start + 500]).count()
        for start in range(0, len(ids), 500)
    )


def _count_accounts(tenant_id: uuid.UUID) -> int:
    return User.objects.filter(service_of=tenant_id).count()


def _delete_accounts(tenant_id: uuid.UUID, limit: int) -> int:
    """Users of service accounts that were deleted before: no membership leads to them."""
    with system_scope("delete the service accounts of a deleted tenant"):
        found = list(User.objects.filter(service_of=tenant_id).values_list("id", flat=True)[:limit])
        User.objects.filter(id__in=found).delete()
        return len(found)


def _delete_members(tenant_id: uuid.UUID, limit: int) -> int:
    with system_scope("delete the members of a deleted tenant"):
        mine = Membership.objects.filter(tenant_id=tenant_id)
        found = dict(mine.values_list("id", "user_id")[:limit])
        Session.objects.filter(membership_id__in=list(found)).delete()
        Membership.objects.filter(id__in=list(found)).delete()
        people = set(found.values())
        elsewhere = set(Membership.objects.filter(user_id__in=people).values_list("user_id", flat=True))
        alone = User.objects.filter(id__in=people - elsewhere, is_operator=False)
        Session.objects.filter(user_id__in=list(alone.values_list("id", flat=True))).delete()
        alone.delete()
        User.objects.filter(id__in=people, password_given_by=tenant_id).update(password_given_by=None)
        return len(found)
