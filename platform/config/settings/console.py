"""The back-office's look."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static


def _icon(request: HttpRequest) -> str:
    return static("web/favicon.svg")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Atrium back-office",
    "SITE_HEADER": "Atrium",
    "SITE_SUBHEADER": "Back-office for operators",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "SITE_SYMBOL": "deployed_code",
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
}
