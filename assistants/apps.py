"""Django's entry for assistants."""

from django.apps import AppConfig


class AssistantsConfig(AppConfig):
    """See the package's docstring for what this app is for."""

    name = "assistants"
    default_auto_field = "django.db.models.BigAutoField"
