"""The door of tenants: who asks, what they may, what they used."""

from tenants.permissions import require
from tenants.services.keys import (
    create_key,
    get_key,
    issue_api_key,
    revoke_api_key,
    revoke_key,
)
from tenants.services.sign_in import (
    authenticate_key,
    authenticate_key_now,
    authenticate_session,
    bind_session,
    choose_membership,
    operator_principal,
    principal_for_jobs,
    switched_session,
    user_of_session,
)
from tenants.services.tenants import change_tenant, create_tenant, find_tenant, get_tenant
from tenants.services.usage import (
    drain_usage_forever,
    drain_usage_once,
    record_usage,
    store_usage,
    sum_usage,
    summarise_platform,
)
from tenants.services.users import (
    add_member,
    change_member,
    change_user,
    create_user,
    describe_principal,
    get_member,
    remove_member,
    set_password,
)

__all__ = [
    "add_member",
    "authenticate_key",
    "authenticate_key_now",
    "authenticate_session",
    "bind_session",
    "change_member",
    "change_tenant",
    "change_user",
    "choose_membership",
    "create_key",
    "create_tenant",
    "create_user",
    "describe_principal",
    "drain_usage_forever",
    "drain_usage_once",
    "find_tenant",
    "get_key",
    "get_member",
    "get_tenant",
    "issue_api_key",
    "operator_principal",
    "principal_for_jobs",
    "record_usage",
    "remove_member",
    "require",
    "revoke_api_key",
    "revoke_key",
    "set_password",
    "store_usage",
    "sum_usage",
    "summarise_platform",
    "switched_session",
    "user_of_session",
]
