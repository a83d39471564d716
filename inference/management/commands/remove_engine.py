"""`remove_engine URL`."""

from typing import Any

from django.core.management.base import CommandParser

from inference.services import remove_engine
from substrate.commands import AtriumCommand


class Command(AtriumCommand):
    """Forget an engine."""

    help = "Forget an engine."

    def add_own_arguments(self, parser: CommandParser) -> None:
        """Which engine."""
        parser.add_argument("url", help="the OpenAI base URL, as it was registered")

    def act(self, **options: Any) -> dict[str, Any]:
        """Do it for each replica of that URL."""
        return {"url": options["url"], "replicas": remove_engine(url=options["url"])}

    def say(self, outcome: dict[str, Any]) -> str:
        """One line."""
        return f"{outcome['url']} is removed ({outcome['replicas']} replicas)."
