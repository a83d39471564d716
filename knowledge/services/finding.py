"""Finding bases and documents by name, as one types: for the console's palette."""

import uuid

from django.db.models import QuerySet

from knowledge import selectors
from knowledge.models import Document
from knowledge.types import DocumentName, KnowledgeFound
from substrate.scoping import tenant_scope
from tenants.services import require
from tenants.types import Principal

LAST_LETTER = "\uffff"


def find_by_name(*, principal: Principal, text: str, limit: int) -> KnowledgeFound:
    """Bases and documents whose names begin with `text`, then those that hold it; up to `limit` of each.

    Raises PermissionDenied.
    """
    require(principal, "knowledge.inspect")
    with tenant_scope(principal.tenant_id, read_only=True):
        bases = selectors.open_bases(principal).filter(name__icontains=text).order_by("name")[: 4 * limit]
        named = list(selectors.open_bases(principal).values_list("id", "name"))
        documents = _documents([each for each, _ in named], text, limit)
        names = dict(named)
        begin = text.casefold()
        order = sorted(bases, key=lambda row: (not row.name.casefold().startswith(begin), row.name))
        return KnowledgeFound(
            tuple((row.id, row.name) for row in order[:limit]),
            tuple(
                (DocumentName(row.id, row.knowledge_base_id, row.title), names[row.knowledge_base_id])
                for row in documents
            ),
        )


def _documents(bases: list[uuid.UUID], text: str, limit: int) -> list[Document]:
    """From the index over titles alone; only what is found is read. One scan at most, and none for a good beginning."""
    rows = Document.objects.filter(knowledge_base__in=bases).order_by()
    begin: dict[uuid.UUID, Document] = {}
    for word in dict.fromkeys((text, text.lower(), text.capitalize(), text.upper())):
        # A range, which an index answers; a comparison without case is none.
        within = rows.filter(title__gte=word, title__lt=word + LAST_LETTER)
        begin |= {
            row.id: row for row in _taken(within, limit) if row.title.casefold().startswith(text.casefold())
        }
    found = list(begin.values())[:limit]
    if len(found) < limit:
        others = rows.filter(title__icontains=text).exclude(id__in=list(begin))
        found += _taken(others, limit - len(found))
    return found


def _taken(rows: QuerySet[Document], limit: int) -> list[Document]:
    return sorted(
        rows.only("id", "knowledge_base_id", "title", "tenant_id")[:limit], key=lambda row: row.title
    )
