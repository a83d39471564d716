"""Tenants, users, memberships and keys for tests. Each takes what matters and makes up the rest."""

from itertools import count

from django.test import Client

from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.models import Membership, Tenant, User
from tenants.selectors import principal_of_membership
from tenants.services import issue_api_key
from tenants.services.sign_in import SESSION_MEMBERSHIP
from tenants.types import IssuedKey, Principal, PriorityClass, Role, TenantState

PASSWORD = "correct horse battery staple"
# Argon2 takes its time on purpose; tests that sign in by password use `make_user(password=PASSWORD)`.
_numbers = count(1)


def make_tenant(
    slug: str | None = None,
    *,
    name: str | None = None,
    state: TenantState = TenantState.ACTIVE,
    priority_class: PriorityClass = PriorityClass.CRITICAL,
    weight: int = 1,
) -> Tenant:
    """A tenant."""
    slug = slug or f"tenant-{next(_numbers)}"
    return Tenant.objects.create(
        slug=slug, name=name or slug.title(), state=state, priority_class=priority_class, weight=weight
    )


def make_user(
    email: str | None = None,
    *,
    password: str | None = None,
    is_operator: bool = False,
    is_active: bool = True,
) -> User:
    """A user; without `password` nobody can sign in as them by password."""
    user = User(
        email=email or f"user-{next(_numbers)}@example.com", is_operator=is_operator, is_active=is_active
    )
    user.set_password(password)
    user.save()
    return user


def make_membership(
    tenant: Tenant, user: User | None = None, *, role: Role = Role.MEMBER, password: str | None = None
) -> Membership:
    """A membership, of a new user when none is given."""
    user = user or make_user(password=password)
    with tenant_scope(tenant.id):
        return Membership.objects.create(tenant=tenant, user=user, role=role)


def make_key(
    tenant: Tenant, *, role: Role = Role.MEMBER, user: User | None = None, name: str = "test"
) -> IssuedKey:
    """An API key; its text is in `.key`."""
    return issue_api_key(tenant_id=tenant.id, name=name, role=role, user_id=user.id if user else None)


def make_principal(
    tenant: Tenant | None = None, *, role: Role = Role.MEMBER, is_operator: bool = False
) -> Principal:
    """The principal of a new user's session in `tenant`."""
    membership = make_membership(tenant or make_tenant(), make_user(is_operator=is_operator), role=role)
    with system_scope("tests", read_only=True):
        return principal_of_membership(
            Membership.objects.select_related("tenant", "user").get(id=membership.id)
        )


def key_client(tenant: Tenant, *, role: Role = Role.MEMBER, user: User | None = None) -> Client:
    """A Django test client that sends a new key of `tenant`; CSRF is enforced."""
    key = make_key(tenant, role=role, user=user)
    return Client(headers={"authorization": f"Bearer {key.key}"}, enforce_csrf_checks=True)


def session_client(membership: Membership, *, enforce_csrf_checks: bool = False) -> Client:
    """A Django test client whose session is bound to `membership`."""
    client = Client(enforce_csrf_checks=enforce_csrf_checks)
    client.force_login(membership.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session[SESSION_MEMBERSHIP] = str(membership.id)
    session.save()
    return client
