"""How long each page of the console takes in a browser until it is useful: `python benchmarks/browser_pages.py`.

Useful is: its heading is there and nothing on it is still being loaded (no `aria-busy`), by the page's own clock since
the navigation began. Each page is loaded whole some times with a warm cache, as a person has it on the second day, and
the median and the worst are told. The server is one that runs already, over whatever data it has.
"""

import argparse
import json
import os
import re
import shutil
import statistics
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
MOST_MS = 1_000.0
TRIES = 3
WAIT_MS = 60_000
# Set before anything of the page runs: the first frame in which it is useful.
WATCH = """
  const look = () => {
    const heading = document.querySelector("#main h1");
    if (heading && heading.textContent.trim() && !document.querySelector('[aria-busy="true"]')) {
      window.usefulAt = performance.now();
    } else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
"""


def main() -> int:
    """Measure, print the table, write `var/bench/browser_pages.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--email", required=True)
    parser.add_argument("--password-file", required=True, type=Path)
    parser.add_argument("--scope", default="", help="a tenant's slug, or * for all tenants")
    options = parser.parse_args()
    rows = measure(options.url, options.email, options.password_file.read_text().strip(), options.scope)
    folder = ROOT / "var" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "browser_pages.json").write_text(json.dumps(rows, indent=2))
    print(f"load average {os.getloadavg()[0]:.1f}\n\n| page | median ms | worst ms |\n|---|---|---|")
    for row in rows:
        print(f"| {row['path']} | {row['median']:.0f} | {row['worst']:.0f} |")
    late = [row["path"] for row in rows if row["median"] > MOST_MS]
    print(f"\n{len(rows)} pages, {len(late)} over {MOST_MS:.0f} ms: {', '.join(late) or 'none'}")
    return 0


def measure(url: str, email: str, password: str, scope: str) -> list[dict[str, Any]]:
    """Every page of the page table that the person may see."""
    paths = re.findall(r'path: "(/console/[^"]*)"', (ROOT / "web/src/console/pages.ts").read_text())
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB").new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{url}/console/")
        page.fill("input[name=login]", email)
        page.fill("input[name=password]", password)
        page.click("button[type=submit]")
        page.wait_for_selector("#main h1")
        page.add_init_script(WATCH)
        suffix = f"?in={scope}" if scope else ""
        rows = [{"path": path, **timed(page, f"{url}{path}{suffix}")} for path in paths]
        browser.close()
    return rows


def timed(page: Page, address: str) -> dict[str, float]:
    """Median and worst of some loads after a first one."""
    taken = []
    for number in range(TRIES + 1):
        page.goto(address)
        page.wait_for_function("() => 'usefulAt' in window")
        if number:
            taken.append(float(page.evaluate("() => window.usefulAt")))
    return {"median": statistics.median(taken), "worst": max(taken)}


if __name__ == "__main__":
    raise SystemExit(main())
