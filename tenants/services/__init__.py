"""The door of tenants: who asks, what they may, what they used."""

from tenants.access_types import RESOURCE_KINDS
from tenants.permissions import closed_ids, may_use, require
from tenants.planning import Plan
from tenants.services.access import renew_principal, until_refused
from tenants.services.break_glass import record_look, standing_grants
from tenants.services.deleting import keep_deletions_forever
from tenants.services.drift import compare_counters_forever, drifted_lines
from tenants.services.explaining import explain_access
from tenants.services.figures import RANGES, range_bounds, usage_figures
from tenants.services.finding import find_tenants
from tenants.services.grants import (
    find_subjects,
    get_sharing,
    set_sharing,
)
from tenants.services.groups import (
    add_group_members,
    change_group,
    create_group,
    delete_group,
    get_group,
    remove_group_member,
)
from tenants.services.invitations import (
    forget_old_invitations,
    get_invitation,
    invite,
    resend_invitation,
    withdraw_invitation,
)
from tenants.services.joining import find_offer, join_as_known_person, join_as_new_person
from tenants.services.keys import (
    create_key,
    get_key,
    issue_api_key,
    revoke_api_key,
    revoke_key,
    rotate_key,
)
from tenants.services.limit_watching import tell_sightings, tell_sightings_forever, watch_limits_forever
from tenants.services.limits import Plans, limited_tenants, seed_counters
from tenants.services.needs import (
    ending_keys,
    has_other_tenants,
    name_tenants,
    suspended_tenants,
    waiting_domains,
)
from tenants.services.opening import open_tenant
from tenants.services.quotas import names_of, order_recount, set_tenant_limits
from tenants.services.rebuilding import check_rollups, rebuild_rollups
from tenants.services.reports import GROUPS, MOST_EXPORTED, PLATFORM_GROUPS, UsageAsked, report_usage
from tenants.services.retention import (
    get_retention,
    keep_retention_forever,
    keep_retention_once,
    preview_retention,
    set_retention,
)
from tenants.services.roles import change_role, create_role, delete_role, get_role
from tenants.services.savings import CachedSums, summarise_cached
from tenants.services.seeding import seed_tenants, seed_usage
from tenants.services.sessions import end_every_session, forget_old_sessions
from tenants.services.shadow_pairs import forget_old_pairs, list_pairs, record_pair
from tenants.services.sign_in import (
    authenticate_key,
    authenticate_key_now,
    authenticate_session,
    bind_session,
    choose_membership,
    only_tenant,
    operator_principal,
    principal_for_jobs,
    refuse_key_in_address,
    switched_session,
    user_of_session,
    visit_tenant,
)
from tenants.services.sign_in_rules import (
    is_reauthenticated,
    require_reauthentication,
    reset_second_factors,
)
from tenants.services.stocks import require_room, within_limits
from tenants.services.tenants import (
    change_tenant,
    create_tenant,
    find_tenant,
    get_tenant,
    timezone_of,
    timezones_of,
)
from tenants.services.traces import (
    count_traces,
    delete_traces,
    find_request,
    forget_old_traces,
    kept_decisions,
    kept_requests,
    record_trace,
    show_decisions,
    show_requests,
    spool_backlog,
)
from tenants.services.usage import (
    drain_usage_forever,
    drain_usage_once,
    record_usage,
    store_usage,
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
from tenants.services.webhook_keys import watch_webhooks_forever
from tenants.services.webhook_sending import emit_event

__all__ = [
    "GROUPS",
    "MOST_EXPORTED",
    "PLATFORM_GROUPS",
    "RANGES",
    "RESOURCE_KINDS",
    "CachedSums",
    "Plan",
    "Plans",
    "UsageAsked",
    "add_group_members",
    "add_member",
    "authenticate_key",
    "authenticate_key_now",
    "authenticate_session",
    "bind_session",
    "change_group",
    "change_member",
    "change_role",
    "change_tenant",
    "change_user",
    "check_rollups",
    "choose_membership",
    "closed_ids",
    "compare_counters_forever",
    "count_traces",
    "create_group",
    "create_key",
    "create_role",
    "create_tenant",
    "create_user",
    "delete_group",
    "delete_role",
    "delete_traces",
    "describe_principal",
    "drain_usage_forever",
    "drain_usage_once",
    "drifted_lines",
    "emit_event",
    "end_every_session",
    "ending_keys",
    "explain_access",
    "find_offer",
    "find_request",
    "find_subjects",
    "find_tenant",
    "find_tenants",
    "forget_old_invitations",
    "forget_old_pairs",
    "forget_old_sessions",
    "forget_old_traces",
    "get_group",
    "get_invitation",
    "get_key",
    "get_member",
    "get_retention",
    "get_role",
    "get_sharing",
    "get_tenant",
    "has_other_tenants",
    "invite",
    "is_reauthenticated",
    "issue_api_key",
    "join_as_known_person",
    "join_as_new_person",
    "keep_deletions_forever",
    "keep_retention_forever",
    "keep_retention_once",
    "kept_decisions",
    "kept_requests",
    "limited_tenants",
    "list_pairs",
    "may_use",
    "name_tenants",
    "names_of",
    "only_tenant",
    "open_tenant",
    "operator_principal",
    "order_recount",
    "preview_retention",
    "principal_for_jobs",
    "range_bounds",
    "rebuild_rollups",
    "record_look",
    "record_pair",
    "record_trace",
    "record_usage",
    "refuse_key_in_address",
    "remove_group_member",
    "remove_member",
    "renew_principal",
    "report_usage",
    "require",
    "require_reauthentication",
    "require_room",
    "resend_invitation",
    "reset_second_factors",
    "revoke_api_key",
    "revoke_key",
    "rotate_key",
    "seed_counters",
    "seed_tenants",
    "seed_usage",
    "set_password",
    "set_retention",
    "set_sharing",
    "set_tenant_limits",
    "show_decisions",
    "show_requests",
    "spool_backlog",
    "standing_grants",
    "store_usage",
    "summarise_cached",
    "summarise_platform",
    "suspended_tenants",
    "switched_session",
    "tell_sightings",
    "tell_sightings_forever",
    "timezone_of",
    "timezones_of",
    "until_refused",
    "usage_figures",
    "user_of_session",
    "visit_tenant",
    "waiting_domains",
    "watch_limits_forever",
    "watch_webhooks_forever",
    "withdraw_invitation",
    "within_limits",
]
