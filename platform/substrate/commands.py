"""What Atrium's management commands share: `--json`, and one clear line with a non-zero exit on an error."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from kernel.actors import Actor, acting
from kernel.errors import AtriumError
from substrate.schema import require_schema


class AtriumCommand(BaseCommand):
    """A command that does one thing and says what came of it, to people or (`--json`) to programs."""

    requires_system_checks: Any = ()
    # A command that makes or replaces the whole database says False.
    needs_schema = True

    def add_arguments(self, parser: CommandParser) -> None:
        """`--json`; subclasses add theirs in `add_own_arguments`."""
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
        self.add_own_arguments(parser)

    def add_own_arguments(self, parser: CommandParser) -> None:
        """The arguments of the command itself."""

    def act(self, **options: Any) -> dict[str, Any]:
        """Do it; returns what `--json` prints. Raises AtriumError, CommandError."""
        raise NotImplementedError

    def say(self, outcome: dict[str, Any]) -> str:
        """The same for people."""
        return "\n".join(f"{name}: {value}" for name, value in outcome.items())

    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def handle(self, *args: Any, **options: Any) -> None:
        """Act and print. Raises CommandError with one line."""
        as_json = options.pop("as_json")
        try:
            if self.needs_schema:
                require_schema()
            with acting(Actor("command", f"manage.py {self._name()}")):
                outcome = self.act(**options)
        except AtriumError as error:
            raise CommandError(error.message) from error
        except DatabaseError as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise CommandError(f"The database cannot be used ({reason}).") from error
        self.stdout.write(json.dumps(outcome) if as_json else self.say(outcome))
