"""Django's entry for tenants."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """See the package's docstring for what this app is for."""

    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"
