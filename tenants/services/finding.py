"""Finding tenants by name, as one types: for operators."""

from django.db.models import Q

from tenants import selectors
from tenants.permissions import OPERATE, require
from tenants.types import Principal


def find_tenants(*, principal: Principal, text: str, limit: int) -> tuple[tuple[str, str], ...]:
    """(slug, name) of tenants whose slug or name holds `text`, those that begin with it first.

    Raises PermissionDenied.
    """
    require(principal, OPERATE)
    rows = selectors.all_tenants().order_by("slug").values_list("slug", "name")
    begin = list(rows.filter(Q(slug__istartswith=text) | Q(name__istartswith=text))[:limit])
    if len(begin) < limit:
        held = rows.filter(Q(slug__icontains=text) | Q(name__icontains=text))
        begin += [each for each in held[: 2 * limit] if each not in begin][: limit - len(begin)]
    return tuple(begin)
