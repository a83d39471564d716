"""The back-office's look."""

from typing import Any

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Atrium back-office",
    "SITE_HEADER": "Atrium",
    "SITE_SUBHEADER": "Back-office for operators",
    "SITE_SYMBOL": "deployed_code",
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
}
