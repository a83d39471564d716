"""The real services on loopback: `python deploy/services/services.py install|start|stop|status`.

All state is below `$ATRIUM_HOME/services` (ATRIUM_HOME: default ./var). What it starts goes on running when this
command has ended. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from local_services import commands


def parse_groups(text: str) -> list[str]:
    """The names after --only. Raises argparse.ArgumentTypeError for an unknown one."""
    groups = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in groups if name not in commands.GROUPS]
    if unknown or not groups:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown) or 'nothing'}; known: {', '.join(commands.GROUPS)}"
        )
    return groups


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    parser = argparse.ArgumentParser(prog="services", description="The real services on loopback.")
    parser.add_argument("command", choices=("install", "start", "stop", "status"))
    parser.add_argument("--only", type=parse_groups, default=list(commands.GROUPS), metavar="A,B")
    parser.add_argument("--json", action="store_true", help="status as JSON")
    options = parser.parse_args(arguments)
    home = Path(os.environ.get("ATRIUM_HOME") or "var").resolve()
    if not sys.platform.startswith("linux"):
        print("services: Linux only")
        return 1
    try:
        if options.command == "install":
            return commands.install(home, options.only)
        if options.command == "start":
            return commands.start(home, options.only)
        if options.command == "stop":
            return commands.stop(home, options.only)
        return commands.status(home, options.only, as_json=options.json)
    except KeyboardInterrupt:
        print("services: interrupted; what was started goes on, `stop` ends it")
        return 130


if __name__ == "__main__":
    sys.exit(main())
