"""Rows of tenants: who belongs to whom, with which rights, by which keys, and what was used."""

import uuid
from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from kernel.ids import uuid7
from substrate.models import Identified, TenantOwned
from tenants.access_models import CustomRole as CustomRole
from tenants.access_models import Grant as Grant
from tenants.access_models import Group as Group
from tenants.access_models import GroupMember as GroupMember
from tenants.access_models import Restriction as Restriction
from tenants.break_glass_models import BreakGlass as BreakGlass
from tenants.lifecycle_models import TenantDeletion as TenantDeletion
from tenants.lifecycle_models import TenantExport as TenantExport
from tenants.lifecycle_types import REGION_LENGTH
from tenants.provider_models import Identity as Identity
from tenants.provider_models import IdentityProvider as IdentityProvider
from tenants.quota_models import Quota as Quota
from tenants.rollup_models import PlatformHour as PlatformHour
from tenants.rollup_models import TenantDay as TenantDay
from tenants.rollup_models import TenantHour as TenantHour
from tenants.rollup_models import UsageDay as UsageDay
from tenants.rollup_models import UsageHour as UsageHour
from tenants.scim_models import Provisioned as Provisioned
from tenants.scim_models import ScimToken as ScimToken
from tenants.service_account_models import ServiceAccount as ServiceAccount
from tenants.session_models import Session as Session
from tenants.shadow_models import ShadowPair as ShadowPair
from tenants.types import (
    EMAIL_LENGTH,
    LANGUAGE_LENGTH,
    MESSAGE_LENGTH,
    NAME_LENGTH,
    SLUG_LENGTH,
    SLUG_PATTERN,
    WEIGHT_MAX,
    PriorityClass,
    Role,
    TenantState,
    TraceState,
    UsageState,
    normal_email,
)
from tenants.webhook_models import Webhook as Webhook
from tenants.webhook_models import WebhookDelivery as WebhookDelivery


def _choices(
    values: type[PriorityClass] | type[Role] | type[TenantState] | type[UsageState] | type[TraceState],
) -> list[tuple[str, str]]:
    return [(each.value, each.value) for each in values]


class Tenant(Identified):
    """A customer of the platform: a company, a business unit, a team. active ⇄ suspended; either ⇄ deleting → gone.

    Nobody gets in while it is suspended; nothing is deleted. One that is deleting is refused in the same way until its
    `TenantDeletion` is due; then every row goes, this one last. Where `region` is set, engines of other regions never
    see its content. `priority_class` caps how urgent its requests may be,
    `weight` is its share of a contended pool relative to other tenants.
    """

    slug = models.CharField(max_length=SLUG_LENGTH, unique=True, validators=[RegexValidator(SLUG_PATTERN)])
    name = models.CharField(max_length=NAME_LENGTH)
    state = models.CharField(max_length=16, choices=_choices(TenantState), default=TenantState.ACTIVE.value)
    priority_class = models.CharField(
        max_length=16, choices=_choices(PriorityClass), default=PriorityClass.CRITICAL.value
    )
    weight = models.PositiveIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(WEIGHT_MAX)]
    )
    is_demo = models.BooleanField(default=False)
    # Its days and months: budgets begin anew by this calendar.
    timezone = models.CharField(max_length=64, default="UTC", db_default="UTC")
    second_factor_required = models.BooleanField(default=False, db_default=False)
    region = models.CharField(max_length=REGION_LENGTH, blank=True, default="", db_default="")

    def __str__(self) -> str:
        """The slug."""
        return self.slug


class UserQuerySetManager(BaseUserManager["User"]):
    """Finds users by e-mail without regard to case: addresses are stored in lower case."""

    def get_by_natural_key(self, username: str | None) -> "User":
        """The user of an e-mail address. Raises User.DoesNotExist."""
        return self.get(email=normal_email(username or ""))


