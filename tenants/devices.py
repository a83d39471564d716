"""What a browser calls itself, in words a person recognises."""

import re

UNKNOWN = ""
# The first that is found counts: browsers name the ones they descend from as well.
_BROWSERS = (
    ("Edge", r"Edg(?:e|A|iOS)?/"),
    ("Opera", r"OPR/|Opera"),
    ("Samsung Internet", r"SamsungBrowser/"),
    ("Firefox", r"Firefox/|FxiOS/"),
    ("Chrome", r"Chrome/|CriOS/|Chromium/"),
    ("Safari", r"Version/\S+ .*Safari/"),
)
_SYSTEMS = (
    ("iPhone", r"iPhone"),
    ("iPad", r"iPad"),
    ("Android", r"Android"),
    ("Windows", r"Windows"),
    ("macOS", r"Mac OS X|Macintosh"),
    ("ChromeOS", r"CrOS"),
    ("Linux", r"Linux|X11"),
)


def name_device(user_agent: str) -> str:
    """Like `Firefox · Linux`; a part that is not known is left out, and nothing known is empty."""
    parts = (_first(_BROWSERS, user_agent), _first(_SYSTEMS, user_agent))
    return " · ".join(part for part in parts if part)


def _first(known: tuple[tuple[str, str], ...], text: str) -> str:
    return next((name for name, pattern in known if re.search(pattern, text)), UNKNOWN)
