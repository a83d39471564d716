"""Django's entry for the substrate."""

from django.apps import AppConfig


class SubstrateConfig(AppConfig):
    """Rows that belong to tenants, jobs, changes, idempotency records."""

    name = "substrate"
    verbose_name = "System"
    default_auto_field = "django.db.models.BigAutoField"
