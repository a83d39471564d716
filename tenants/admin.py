"""Back-office pages of tenants, users, keys and usage."""

import uuid
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget, UnfoldBooleanSwitchWidget

from kernel.errors import BadInput
from substrate.back_office import ReadOnlyAdmin, ServiceAdmin
from tenants.models import ApiKey, Membership, Tenant, UsageRecord, User
from tenants.services import (
    change_member,
    change_tenant,
    change_user,
    create_tenant,
    create_user,
    issue_api_key,
    operator_principal,
    remove_member,
    reset_second_factors,
    revoke_api_key,
    set_password,
)
from tenants.types import PriorityClass, Role, TenantState


def _operator(request: HttpRequest, tenant_id: uuid.UUID) -> Any:
    return operator_principal(user_id=cast(User, request.user).id, tenant_id=tenant_id)


@admin.register(Tenant)
class TenantAdmin(ServiceAdmin):
    """Tenants: made, changed, suspended."""

    list_display = ("slug", "name", "shown_state", "priority_class", "weight", "created_at")
    list_filter = ("state", "priority_class", "is_demo")
    search_fields = ("slug", "name")
    ordering = ("slug",)
    fields: ClassVar[tuple[str, ...]] = ("slug", "name", "state", "priority_class", "weight")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A slug is for ever."""
        return ("slug", "created_at") if obj else ("state",)

    def formfield_for_choice_field(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """A tenant's deletion is asked for in the console, with its time of grace: no choice here leads to it."""
        if db_field.name == "state":
            kwargs["choices"] = [
                (each.value, each.value) for each in (TenantState.ACTIVE, TenantState.SUSPENDED)
            ]
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    @display(description="State", label={"active": "success", "suspended": "danger"})
    def shown_state(self, row: Tenant) -> str:
        """The state as a badge."""
        return row.state

    def save_by_service(self, request: HttpRequest, row: Any, form: Any, *, change: bool) -> None:
        """Create or change."""
        if change:
            change_tenant(
                tenant_id=row.id,
                name=row.name,
                state=TenantState(row.state),
                weight=row.weight,
                priority_class=PriorityClass(row.priority_class),
            )
            return
        made = create_tenant(
            slug=row.slug, name=row.name, priority_class=PriorityClass(row.priority_class), weight=row.weight
        )
        row.id = made.id


class NewUserForm(forms.ModelForm[User]):
    """A new user needs a tenant to belong to."""

    tenant = forms.ModelChoiceField(Tenant.objects.order_by("slug"), widget=UnfoldAdminSelectWidget)
    role = forms.ChoiceField(
        choices=[(each.value, each.value) for each in Role],
        initial=Role.MEMBER.value,
        widget=UnfoldAdminSelectWidget,
    )
    password = forms.CharField(
        required=False,
        widget=UnfoldAdminPasswordWidget,
        help_text="Without one nobody can sign in by password.",
    )

    class Meta:
        """Of the user."""

        model = User
        fields = ("email", "name", "is_operator")


class UserForm(forms.ModelForm[User]):
    """A user, with a place for a new password."""

    new_password = forms.CharField(
        required=False,
        widget=UnfoldAdminPasswordWidget,
        help_text="Empty: unchanged. A new one ends all sessions.",
    )
    reset_second_factors = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="For somebody who lost them: takes all second factors away and ends all sessions.",
    )

    class Meta:
        """Of the user."""

        model = User
        fields = ("name", "is_operator", "is_active")


