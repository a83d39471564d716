"""Django's entries for the console: the app itself, and the admin with our site in place of the stock one."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AppConfig):
    """The back-office."""

    name = "console"


class AtriumAdminConfig(AdminConfig):
    """Django's admin with Atrium's site."""

    default_site = "console.sites.AtriumAdminSite"
