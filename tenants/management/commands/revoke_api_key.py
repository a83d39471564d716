"""`revoke_api_key PREFIX`."""

from typing import Any

from django.core.management.base import CommandParser

from substrate.commands import AtriumCommand
from tenants.services import revoke_api_key


class Command(AtriumCommand):
    """Revoke an API key."""

    help = "Revoke an API key by its prefix; running servers refuse it within two seconds."

    def add_own_arguments(self, parser: CommandParser) -> None:
        """The prefix."""
        parser.add_argument("prefix", help="the part between atr_ and the next underscore")

    def act(self, **options: Any) -> dict[str, Any]:
        """Revoke it."""
        key = revoke_api_key(prefix=options["prefix"])
        revoked_at = key.revoked_at.isoformat() if key.revoked_at else None
        return {"prefix": key.prefix, "name": key.name, "revoked_at": revoked_at}

    def say(self, outcome: dict[str, Any]) -> str:
        """One line."""
        return f"The key {outcome['prefix']} ({outcome['name']}) is revoked."
