"""What the service says of itself (RFC 7643 §5–7): its abilities, its kinds of resource, their attributes."""

from typing import Any

USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
LIST_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:Error"
_CONFIG = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
_TYPE = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Schema"
MOST_RESULTS = 200


def service_provider_config(base: str) -> dict[str, Any]:
    """What this service can do."""
    no = {"supported": False}
    return {
        "schemas": [_CONFIG],
        "documentationUri": "https://datatracker.ietf.org/doc/html/rfc7644",
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MOST_RESULTS},
        "changePassword": no,
        "sort": no,
        "etag": {"supported": True},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Token of the tenant",
                "description": "Made in the console under Provisioning, sent as `Authorization: Bearer …`.",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}/ServiceProviderConfig"},
    }


def resource_types(base: str) -> list[dict[str, Any]]:
    """Users and groups."""
    return [
        {
            "schemas": [_TYPE],
            "id": name,
            "name": name,
            "endpoint": f"/{name}s",
            "schema": schema,
            "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{name}"},
        }
        for name, schema in (("User", USER_SCHEMA), ("Group", GROUP_SCHEMA))
    ]


def schemas(base: str) -> list[dict[str, Any]]:
    """The attributes of users and groups."""
    found = []
    for schema, name, attributes in (
        (USER_SCHEMA, "User", _user_attributes()),
        (GROUP_SCHEMA, "Group", _group_attributes()),
    ):
        found.append(
            {
                "schemas": [_SCHEMA],
                "id": schema,
                "name": name,
                "description": f"{name} of the tenant",
                "attributes": attributes,
                "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{schema}"},
            }
        )
    return found


def list_response(resources: list[dict[str, Any]], *, total: int, start: int) -> dict[str, Any]:
    """A page of resources."""
    return {
        "schemas": [LIST_SCHEMA],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": len(resources),
        "Resources": resources,
    }


def _attribute(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "multiValued": False,
        "required": False,
        "caseExact": False,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": "none",
        **more,
    }


def _user_attributes() -> list[dict[str, Any]]:
    names = [_attribute(each) for each in ("formatted", "givenName", "familyName")]
    address = [_attribute("value"), _attribute("type"), _attribute("primary", "boolean")]
    inside = [_attribute("value", mutability="readOnly"), _attribute("display", mutability="readOnly")]
    return [
        _attribute("userName", required=True, uniqueness="server"),
        _attribute("externalId", caseExact=True),
        _attribute("displayName"),
        _attribute("name", "complex", subAttributes=names),
        _attribute("emails", "complex", multiValued=True, subAttributes=address),
        _attribute("active", "boolean"),
        _attribute("groups", "complex", multiValued=True, mutability="readOnly", subAttributes=inside),
        _attribute("roles", "complex", multiValued=True, mutability="readOnly", subAttributes=inside),
    ]


def _group_attributes() -> list[dict[str, Any]]:
    member = [
        _attribute("value", mutability="immutable"),
        _attribute("display", mutability="readOnly"),
    ]
    return [
        _attribute("displayName", required=True, uniqueness="server"),
        _attribute("externalId", caseExact=True),
        _attribute("members", "complex", multiValued=True, subAttributes=member),
    ]
