"""The shell of the web front end: one page that loads the built bundle."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe
from django.views.defaults import page_not_found

from kernel.errors import NotFound
from substrate.rest import problem


@cache
def _bundle(entry: str) -> dict[str, Any]:
    """Addresses of an entry's script and styles, from Vite's manifest; empty when the front end is not built."""
    collected = Path(settings.STATIC_ROOT) / "web" / ".vite" / "manifest.json"
    found = collected if collected.is_file() else Path(finders.find("web/.vite/manifest.json") or "")
    manifest = json.loads(found.read_text()) if found.is_file() else {}
    if entry not in manifest:
        return {"entry_js": "", "entry_css": []}
    base = f"{settings.STATIC_URL}web/"
    styles = dict.fromkeys(_styles(manifest, entry))
    return {"entry_js": base + manifest[entry]["file"], "entry_css": [base + css for css in styles]}


def _styles(manifest: dict[str, Any], name: str) -> list[str]:
    """Style sheets of a chunk and of what it imports statically, dependencies first."""
    chunk = manifest[name]
    below = [css for imported in chunk.get("imports", []) for css in _styles(manifest, imported)]
    return [*below, *chunk.get("css", [])]


@require_safe
@ensure_csrf_cookie
@login_required
def chat_page(request: HttpRequest) -> HttpResponse:
    """The chat, for people who are signed in; others are sent to the sign-in page."""
    return render(request, "web/index.html", _bundle("src/main.ts"))


@require_safe
@ensure_csrf_cookie
@login_required
def console_page(request: HttpRequest) -> HttpResponse:
    """The console, for people who are signed in: what each may see of it, the REST API decides."""
    return render(request, "web/console.html", _bundle("src/console/main.ts"))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """An unknown address: a problem document below `/api/`, a page elsewhere."""
    if not request.path.startswith("/api/"):
        return page_not_found(request, exception)
    body = problem(NotFound("There is nothing at this address.")).data
    return JsonResponse(body, status=404, content_type="application/problem+json")
