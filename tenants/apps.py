"""Django's entry for tenants."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """See the package's docstring for what this app is for."""

    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell drf-spectacular about our authentication: importing registers it."""
        import tenants.openapi  # noqa: F401
