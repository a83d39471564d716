"""What changed code calls: `passed` when it comes by a filter, `widened` in the place of a `tenant_scope`."""

from collections.abc import Iterator
from contextlib import contextmanager

from substrate.scoping import Scope, entered, open_scope

# Sites by name and line, and whether code ever came by them outside of any tenant's scope.
seen: dict[tuple[str, int], bool] = {}


def passed(name: str, line: int) -> None:
    """Note that code came by the site. Any thread may."""
    alone = not _inside_tenant()
    seen[name, line] = seen.get((name, line), False) or alone


@contextmanager
def widened(*, read_only: bool = False) -> Iterator[Scope]:
    """Rows of all tenants; within a tenant's scope that one stays, as it does when the inner one is deleted."""
    outer = open_scope()
    scope = outer if outer is not None and outer.tenant_id is not None else Scope(None, "without a filter")
    with entered(scope, outer, read_only=read_only) as inner:
        yield inner


def _inside_tenant() -> bool:
    outer = open_scope()
    return outer is not None and outer.tenant_id is not None
