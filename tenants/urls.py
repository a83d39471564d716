"""REST addresses of tenants, below `/api/v1/`, with and without a trailing slash."""

from django.urls import URLPattern, path, re_path

from tenants.views.account_pages import (
    AddKeyView,
    SecondFactorsView,
    SignInView,
    TurnOnAppView,
    end_sessions,
    show_deletions,
    show_sessions,
    withdraw_deletion,
)
from tenants.views.break_glass import BreakGlassesView, OneBreakGlassView
from tenants.views.chargeback import ChargebackView
from tenants.views.groups import GroupMembersView, GroupMemberView, GroupsView, GroupView
from tenants.views.invitation_page import accept_invitation, open_invitation
from tenants.views.invitations import InvitationsView, InvitationView, ResendView
from tenants.views.keys import KeysView, KeyView, RotateView
from tenants.views.lifecycle import (
    DeletionsView,
    DeletionView,
    OwnArchiveView,
    OwnDeletionView,
    OwnExportsView,
    OwnExportView,
    OwnTenantView,
    TenantArchiveView,
    TenantDeletionView,
    TenantExportsView,
)
from tenants.views.me import MeView
from tenants.views.providers import (
    OneProviderView,
    ProviderDomainsView,
    ProvidersView,
    ProviderTestView,
)
from tenants.views.provisioning import (
    ProvisioningView,
    RotateScimTokenView,
    ScimTokensView,
    ScimTokenView,
)
from tenants.views.quotas import QuotaRuleView, QuotasView
from tenants.views.retention import RetentionPreviewView, RetentionRulesView
from tenants.views.roles import PermissionsView, RolesView, RoleView
from tenants.views.saml_pages import saml_answer, saml_finish, saml_metadata
from tenants.views.scim import (
    DescriptionView,
    ScimGroupsView,
    ScimGroupView,
    ScimUsersView,
    ScimUserView,
)
from tenants.views.service_accounts import ServiceAccountsView, ServiceAccountView
from tenants.views.sessions import MemberSessionsView, MemberSessionView, OwnSessionsView, OwnSessionView
from tenants.views.sharing import AccessView, ExplainView, SubjectsView
from tenants.views.sign_in import SignInRulesView
from tenants.views.sso_pages import come_back, find_provider, start
from tenants.views.tenants import TenantsView, TenantView
from tenants.views.usage import UsageView
from tenants.views.users import UsersView, UserView
from tenants.views.webhooks import (
    DeliveriesView,
    RotateWebhookView,
    WebhooksView,
    WebhookTestView,
    WebhookView,
)

