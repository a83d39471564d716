"""Django's entry for knowledge."""

from django.apps import AppConfig


class KnowledgeConfig(AppConfig):
    """See the package's docstring for what this app is for."""

    name = "knowledge"
    default_auto_field = "django.db.models.BigAutoField"
