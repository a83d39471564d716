"""`create_user EMAIL --tenant SLUG --role owner|admin|member|viewer [--password P]`."""

import secrets
from typing import Any

from django.core.management.base import CommandParser

from substrate.commands import AtriumCommand
from tenants.services import create_user
from tenants.types import Role


class Command(AtriumCommand):
    """Make a user a member of a tenant."""

    help = "Create a user (or take the one of this address) and make them a member of a tenant."

    def add_own_arguments(self, parser: CommandParser) -> None:
        """Address, tenant, role, password."""
        parser.add_argument("email")
        parser.add_argument("--tenant", required=True, help="the tenant's slug")
        parser.add_argument("--role", required=True, choices=[each.value for each in Role])
        parser.add_argument(
            "--password", help="default: one is made up and printed; a known user keeps theirs"
        )
        parser.add_argument("--name", default="")
        parser.add_argument("--operator", action="store_true", help="make the user a platform operator")

    def act(self, **options: Any) -> dict[str, Any]:
        """Create user and membership."""
        password = options["password"] or secrets.token_urlsafe(18)
        created = create_user(
            email=options["email"],
            tenant_slug=options["tenant"],
            role=options["role"],
            password=password,
            name=options["name"],
            is_operator=options["operator"],
        )
        outcome: dict[str, Any] = {
            "id": str(created.member.user_id),
            "email": created.member.email,
            "tenant": created.tenant_slug,
            "role": created.member.role.value,
            "user_created": created.user_created,
        }
        if created.user_created and not options["password"]:
            outcome["password"] = password
        return outcome

    def say(self, outcome: dict[str, Any]) -> str:
        """What was done, and the password where one was made up."""
        line = f"{outcome['email']} is {outcome['role']} of {outcome['tenant']}."
        if not outcome["user_created"]:
            return f"{line} The user was known: name and password are unchanged."
        return f"{line} Password, shown once: {outcome['password']}" if "password" in outcome else line
