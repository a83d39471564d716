"""`backup FILE`: the whole installation in one file, taken while it serves."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from config.keeping.commands import KeepingCommand
from config.keeping.keyrings import write_keyring
from config.keeping.taking import take_backup


class Command(KeepingCommand):
    """Take a backup."""

    help = (
        "Write a backup of this installation to FILE while it serves. The keyring is kept apart (--keyring)."
    )

    def add_own_arguments(self, parser: CommandParser) -> None:
        """The file, and the keyring's."""
        parser.add_argument(
            "file", metavar="FILE", help="where the backup goes; an older one is replaced when it is whole"
        )
        parser.add_argument(
            "--keyring",
            metavar="FILE",
            help="also write the keyring, without which no API key works, to this file",
        )

    def act(self, **options: Any) -> dict[str, Any]:
        """Take it; returns its figures."""
        path = Path(options["file"]).absolute()
        keyring = Path(options["keyring"]).absolute() if options["keyring"] else None
        if keyring is not None:
            write_keyring(keyring)
        manifest = take_backup(path, self.progress(options))
        head = manifest.head
        return {
            "file": str(path),
            "bytes": path.stat().st_size,
            "seconds": head.seconds,
            "rows": sum(head.counts.values()),
            "files": head.files,
            "missing_files": len(head.missing_files),
            "points": head.points,
            "consistent_at": head.consistent_at,
            "keyring": str(keyring) if keyring else None,
        }

    def say(self, outcome: dict[str, Any]) -> str:
        """One sentence, and where the keyring is."""
        text = (
            f"{outcome['file']}: {outcome['bytes']:,} bytes, {outcome['rows']:,} rows, {outcome['files']:,} files, "
            f"{outcome['points']:,} vectors, in {outcome['seconds']:.1f} s; consistent at {outcome['consistent_at']}."
        )
        if outcome["missing_files"]:
            text += f"\n{outcome['missing_files']:,} files were deleted meanwhile; the manifest names them."
        if outcome["keyring"]:
            return f"{text}\nThe keyring is in {outcome['keyring']}: keep it apart from the backup."
        return f"{text}\nThe keyring is not in it: keep a copy apart (--keyring FILE)."
