"""For how long somebody may go on: rights that end while something is under way for them."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError, NotSignedIn, PermissionDenied, TenantSuspended, Unavailable
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.attending import AccessWatch
from tenants.models import Membership
from tenants.permissions import require
from tenants.ports import KeyFinder
from tenants.selectors import principal_of_membership
from tenants.services.sign_in import refuse_entry
from tenants.types import Principal, TenantState

# Without any news rights are looked at this often: a key may expire by itself.
LOOK_AGAIN_S = 60.0
PAUSE_S = 1.0


async def until_refused(
    principal: Principal,
    again: Callable[[], Awaitable[Principal]] | None = None,
    *,
    permission: str | None = None,
) -> AtriumError:
    """Return, once `principal` may not go on, the refusal: as soon as this process hears of the change.

    `again` authenticates anew (default: by what the principal says of itself); `permission` is one that must stay. While the database is away nobody is refused: nothing changes without it either.
    """
    watch: AccessWatch = backends["access_watch"]
    with watch.following(principal) as touched:
        while True:
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await touched.wait()
            except TimeoutError:
                pass
            touched.clear()
            try:
                fresh = await (again() if again is not None else renew_principal(principal))
                if fresh.tenant_id != principal.tenant_id:
                    return PermissionDenied()
                if permission is not None:
                    require(fresh, permission)
            except Unavailable:
                await asyncio.sleep(PAUSE_S)
                touched.set()
            except (NotSignedIn, PermissionDenied) as refusal:
                return refusal


async def renew_principal(principal: Principal, *, clock: Clock = SYSTEM_CLOCK) -> Principal:
    """What became of a principal: its rights now.

    Raises NotSignedIn (key revoked or expired, user inactive), PermissionDenied, TenantSuspended, Unavailable.
    """
    if principal.api_key_prefix:
        finder: KeyFinder = backends["key_directory"]
        return refuse_entry(await finder.find(principal.api_key_prefix), clock)
    if principal.membership_id is None:
        return principal
    return await run_unit(_renew_member, principal.tenant_id, principal.membership_id, principal.confined)


def _renew_member(tenant_id: uuid.UUID, membership_id: uuid.UUID, confined: bool) -> Principal:
    with tenant_scope(tenant_id, read_only=True):
        rows = Membership.objects.select_related("tenant", "user", "custom_role").filter(id=membership_id)
        found = rows.prefetch_related("in_groups").first()
    if found is None or found.disabled_at is not None:
        raise PermissionDenied("Your membership in this tenant is disabled.")
    if not found.user.is_active:
        raise NotSignedIn
    if found.tenant.state != TenantState.ACTIVE:
        raise TenantSuspended
    return principal_of_membership(found, confined=confined)
