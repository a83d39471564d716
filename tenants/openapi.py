"""How the OpenAPI description names the two ways to sign in."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class SessionOrKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """A Bearer key, or the session's cookie."""

    target_class = "tenants.authentication.SessionOrKeyAuthentication"
    name = ["key", "session"]  # noqa: RUF012 - the library's own interface

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        """The two schemes."""
        return [
            {"type": "http", "scheme": "bearer"},
            {"type": "apiKey", "in": "cookie", "name": "atrium_session"},
        ]
