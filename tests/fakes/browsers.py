"""The browser of the tests: Chromium, where there is one."""

import shutil

from playwright.sync_api import Browser, Playwright

WHOLE_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# The same engine without a browser's windows around it draws a page for two thirds of the processor's time. It keeps no
# page whole for "back".
CHROMIUM = shutil.which("chromium-headless-shell") or WHOLE_CHROMIUM
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def launch_chromium(playwright: Playwright) -> Browser:
    """Start it; who started it closes it."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
