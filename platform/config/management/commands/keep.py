"""`keep`: the process in which the console takes or restores a backup. People use `backup` and `restore`."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config.keeping import at_work
from config.keeping.keyrings import parsed


class Command(BaseCommand):
    """Take or restore one backup of the shelf; its note says how it goes."""

    help = "Internal: takes or restores a backup of the shelf for the console. Use `backup` and `restore`."
    requires_system_checks: Any = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """What, which, and for whom."""
        parser.add_argument("what", choices=("take", "restore"))
        parser.add_argument("backup_id")
        parser.add_argument("--parent", type=int, default=0, help="end a backup when this process has died")

        parser.add_argument("--with-keyring", action="store_true", help="the backup's keyring comes by stdin")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        if options["what"] == "take":
            at_work.take(options["backup_id"], parent=options["parent"])
        else:
            ring = parsed(sys.stdin.read(), name="stdin") if options["with_keyring"] else None
            at_work.restore(options["backup_id"], ring=ring)
