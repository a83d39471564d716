"""`prepare`: what a database and a folder need before the full profile's processes start. Safe to repeat.

`serve` does the same for the embedded profile in its own process.
"""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from config.first_run import prepare_first_run, prepare_models


class Command(BaseCommand):
    """Migrate as the owner, collect static files, make built-in models and the demo tenant."""

    help = "Migrate, collect static files, and make what every installation has."

    def add_arguments(self, parser: CommandParser) -> None:
        """`--no-demo` leaves the demo tenant out."""
        parser.add_argument("--no-demo", action="store_true", help="do not create the demo tenant")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it in this order: each step needs the one before."""
        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False)
        prepare_models()
        if not options["no_demo"]:
            # Apart from the file of an embedded run in the same home, whose database is another one.
            folder: Path = settings.ATRIUM.home / "production"
            prepare_first_run(say=self.stdout.write, folder=folder)
