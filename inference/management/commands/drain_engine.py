"""`drain_engine URL`."""

from typing import Any

from django.core.management.base import CommandParser

from inference.services import drain_engine
from substrate.commands import AtriumCommand


class Command(AtriumCommand):
    """Take an engine out of service; what runs there ends as it will."""

    help = "Take an engine out of service; what runs there ends as it will."

    def add_own_arguments(self, parser: CommandParser) -> None:
        """Which engine."""
        parser.add_argument("url", help="the OpenAI base URL, as it was registered")

    def act(self, **options: Any) -> dict[str, Any]:
        """Do it for each replica of that URL."""
        return {"url": options["url"], "replicas": drain_engine(url=options["url"])}

    def say(self, outcome: dict[str, Any]) -> str:
        """One line."""
        return f"{outcome['url']} is draining ({outcome['replicas']} replicas)."