class User(AbstractBaseUser):
    """A person, known by e-mail address, over all tenants. What they may do is in their memberships.

    A tenant's service account (`service_of`) has a user too, which stands wherever a person does: it has no address but
    a name in its place, no password, and one membership, in its own tenant.

    `is_operator` runs the platform: tenants, models, pools and the back-office. An inactive user's sessions and keys
    are dead at once. Tenants disable memberships, never users. A password that a tenant's administrator chose
    (`password_given_by`) opens that tenant alone: it does not prove whose address it is.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=EMAIL_LENGTH, unique=True)
    name = models.CharField(max_length=NAME_LENGTH, blank=True)
    # In which chat or console was last used, for letters; "" where neither was.
    language = models.CharField(max_length=LANGUAGE_LENGTH, blank=True, default="", db_default="")
    is_operator = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    # The bare id: the password outlives the tenant, and opens nothing then.
    password_given_by = models.UUIDField(null=True, blank=True, editable=False)
    # The bare id of the tenant whose directory made the account (`tenants.services.provisioning`).
    provisioned_by = models.UUIDField(null=True, blank=True, editable=False)
    # The bare id of the tenant whose service account it is; null for a person.
    service_of = models.UUIDField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects = UserQuerySetManager()

    class Meta:
        """A service account never operates the platform."""

        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(service_of=None) | models.Q(is_operator=False),
                name="service_account_is_no_operator",
            ),
        ]

    def __str__(self) -> str:
        """The e-mail address."""
        return self.email

    def clean(self) -> None:
        """Addresses are stored in lower case."""
        super().clean()
        self.email = normal_email(self.email)

    @property
    def is_staff(self) -> bool:
        """Whether the back-office lets them in: active operators alone."""
        return self.is_active and self.is_operator

    @property
    def is_superuser(self) -> bool:
        """Operators have every right in the back-office."""
        return self.is_staff

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Django's question for the back-office."""
        return self.is_staff

    def has_perms(self, perm_list: list[str], obj: object = None) -> bool:
        """Django's question for the back-office."""
        return self.is_staff

    def has_module_perms(self, app_label: str) -> bool:
        """Django's question for the back-office."""
        return self.is_staff

    def get_full_name(self) -> str:
        """The name, or the address where there is none."""
        return self.name or self.email

    def get_short_name(self) -> str:
        """The name, or the address where there is none."""
        return self.name or self.email


class Membership(TenantOwned):
    """A user in a tenant, with one role: `custom_role` where that is set (`role` is viewer then), else `role`. Disabled while `disabled_at` is set: sessions and keys of it are refused.

    A session is bound to one membership; `last_used_at` says which one a login takes.
    """

    user = models.ForeignKey("tenants.User", on_delete=models.CASCADE, related_name="+")
    user_id: uuid.UUID
    role = models.CharField(max_length=16, choices=_choices(Role), default=Role.MEMBER.value)
    custom_role = models.ForeignKey(
        "tenants.CustomRole", on_delete=models.RESTRICT, null=True, blank=True, related_name="+"
    )
    custom_role_id: uuid.UUID | None
    disabled_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        """One membership per user and tenant."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "user"], name="membership_once"),
        ]

    def __str__(self) -> str:
        """Role and row, without touching other tables."""
        return f"{self.role} {self.pk}"


class ApiKey(TenantOwned):
    """A key for programs. Only its HMAC with the server's pepper is kept. Valid until `expires_at` or `revoked_at`.

    A key bound to a user has at most that user's rights in the tenant and dies with the membership. A rotation makes a
    key that `replaces` another, which works on until its shortened end.
    """

    prefix = models.CharField(max_length=16, unique=True)
    fingerprint = models.CharField(max_length=64)
    pepper_version = models.PositiveIntegerField()
    name = models.CharField(max_length=NAME_LENGTH)
    role = models.CharField(max_length=16, choices=_choices(Role), default=Role.MEMBER.value)
    custom_role = models.ForeignKey(
        "tenants.CustomRole", on_delete=models.RESTRICT, null=True, blank=True, related_name="+"
    )
    custom_role_id: uuid.UUID | None
    priority_class = models.CharField(
        max_length=16, choices=_choices(PriorityClass), default=PriorityClass.CRITICAL.value
    )
    user = models.ForeignKey(
        "tenants.User", on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    user_id: uuid.UUID | None
    created_by = models.ForeignKey(
        "tenants.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_by_id: uuid.UUID | None
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    # The bare id: the pair is shown while both rows are there, and nothing hangs on it.
    replaces = models.UUIDField(null=True, blank=True)
    # When webhooks were told that it ends soon.
    end_told_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta(TenantOwned.Meta):
        """Listed by tenant, the newest first."""

        verbose_name = "API key"
        indexes: ClassVar = [
            models.Index(fields=["tenant", "created_at"], name="api_key_by_tenant"),
            # How many keys of a tenant are valid, and which end soon, is answered from the index alone.
            models.Index(
                fields=["tenant", "expires_at"], condition=models.Q(revoked_at=None), name="api_key_by_end"
            ),
            models.Index(
                fields=["replaces"], condition=models.Q(replaces__isnull=False), name="api_key_by_replaced"
            ),
        ]

    def __str__(self) -> str:
        """The prefix, which is no secret."""
        return f"atr_{self.prefix}"


class Invitation(TenantOwned):
    """An offer of membership to an e-mail address. open → accepted | withdrawn; open past `expires_at` is expired.

    Only the hash of its token is kept; sending it again makes a new token, and the old one is dead. `mailed` says
    whether the last sending went out by mail.
    """

    email = models.EmailField(max_length=EMAIL_LENGTH)
    role = models.CharField(max_length=16, choices=_choices(Role), default=Role.MEMBER.value)
    custom_role = models.ForeignKey(
        "tenants.CustomRole", on_delete=models.RESTRICT, null=True, blank=True, related_name="+"
    )
    custom_role_id: uuid.UUID | None
    message = models.CharField(max_length=MESSAGE_LENGTH, blank=True)
    token_hash = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(
        "tenants.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    invited_by_id: uuid.UUID | None
    mailed = models.BooleanField(default=False)
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        """One open invitation per tenant and address."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "email"],
                condition=models.Q(accepted_at=None, withdrawn_at=None),
                name="invitation_once",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "created_at"], name="invitation_by_tenant")]

    def __str__(self) -> str:
        """The row, without an address."""
        return f"invitation {self.pk}"


