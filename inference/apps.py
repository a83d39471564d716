"""Django's entry for inference."""

from django.apps import AppConfig


class InferenceConfig(AppConfig):
    """See the package's docstring for what this app is for."""

    name = "inference"
    default_auto_field = "django.db.models.BigAutoField"
