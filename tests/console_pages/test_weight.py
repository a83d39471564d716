"""What a browser loads before the first page of the console is whole: from the build's manifest, as it is sent."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.pages

BUILT = Path(
    os.environ.get("ATRIUM_TEST_WEB") or Path(__file__).resolve().parents[2] / "platform/config/static/web"
)
FIRST_LOAD = 150 * 1024
ANY_PAGE = 170 * 1024
ENTRY = "src/console/main.ts"

Manifest = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    read: Manifest = json.loads((BUILT / ".vite/manifest.json").read_text())
    return read


def chunks(manifest: Manifest, *names: str) -> set[str]:
    """Files of `names` and of all they import statically."""
    found: set[str] = set()
    waiting = list(names)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            found.add(manifest[name]["file"])
            waiting += manifest[name].get("imports", [])
    return found


def weight(files: set[str]) -> int:
    """Bytes over the wire: gzip, which every browser takes; small files are sent as they are."""
    paths = [BUILT / file for file in files]
    packed = [path.with_name(f"{path.name}.gz") for path in paths]
    return sum(
        (zipped if zipped.is_file() else path).stat().st_size
        for path, zipped in zip(paths, packed, strict=True)
    )


def sources(manifest: Manifest, end: str) -> list[str]:
    return [name for name in manifest if name.startswith("src/console/") and name.endswith(end)]


def test_the_first_load_is_light(manifest: Manifest) -> None:
    english = ["src/console/i18n/kit.en.ts", "src/console/i18n/home.en.ts"]
    # The plotting library comes with the first plot, and the first page has plots: it counts.
    files = chunks(manifest, ENTRY, *english, "src/console/home/HomePage.svelte", "src/console/kit/uplot.ts")
    total = weight(files)
    print(f"first load: {total / 1024:.1f} KiB gzip in {len(files)} files")  # noqa: T201 - a figure for the run
    assert total <= FIRST_LOAD


def test_no_page_is_heavy(manifest: Manifest) -> None:
    pages = sources(manifest, "Page.svelte")
    assert len(pages) >= 14
    weights = {page: weight(chunks(manifest, ENTRY, "src/console/i18n/kit.en.ts", page)) for page in pages}
    assert {page: size for page, size in weights.items() if size > ANY_PAGE} == {}


def test_the_console_carries_nothing_of_the_chat_at_first(manifest: Manifest) -> None:
    files = chunks(manifest, ENTRY)
    assert chunks(manifest, "src/main.ts") - files, "the chat has chunks of its own"
    assert not {file for file in files if "main-" in file or "markdown" in file}


def test_a_language_is_a_chunk_of_its_own(manifest: Manifest) -> None:
    files = chunks(manifest, ENTRY)
    for name in [*sources(manifest, ".en.ts"), *sources(manifest, ".de.ts")]:
        assert manifest[name]["isDynamicEntry"]
        assert manifest[name]["file"] not in files