class UsageRecord(TenantOwned):
    """One finished model call: the ledger that bills and quotas are counted from. Written once, never changed.

    Users and keys are kept as bare ids: the ledger outlives them.
    """

    record_id = models.UUIDField(unique=True)
    request_id = models.CharField(max_length=128)
    user_id = models.UUIDField(null=True, blank=True)
    api_key_id = models.UUIDField(null=True, blank=True)
    model = models.CharField(max_length=255)
    pool = models.CharField(max_length=255, blank=True)
    replica = models.CharField(max_length=255, blank=True)
    origin = models.CharField(max_length=64, blank=True)
    assistant = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=16, choices=_choices(UsageState))
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    cost_nano = models.BigIntegerField()
    started_at = models.DateTimeField()
    queue_ms = models.BigIntegerField(default=0)
    first_token_ms = models.BigIntegerField(default=0)
    total_ms = models.BigIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    estimated = models.BooleanField(default=False)
    cached = models.BooleanField(default=False, db_default=False)

    class Meta(TenantOwned.Meta):
        """Read by time within a tenant; sums of longer ranges are in the rollups."""

        indexes: ClassVar = [
            models.Index(fields=["tenant", "started_at"], name="usage_by_day"),
            models.Index(fields=["request_id"], name="usage_by_request"),
            models.Index(fields=["started_at"], name="usage_given_again", condition=models.Q(cached=True)),
        ]

    def __str__(self) -> str:
        """Model and moment."""
        return f"{self.model} {self.started_at:%Y-%m-%d %H:%M:%S}"


class RequestTrace(TenantOwned):
    """The way of one slow, failed or refused request: times, places, counts, never content. Written once.

    Its id is the record id of the spool's entry. Users and keys are kept as bare ids: the trace outlives them.
    """

    request_id = models.CharField(max_length=128)
    trace_id = models.CharField(max_length=32, blank=True)
    user_id = models.UUIDField(null=True, blank=True)
    api_key_id = models.UUIDField(null=True, blank=True)
    door = models.CharField(max_length=16)
    route = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=16, choices=_choices(TraceState))
    status = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    model = models.CharField(max_length=255, blank=True)
    assistant = models.CharField(max_length=255, blank=True)
    pool = models.CharField(max_length=255, blank=True)
    replica = models.CharField(max_length=255, blank=True)
    cache = models.CharField(max_length=16, blank=True)
    stream = models.BooleanField(default=False)
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    cost_nano = models.BigIntegerField(default=0)
    queue_ms = models.BigIntegerField(default=0)
    first_byte_ms = models.BigIntegerField(default=0)
    total_ms = models.BigIntegerField(default=0)
    started_at = models.DateTimeField(db_index=True)
    hops = models.JSONField(default=list)

    class Meta(TenantOwned.Meta):
        """Listed by time within a tenant, looked up by request id, deleted by age."""

        indexes: ClassVar = [
            models.Index(fields=["tenant", "started_at"], name="trace_by_time"),
            models.Index(fields=["request_id"], name="trace_by_request"),
        ]

    def __str__(self) -> str:
        """State and request."""
        return f"{self.state} {self.request_id}"


class RetentionRule(TenantOwned):
    """How many days a tenant keeps what; at most one row a tenant. Unset keeps it for ever, or as long as the platform."""

    conversations_days = models.PositiveIntegerField(null=True, blank=True)
    files_days = models.PositiveIntegerField(null=True, blank=True)
    requests_days = models.PositiveIntegerField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        """One row per tenant."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant"], name="retention_rule_once")]

    def __str__(self) -> str:
        """The tenant's id."""
        return f"retention of {self.tenant_id}"
