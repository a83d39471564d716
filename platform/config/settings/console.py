"""The back-office's look."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static


def _icon(request: HttpRequest) -> str:
    return static("web/favicon.svg")


# The green of chat and console, from its lightest to its darkest.
_GREEN = {
    "50": "oklch(97.5% .012 178)",
    "100": "oklch(94% .03 178)",
    "200": "oklch(88% .055 178)",
    "300": "oklch(79% .075 178)",
    "400": "oklch(69% .085 178)",
    "500": "oklch(56% .085 178)",
    "600": "oklch(46% .08 178)",
    "700": "oklch(41% .07 178)",
    "800": "oklch(36% .06 178)",
    "900": "oklch(31% .05 178)",
    "950": "oklch(23% .04 178)",
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Atrium back-office",
    "SITE_HEADER": "Atrium",
    "SITE_SUBHEADER": "Back-office for operators",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "SITE_SYMBOL": "deployed_code",
    "COLORS": {"primary": _GREEN},
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
}
