"""Opening a tenant: the tenant, its first owner, and perhaps the operator who makes it, in one act."""

from dataclasses import replace

from kernel.errors import BadInput, Conflict
from substrate.crossing import system_scope
from tenants import selectors
from tenants.models import Tenant, User
from tenants.permissions import OPERATE, VISIT, require
from tenants.services.invitations import invite
from tenants.services.tenants import create_tenant
from tenants.services.users import create_user, normal_address
from tenants.types import OpenedTenant, Principal, PriorityClass, Role, SentInvitation, TenantView


def open_tenant(
    *,
    principal: Principal,
    slug: str,
    name: str,
    base_url: str,
    priority_class: PriorityClass | None = None,
    weight: int = 1,
    owner_email: str = "",
    join: bool = False,
    timezone: str = "UTC",
    region: str = "",
) -> OpenedTenant:
    """Make a tenant. Who `owner_email` belongs to is its owner at once; an unknown address is invited as owner.

    `join` makes the operator an owner too: without it they may visit, which shows no content. `base_url` is for the
    invitation's link. Raises PermissionDenied, BadInput, Conflict when the slug is taken; then nothing was made.
    """
    require(principal, OPERATE)
    address = normal_address(owner_email) if owner_email.strip() else ""
    me = User.objects.filter(id=principal.user_id).first() if principal.user_id else None
    if join and me is None:
        raise BadInput("Only a person can become an owner.", param="join")
    owner = selectors.find_user(address) if address else None
    with system_scope("open a tenant"):
        tenant = create_tenant(
            slug=slug,
            name=name,
            priority_class=priority_class,
            weight=weight,
            timezone=timezone,
            region=region,
        )
        first = {each.email for each in (owner, me if join else None) if each is not None}
        for email in sorted(first):
            create_user(email=email, tenant_slug=slug, role=Role.OWNER)
    invitation = None
    if address and owner is None:
        invitation = _invite_owner(principal, tenant, address, base_url)
    return OpenedTenant(
        tenant=selectors.tenant_views([Tenant.objects.get(id=tenant.id)], tenant.created_at)[0],
        owner=owner.email if owner else "",
        invitation=invitation,
        joined=join,
    )


def _invite_owner(
    principal: Principal, tenant: TenantView, address: str, base_url: str
) -> SentInvitation | None:
    """The invitation; None in the rare case that it failed after the tenant was made: it can be sent from there."""
    visit = replace(
        principal,
        tenant_id=tenant.id,
        tenant_slug=tenant.slug,
        role=Role.OWNER,
        membership_id=None,
        permissions=VISIT,
        visiting=True,
    )
    try:
        return invite(principal=visit, email=address, role=Role.OWNER, base_url=base_url)
    except Conflict:
        return None