@admin.register(User)
class UserAdmin(ServiceAdmin):
    """People, over all tenants."""

    form = UserForm
    add_form = NewUserForm
    list_display = ("email", "name", "is_operator", "is_active", "last_login", "created_at")
    list_filter = ("is_operator", "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Service accounts are their tenants' to manage."""
        return super().get_queryset(request).filter(service_of=None)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """New users have a form of their own."""
        if obj is None:
            kwargs["form"] = self.add_form
        return super().get_form(request, obj, change, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """An address is for ever."""
        return ("email", "last_login", "created_at") if obj else ()

    def save_by_service(self, request: HttpRequest, row: Any, form: Any, *, change: bool) -> None:
        """Create or change."""
        given = form.cleaned_data
        if not change:
            made = create_user(
                email=given["email"],
                tenant_slug=given["tenant"].slug,
                role=given["role"],
                password=given["password"] or None,
                name=given["name"],
                is_operator=given["is_operator"],
            )
            row.id = made.member.user_id
            return
        if row.id == cast(User, request.user).id and not (row.is_operator and row.is_active):
            raise BadInput("You cannot take the back-office away from yourself.")
        change_user(user_id=row.id, name=row.name, is_operator=row.is_operator, is_active=row.is_active)
        if given["new_password"]:
            set_password(user_id=row.id, password=given["new_password"])
        if given["reset_second_factors"]:
            reset_second_factors(user_id=row.id)


@admin.register(Membership)
class MembershipAdmin(ServiceAdmin):
    """Who belongs to which tenant."""

    deletable = True
    list_display = ("user", "tenant", "role", "shown_state", "last_used_at", "created_at")
    list_filter = ("role", ("disabled_at", admin.EmptyFieldListFilter))
    search_fields = ("user__email", "tenant__slug")
    list_select_related = ("user", "tenant")
    autocomplete_fields = ("user", "tenant")
    fields: ClassVar[tuple[str, ...]] = ("user", "tenant", "role")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        """Service accounts are their tenants' to manage."""
        return super().get_queryset(request).filter(user__service_of=None)

    @display(description="State", label={"open": "success", "disabled": "danger"})
    def shown_state(self, row: Membership) -> str:
        """Open or disabled."""
        return "disabled" if row.disabled_at else "open"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Who and where are for ever."""
        return ("user", "tenant", "disabled_at", "last_used_at") if obj else ()

    def save_by_service(self, request: HttpRequest, row: Any, form: Any, *, change: bool) -> None:
        """Make a known user a member, or change the role."""
        if change:
            change_member(
                principal=_operator(request, row.tenant_id), user_id=row.user_id, role=Role(row.role)
            )
            return
        made = create_user(email=row.user.email, tenant_slug=row.tenant.slug, role=row.role)
        row.id = made.member.membership_id

    def delete_by_service(self, request: HttpRequest, row: Any) -> None:
        """Take the user out of the tenant."""
        remove_member(principal=_operator(request, row.tenant_id), user_id=row.user_id)

    @admin.action(description="Disable")
    def disable(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        """Disable the chosen memberships."""
        for row in queryset:
            change_member(principal=_operator(request, row.tenant_id), user_id=row.user_id, disabled=True)

    @admin.action(description="Enable")
    def enable(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        """Enable the chosen memberships."""
        for row in queryset:
            change_member(principal=_operator(request, row.tenant_id), user_id=row.user_id, disabled=False)

    actions = ("disable", "enable")


@admin.register(ApiKey)
class ApiKeyAdmin(ServiceAdmin):
    """Keys: issued and revoked; their text is shown once, in a message."""

    list_display = ("prefix", "name", "tenant", "role", "user", "shown_state", "last_used_at", "created_at")
    list_filter = ("role", ("revoked_at", admin.EmptyFieldListFilter))
    search_fields = ("prefix", "name", "tenant__slug", "user__email")
    list_select_related = ("tenant", "user")
    autocomplete_fields = ("tenant",)
    fields: ClassVar[tuple[str, ...]] = ("tenant", "name", "role", "priority_class", "expires_at")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A key is not changed; the list's actions need this right all the same."""
        return obj is None

    @display(description="State", label={"valid": "success", "revoked": "danger"})
    def shown_state(self, row: ApiKey) -> str:
        """Valid or revoked."""
        return "revoked" if row.revoked_at else "valid"

    def save_by_service(self, request: HttpRequest, row: Any, form: Any, *, change: bool) -> None:
        """Issue the key, and show it."""
        issued = issue_api_key(
            tenant_id=row.tenant_id,
            name=row.name,
            role=row.role,
            priority_class=PriorityClass(row.priority_class),
            expires_at=row.expires_at,
            created_by_id=cast(User, request.user).id,
        )
        row.id = issued.id
        self.message_user(request, f"The key, shown only now: {issued.key}", messages.WARNING)

    @admin.action(description="Revoke")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke the chosen keys."""
        for row in queryset:
            revoke_api_key(prefix=row.prefix)
        self.message_user(request, "Revoked; running servers refuse them within two seconds.")

    actions = ("revoke",)


@admin.register(UsageRecord)
class UsageRecordAdmin(ReadOnlyAdmin):
    """The ledger, read only."""

    list_display = (
        "started_at",
        "tenant",
        "model",
        "shown_state",
        "prompt_tokens",
        "completion_tokens",
        "cost",
        "total_ms",
        "origin",
    )
    list_filter = ("state", "origin", "estimated", "cached")
    search_fields = ("request_id", "model", "tenant__slug")
    list_select_related = ("tenant",)
    ordering = ("-started_at",)

    @display(description="State", label={"completed": "success", "cancelled": "warning", "failed": "danger"})
    def shown_state(self, row: UsageRecord) -> str:
        """The state as a badge."""
        return row.state

    @display(description="Cost", ordering="cost_nano")
    def cost(self, row: UsageRecord) -> str:
        """Money, six places."""
        return f"{row.cost_nano / 1_000_000_000:.6f}"
