"""Django's entries for the console and for the admin site it brings."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AppConfig):
    """Admin site and back-office pages."""

    name = "console"
    default_auto_field = "django.db.models.BigAutoField"


class AtriumAdminConfig(AdminConfig):
    """Django's admin with our site."""

    default_site = "console.site.AtriumAdminSite"
