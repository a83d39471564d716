"""Django's entries for the console and for the admin site it brings."""

from django.apps import AppConfig, apps
from django.contrib import admin
from django.contrib.admin.apps import AdminConfig

# Pages that other packages register and that mean nothing here: rights come from memberships, not groups, and
# addresses and second factors are the users' own.
FOREIGN_PAGES = ("auth.Group", "account.EmailAddress", "mfa.Authenticator")


class ConsoleConfig(AppConfig):
    """Admin site and back-office pages."""

    name = "console"
    default_auto_field = "django.db.models.BigAutoField"


class AtriumAdminConfig(AdminConfig):
    """Django's admin with our site."""

    default_site = "console.site.AtriumAdminSite"

    def ready(self) -> None:
        """Collect the apps' pages, leave out the foreign ones."""
        super().ready()
        for label in FOREIGN_PAGES:
            model = apps.get_model(label)
            if admin.site.is_registered(model):
                admin.site.unregister(model)
