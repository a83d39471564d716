"""Everything that can be reached names the permission it needs, by a name that the table of permissions has."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from console.live_hub import HEARD_BY
from gateway.frames import FRAME_PERMISSIONS, ClientFrame, Ping
from gateway.front import ROUTES
from substrate.rest import AtriumView
from tenants.permissions import ALL_PERMISSIONS, OPERATE, PERMISSIONS, ROLE_PERMISSIONS
from tenants.rest import SIGNED_IN
from tenants.types import Role

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("get", "post", "put", "patch", "delete")
# What is asked of by every signed-in principal: it shows what is theirs, or what the view itself narrows.
FOR_EVERYBODY = {
    "MeView GET": "who one is",
    "OwnTenantView GET": "what one's own tenant is called, and its calendar",
    "LiveView GET": "one hears only of what one may see",
    "OwnSessionsView GET": "one's own sessions",
    "OwnSessionsView DELETE": "one's own sessions",
    "OwnSessionView DELETE": "one's own session",
    "PaletteView GET": "one finds only what one may see",
    "OverviewView GET": "each part is left out without its permission",
    "UsageView GET": "one sees one's own usage; all of the tenant's asks for usage.read",
    "QuotasView GET": "one sees the limits that hold for oneself; all of the tenant's ask for usage.read",
    "PermissionsView GET": "what permissions mean is no secret",
    "RolesView GET": "what a role means is no secret in its tenant",
    "RoleView GET": "what a role means is no secret in its tenant",
}
PAGES = ROOT / "web/src/console/pages.ts"
# Pages that everybody who may open the console may open.
# Of limits and of usage everybody sees their own: `/quotas` and `/usage` name the right that all of them takes.
OPEN_PAGES = {"home", "limits", "usage"}


def patterns(found: Any = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Every address below the root, with its pattern."""
    for each in (found or get_resolver()).url_patterns:
        path = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from patterns(each, path)
        else:
            yield path, each


def rest_views() -> dict[str, type[AtriumView]]:
    """The REST API's views by address."""
    return {
        path: view
        for path, pattern in patterns()
        if path.startswith("api/v1/")
        and isinstance(view := getattr(pattern.callback, "view_class", None), type)
        and issubclass(view, AtriumView)
    }


def test_the_walk_finds_the_whole_api() -> None:
    rest = {path for path, _ in patterns() if path.startswith("api/v1/")}
    assert len(rest) > 60
    assert set(rest_views()) == rest, (
        "an address of the API is no AtriumView: nothing asks for a permission there"
    )


@pytest.mark.parametrize(("path", "view"), sorted(rest_views().items()), ids=lambda each: str(each))
def test_every_operation_of_rest_names_its_permission(path: str, view: type[AtriumView]) -> None:
    declared: str | Mapping[str, str] | None = getattr(view, "required_permission", None)
    assert declared is not None, f"{view.__name__} at {path} names no permission"
    for method in (each.upper() for each in METHODS if hasattr(view, each)):
        needed = declared if isinstance(declared, str) else declared.get(method)
        assert needed is not None, f"{method} of {view.__name__} names no permission"
        if needed == SIGNED_IN:
            assert f"{view.__name__} {method}" in FOR_EVERYBODY, f"say why everybody may {method} {path}"
        else:
            assert needed in ALL_PERMISSIONS, f"{needed!r} of {view.__name__} is no permission"


def test_every_route_of_v1_names_its_permission() -> None:
    assert ROUTES
    for path, (_, permission, _) in ROUTES.items():
        assert permission in ALL_PERMISSIONS, path


def test_every_frame_of_the_socket_names_its_permission() -> None:
    assert set(FRAME_PERMISSIONS) == set(get_args(ClientFrame))
    for frame, permission in FRAME_PERMISSIONS.items():
        assert permission in ALL_PERMISSIONS or (frame is Ping and permission is None), frame


def test_every_kind_of_live_change_names_its_permission() -> None:
    assert set(HEARD_BY.values()) <= ALL_PERMISSIONS


def test_every_page_of_the_console_names_its_permission() -> None:
    table = PAGES.read_text().split("export const PAGES")[1]
    rows = re.findall(r'id: "(\w+)".*?permission: ("[\w.]+"|null|OPERATE)', table, re.DOTALL)
    assert len(rows) == table.count("load: ()") > 10
    for page, permission in rows:
        if permission == "null":
            assert page in OPEN_PAGES, f"say why everybody may open {page}"
        else:
            assert permission == "OPERATE" or permission.strip('"') in ALL_PERMISSIONS, page


def test_the_table_is_whole() -> None:
    names = [each.name for each in PERMISSIONS]
    assert len(names) == len(set(names))
    assert all(each.allows and each.area and not each.allows.endswith(".") for each in PERMISSIONS)
    for greater, lesser in zip(list(Role), list(Role)[1:], strict=False):
        assert ROLE_PERMISSIONS[lesser] < ROLE_PERMISSIONS[greater]
    assert not any(OPERATE in held for held in ROLE_PERMISSIONS.values())
