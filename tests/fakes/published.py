"""The published schema of the REST API."""

from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator


@cache
def published_schema() -> dict[str, Any]:
    """The whole schema as `/api/schema` shows it. Made once a process; nobody may change it."""
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return schema
