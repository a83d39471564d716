"""Work across tenants: the one way past the walls, open to the modules that an import contract lists, and counted."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from substrate.scoping import Scope, ScopeError, entered, open_scope

# How often each reason was used in this process: read by tests and by what measures the process.
system_scope_uses: Counter[str] = Counter()


@contextmanager
def system_scope(reason: str, *, read_only: bool = False) -> Iterator[Scope]:
    """See and write rows of all tenants, in one transaction. `reason` is counted; it is never empty.

    Inside the scope of a tenant it raises ScopeError. `read_only` as for `tenant_scope`.
    """
    if not reason:
        raise ScopeError("system_scope needs a reason")
    outer = open_scope()
    if outer is not None and outer.tenant_id is not None:
        raise ScopeError("a system scope was opened inside the scope of a tenant")
    system_scope_uses[reason] += 1
    with entered(Scope(None, reason), outer, read_only=read_only) as scope:
        yield scope
