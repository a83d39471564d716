"""Django's entry for routing."""

from django.apps import AppConfig


class RoutingConfig(AppConfig):
    """See the package's docstring for what this app is for."""

    name = "routing"
    default_auto_field = "django.db.models.BigAutoField"
