"""Rows as lists show them: with columns to sort and filter by, and what a page of rows needs besides."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime

from django.db.models import Case, CharField, F, IntegerField, QuerySet, Value, When
from django.db.models.functions import Coalesce

from tenants.models import ApiKey, Invitation, Membership, User
from tenants.selectors import EXPIRING, api_keys, invitations, key_view, members, name_of_account
from tenants.types import InvitationState, KeyState, KeyView, Role

# Stand in for "never" where lists are sorted.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER = datetime(9000, 1, 1, tzinfo=UTC)


def listed_members() -> QuerySet[Membership]:
    """As `members`, with columns to sort by: `email`, `name`, `rank` (owners first), `used`. Needs a tenant scope."""
    return members().annotate(
        email=F("user__email"),
        name=F("user__name"),
        rank=_rank(),
        used=Coalesce("last_used_at", Value(NEVER)),
    )


def _rank() -> Case:
    return Case(*(When(role=each.value, then=Value(each.rank)) for each in Role), output_field=IntegerField())


def listed_keys(now: datetime) -> QuerySet[ApiKey]:
    """As `api_keys`, with columns to sort and filter by: `state`, `rank`, `used`, `expires`. Needs a tenant scope."""
    state = Case(
        When(revoked_at__isnull=False, then=Value(KeyState.REVOKED.value)),
        When(expires_at__lte=now, then=Value(KeyState.EXPIRED.value)),
        When(expires_at__lte=now + EXPIRING, then=Value(KeyState.EXPIRING.value)),
        default=Value(KeyState.VALID.value),
        output_field=CharField(),
    )
    return (
        api_keys()
        .select_related("custom_role")
        .annotate(
            state=state,
            rank=_rank(),
            used=Coalesce("last_used_at", Value(NEVER)),
            expires=Coalesce("expires_at", Value(FOREVER)),
        )
    )


def key_views(keys: list[ApiKey], now: datetime) -> list[KeyView]:
    """What the outside sees of keys, with the people and the partners of rotations. Needs a tenant scope."""
    people = {each for key in keys for each in (key.user_id, key.created_by_id) if each is not None}
    users: dict[uuid.UUID | None, User] = {each.id: each for each in User.objects.filter(id__in=people)}
    emails = {each: user.email for each, user in users.items()}
    replaced_by: dict[uuid.UUID | None, uuid.UUID] = {}
    if keys:
        # A key is younger than the one it replaces: so the index by creation leaves few rows to look at.
        pairs = ApiKey.objects.filter(
            created_at__gte=min(each.created_at for each in keys), replaces__in=[each.id for each in keys]
        )
        replaced_by = dict(pairs.order_by("created_at", "id").values_list("replaces", "id"))
    return [
        replace(
            key_view(each, now),
            user=emails.get(each.user_id, ""),
            created_by=emails.get(each.created_by_id, ""),
            replaced_by=replaced_by.get(each.id),
            service_account=name_of_account(users.get(each.user_id)),
        )
        for each in keys
    ]


def listed_invitations(now: datetime) -> QuerySet[Invitation]:
    """As `invitations`, with columns to sort and filter by: `state`, `rank`. Needs a tenant scope."""
    state = Case(
        When(accepted_at__isnull=False, then=Value(InvitationState.ACCEPTED.value)),
        When(withdrawn_at__isnull=False, then=Value(InvitationState.WITHDRAWN.value)),
        When(expires_at__lte=now, then=Value(InvitationState.EXPIRED.value)),
        default=Value(InvitationState.OPEN.value),
        output_field=CharField(),
    )
    return invitations().annotate(state=state, rank=_rank())
