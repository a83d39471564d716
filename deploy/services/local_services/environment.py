"""The environment file: `KEY=VALUE` lines a shell can source and a small parser can read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from local_services.state import write_private

_KEY = re.compile(r"[A-Z][A-Z0-9_]*")
_HEADING = "# Written by `make services`; removed by `make services-stop`. Holds passwords.\n"


def format_environment(values: Mapping[str, str]) -> str:
    """The file's text, keys sorted, values quoted for a shell. Raises ValueError for a bad key."""
    lines = []
    for key in sorted(values):
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a variable name: {key!r}")
        if "\n" in values[key]:
            raise ValueError(f"the value of {key} has a line break")
        lines.append(f"{key}={shlex.quote(values[key])}\n")
    return _HEADING + "".join(lines)


def parse_environment(text: str) -> dict[str, str]:
    """The variables of such a text, comments left out. Raises ValueError with the line's number."""
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, separator, value = line.partition("=")
        words = shlex.split(value)
        if not separator or not _KEY.fullmatch(key) or len(words) > 1:
            raise ValueError(f"line {number} is not KEY=VALUE")
        values[key] = words[0] if words else ""
    return values


def write_environment(path: Path, values: Mapping[str, str]) -> None:
    """Write the file (mode 0600), or remove it when there is nothing to say."""
    if values:
        write_private(path, format_environment(values))
    else:
        path.unlink(missing_ok=True)
