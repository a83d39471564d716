"""The REST API and its documentation."""

from typing import Any

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tenants.authentication.SessionOrKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["tenants.rest.HasRequiredPermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "substrate.rest.CursorPages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "substrate.rest.answer_exception",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Atrium",
    "DESCRIPTION": "Tenants, knowledge, assistants, models. The OpenAI-compatible API lives at /v1.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    # Fields of the same name with different choices: without a name their components would be called by a hash.
    "ENUM_NAME_OVERRIDES": {
        "MemberRole": "tenants.serializers.ROLES",
        "TenantState": "tenants.serializers.TENANT_STATES",
        "TenantSwitch": "tenants.serializers.TENANT_SWITCHES",
        "DeletionState": "tenants.lifecycle_serializers.DELETION_STATES",
        "ExportState": "tenants.lifecycle_serializers.EXPORT_STATES",
        "BreakGlassState": "tenants.views.break_glass.BREAK_GLASS_STATES",
        "KeyState": "tenants.serializers.KEY_STATES",
        "InvitationState": "tenants.serializers.INVITATION_STATES",
        "QuotaState": "tenants.services.standings.STATES",
        "SubjectKind": "tenants.access_serializers.SUBJECT_KINDS",
        "ResourceKind": "tenants.access_serializers.RESOURCE_KIND_NAMES",
        "PriorityClass": "tenants.serializers.PRIORITIES",
        "CacheUse": "routing.serializers.CACHE_USES",
        "ModelKind": "inference.serializers.KINDS",
        "PoolState": "inference.serializers.POOL_STATES",
        "SourceKind": "inference.source_serializers.SOURCE_KINDS",
        "SourceState": "inference.source_serializers.SOURCE_STATES",
        "DnsRecord": "inference.source_serializers.DNS_RECORDS",
        "Scheme": "inference.source_serializers.SCHEMES",
        "ScalingMode": "routing.scaling_serializers.MODES",
        "PartState": "console.home.health.STATES",
        "WorkKind": "routing.serializers.TASKS",
        "WebhookEvent": "tenants.webhook_types.EVENT_NAMES",
        "DeliveryState": "tenants.webhook_serializers.DELIVERY_STATES",
    },
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer"},
            "session": {"type": "apiKey", "in": "cookie", "name": "atrium_session"},
        }
    },
    "SECURITY": [{"key": []}, {"session": []}],
}
