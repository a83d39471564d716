"""`restore FILE`: bring a backup back, into an empty installation or over a live one."""

import sys
from getpass import getpass
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from config.keeping.commands import KeepingCommand, outcome_of
from config.keeping.keyrings import read_keyring
from config.keeping.plan import Plan
from config.keeping.restoring import restore_backup
from config.keeping.wrapped import is_wrapped, unwrap
from substrate.schema import read_schema, require_schema


class Command(KeepingCommand):
    """Restore a backup."""

    needs_schema = False
    help = "Replace everything in this installation by the backup in FILE. A failed restore changes nothing."

    def add_own_arguments(self, parser: CommandParser) -> None:
        """The file, the keyring's, and whether to ask."""
        parser.add_argument(
            "file", metavar="FILE", help="a backup that `manage.py backup` or the console made"
        )
        parser.add_argument("--keyring", metavar="FILE", help="the keyring that was written with the backup")
        parser.add_argument(
            "--passphrase-file",
            metavar="FILE",
            help="holds the passphrase of a keyring that the console gave away; without it the terminal is asked",
        )
        parser.add_argument("--yes", action="store_true", help="do not ask, even at a terminal")

    def act(self, **options: Any) -> dict[str, Any]:
        """Restore it; returns what was done."""
        path = Path(options["file"]).absolute()
        if not path.is_file():
            raise CommandError(f"{path}: there is no such file")
        if read_schema().is_empty:
            # An empty installation: its tables come first.
            call_command("migrate", verbosity=0, interactive=False)
        require_schema()
        ring = _given_keyring(options["keyring"], options["passphrase_file"])
        ask = sys.stdin.isatty() and not options["yes"]
        restored = restore_backup(
            path, self.progress(options), ring=ring, tell=lambda plan: self._tell(plan, ask=ask)
        )
        return outcome_of(restored)

    def _tell(self, plan: Plan, *, ask: bool) -> None:
        for line in (*plan.remarks, *plan.losses):
            self.stderr.write(line)
        there = sum(plan.replaces.values())
        if there:
            named = ", ".join(
                f"{count:,} {label.partition('.')[2]} rows" for label, count in plan.replaces.items()
            )
            self.stderr.write(f"This installation is not empty ({named}); all of it is replaced.")
        if ask and there and input("Type `restore` to go on: ").strip() != "restore":
            raise CommandError("nothing was done")

    def say(self, outcome: dict[str, Any]) -> str:
        """A few sentences."""
        text = (
            f"Restored: {outcome['rows']:,} rows, {outcome['files']:,} files, {outcome['points']:,} vectors in "
            f"{outcome['seconds']:.1f} s (writers waited {outcome['locked_seconds']:.1f} s)."
        )
        if outcome["indexed_anew"]:
            text += f"\n{outcome['indexed_anew']:,} documents are queued for indexing anew."
        if outcome["resumed"]:
            text += f"\n{outcome['resumed']:,} documents that waited for their ingestion are queued again."
        if outcome["swept"]:
            text += f"\n{outcome['swept']:,} files of the old state are removed in the background."
        # Among the losses is that it could not be put in place, which was told before or comes below.
        if outcome["keyring"] == "given" and not outcome["losses"]:
            text += "\nThe backup's keyring is in place; running servers use it within two seconds."
        return "\n".join([text, *outcome["losses"]])


def _given_keyring(name: str | None, passphrase_file: str | None) -> dict[int, bytes] | None:
    """The keyring of a file, opened by its passphrase when it has one. Raises CommandError, NotABackup."""
    if name is None:
        return None
    path = Path(name).absolute()
    try:
        text = path.read_text()
        if not is_wrapped(text):
            return read_keyring(path)
        if passphrase_file is not None:
            return unwrap(text, Path(passphrase_file).read_text().rstrip("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"the keyring or its passphrase cannot be read: {error}") from error
    if not sys.stdin.isatty():
        raise CommandError("this keyring needs its passphrase: give --passphrase-file FILE")
    return unwrap(text, getpass("Passphrase of the keyring: "))
