"""An owner thinks better of the deletion of their tenant: the one thing that is left to them while every door is shut.

It is asked for on a page of one's account, by the session alone: whoever holds a membership there that may have the
tenant deleted, and meets what the tenant asks of a sign-in. What an operator asked for is the operators' to withdraw.
"""

import uuid

from django.contrib.sessions.backends.base import SessionBase

from kernel.actors import Actor, acting
from kernel.errors import NotFound
from substrate.crossing import system_scope
from tenants import selectors
from tenants.lifecycle_types import DeletionState, DeletionView
from tenants.models import Membership, TenantDeletion, User
from tenants.services.deleting import take_back_deletion, view_of
from tenants.services.sign_in import only_tenant
from tenants.services.sign_in_rules import SecondFactorRequired, used_second_factor
from tenants.types import TenantState

PERMISSION = "tenant.delete"


def find_own_deletions(*, user: User, session: SessionBase) -> list[DeletionView]:
    """The deletions that the user may still withdraw, the next one first. Those of others, and operators', are left out."""
    with system_scope("an owner sees what is to be deleted", read_only=True):
        ids = [each.tenant_id for each in _memberships(user, session)]
        rows = TenantDeletion.objects.filter(
            tenant_id__in=ids, state=DeletionState.WAITING, by_member=True
        ).order_by("due_at", "id")
        return [view_of(row) for row in rows]


def withdraw_own_deletion(*, user: User, session: SessionBase, tenant_id: uuid.UUID) -> DeletionView:
    """The tenant is again as it was, for everybody, within two seconds.

    Raises NotFound when there is none that the user may withdraw, SecondFactorRequired, Conflict once it has begun.
    """
    with system_scope("an owner withdraws the deletion of a tenant"):
        member = next((each for each in _memberships(user, session) if each.tenant_id == tenant_id), None)
        if member is None:
            raise NotFound("This tenant is not to be deleted.")
        if member.tenant.second_factor_required and not used_second_factor(session):
            raise SecondFactorRequired
    with acting(Actor("user", user.email, user.id)):
        return take_back_deletion(tenant_id=tenant_id, by_member=True)


def _memberships(user: User, session: SessionBase) -> list[Membership]:
    """Open memberships of the user in tenants that are to be deleted, which might have asked for it."""
    only = only_tenant(session)
    return [
        each
        for each in selectors.memberships_of(user.id)
        if each.tenant.state == TenantState.DELETING
        and each.disabled_at is None
        and only in (None, each.tenant_id)
        and PERMISSION in selectors.principal_of_membership(each, confined=only is not None).permissions
    ]