urlpatterns: list[URLPattern] = [
    re_path(r"^me/?$", MeView.as_view()),
    re_path(r"^tenants/?$", TenantsView.as_view()),
    re_path(r"^tenants/(?P<tenant_id>[^/]+)/?$", TenantView.as_view()),
    re_path(r"^tenants/(?P<tenant_id>[^/]+)/exports/?$", TenantExportsView.as_view()),
    re_path(
        r"^tenants/(?P<tenant_id>[^/]+)/exports/(?P<export_id>[^/]+)/file/?$", TenantArchiveView.as_view()
    ),
    re_path(r"^tenants/(?P<tenant_id>[^/]+)/deletion/?$", TenantDeletionView.as_view()),
    re_path(r"^tenant-deletions/?$", DeletionsView.as_view()),
    re_path(r"^tenant-deletions/(?P<deletion_id>[^/]+)/?$", DeletionView.as_view()),
    re_path(r"^tenant/?$", OwnTenantView.as_view()),
    re_path(r"^tenant/exports/?$", OwnExportsView.as_view()),
    re_path(r"^tenant/exports/(?P<export_id>[^/]+)/?$", OwnExportView.as_view()),
    re_path(r"^tenant/exports/(?P<export_id>[^/]+)/file/?$", OwnArchiveView.as_view()),
    re_path(r"^tenant/deletion/?$", OwnDeletionView.as_view()),
    re_path(r"^users/?$", UsersView.as_view()),
    re_path(r"^users/(?P<user_id>[^/]+)/?$", UserView.as_view()),
    re_path(r"^users/(?P<user_id>[^/]+)/sessions/?$", MemberSessionsView.as_view()),
    re_path(r"^users/(?P<user_id>[^/]+)/sessions/(?P<session_id>[^/]+)/?$", MemberSessionView.as_view()),
    re_path(r"^identity-providers/?$", ProvidersView.as_view()),
    re_path(r"^identity-providers/(?P<provider_id>[^/]+)/?$", OneProviderView.as_view()),
    re_path(r"^identity-providers/(?P<provider_id>[^/]+)/test/?$", ProviderTestView.as_view()),
    re_path(r"^identity-providers/(?P<provider_id>[^/]+)/domains/?$", ProviderDomainsView.as_view()),
    re_path(r"^break-glass/?$", BreakGlassesView.as_view()),
    re_path(r"^break-glass/(?P<grant_id>[^/]+)/?$", OneBreakGlassView.as_view()),
    re_path(r"^provisioning/?$", ProvisioningView.as_view()),
    re_path(r"^provisioning/tokens/?$", ScimTokensView.as_view()),
    re_path(r"^provisioning/tokens/(?P<token_id>[^/]+)/?$", ScimTokenView.as_view()),
    re_path(r"^provisioning/tokens/(?P<token_id>[^/]+)/rotate/?$", RotateScimTokenView.as_view()),
    re_path(r"^sign-in/?$", SignInRulesView.as_view()),
    re_path(r"^sessions/?$", OwnSessionsView.as_view()),
    re_path(r"^sessions/(?P<session_id>[^/]+)/?$", OwnSessionView.as_view()),
    re_path(r"^groups/?$", GroupsView.as_view()),
    re_path(r"^groups/(?P<group_id>[^/]+)/?$", GroupView.as_view()),
    re_path(r"^groups/(?P<group_id>[^/]+)/members/?$", GroupMembersView.as_view()),
    re_path(r"^groups/(?P<group_id>[^/]+)/members/(?P<user_id>[^/]+)/?$", GroupMemberView.as_view()),
    re_path(r"^service-accounts/?$", ServiceAccountsView.as_view()),
    re_path(r"^service-accounts/(?P<account_id>[^/]+)/?$", ServiceAccountView.as_view()),
    re_path(r"^invitations/?$", InvitationsView.as_view()),
    re_path(r"^invitations/(?P<invitation_id>[^/]+)/?$", InvitationView.as_view()),
    re_path(r"^invitations/(?P<invitation_id>[^/]+)/resend/?$", ResendView.as_view()),
    re_path(r"^access/?$", AccessView.as_view()),
    re_path(r"^access/subjects/?$", SubjectsView.as_view()),
    re_path(r"^access/explain/?$", ExplainView.as_view()),
    re_path(r"^permissions/?$", PermissionsView.as_view()),
    re_path(r"^roles/?$", RolesView.as_view()),
    re_path(r"^roles/(?P<role_id>[^/]+)/?$", RoleView.as_view()),
    re_path(r"^api-keys/?$", KeysView.as_view()),
    re_path(r"^api-keys/(?P<key_id>[^/]+)/?$", KeyView.as_view()),
    re_path(r"^api-keys/(?P<key_id>[^/]+)/rotate/?$", RotateView.as_view()),
    re_path(r"^chargeback/?$", ChargebackView.as_view()),
    re_path(r"^usage/?$", UsageView.as_view()),
    re_path(r"^quotas/?$", QuotasView.as_view()),
    re_path(r"^quotas/(?P<quota_id>[^/]+)/?$", QuotaRuleView.as_view()),
    re_path(r"^webhooks/?$", WebhooksView.as_view()),
    re_path(r"^webhooks/(?P<webhook_id>[^/]+)/?$", WebhookView.as_view()),
    re_path(r"^webhooks/(?P<webhook_id>[^/]+)/rotate/?$", RotateWebhookView.as_view()),
    re_path(r"^webhooks/(?P<webhook_id>[^/]+)/test/?$", WebhookTestView.as_view()),
    re_path(r"^webhooks/(?P<webhook_id>[^/]+)/deliveries/?$", DeliveriesView.as_view()),
    re_path(r"^retention/?$", RetentionRulesView.as_view()),
    re_path(r"^retention/preview/?$", RetentionPreviewView.as_view()),
]

# SCIM, below `/scim/v2/<tenant>/`.
scim_urlpatterns: list[URLPattern] = [
    re_path(
        r"^(?P<about>ServiceProviderConfig|ResourceTypes|Schemas)(?:/(?P<name>[^/]+))?/?$",
        DescriptionView.as_view(),
    ),
    re_path(r"^Users/?$", ScimUsersView.as_view()),
    re_path(r"^Users/(?P<resource_id>[^/]+)/?$", ScimUserView.as_view()),
    re_path(r"^Groups/?$", ScimGroupsView.as_view()),
    re_path(r"^Groups/(?P<resource_id>[^/]+)/?$", ScimGroupView.as_view()),
]

# Pages for people, below `/accounts/`.
page_urlpatterns: list[URLPattern] = [
    path("login/", SignInView.as_view(), name="account_login"),
    path("2fa/", SecondFactorsView.as_view(), name="mfa_index"),
    path("2fa/totp/activate/", TurnOnAppView.as_view(), name="mfa_activate_totp"),
    path("2fa/webauthn/add/", AddKeyView.as_view(), name="mfa_add_webauthn"),
    path("sso/", find_provider, name="sso"),
    path("sso/callback/", come_back, name="sso_callback"),
    path("sso/<str:tenant_id>/<str:provider_id>/", start, name="sso_start"),
    path("saml/finish/", saml_finish, name="saml_finish"),
    path("saml/<str:tenant_id>/<str:provider_id>/metadata/", saml_metadata, name="saml_metadata"),
    path("saml/<str:tenant_id>/<str:provider_id>/acs/", saml_answer, name="saml_answer"),
    path("sessions/", show_sessions, name="account_sessions"),
    path("sessions/end/", end_sessions, name="account_sessions_end"),
    path("deletions/", show_deletions, name="account_deletions"),
    path("deletions/withdraw/", withdraw_deletion, name="account_deletions_withdraw"),
    path("invitation/", open_invitation, name="invitation"),
    path("invitation/accept/", accept_invitation, name="invitation_accept"),
]
