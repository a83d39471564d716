"""REST addresses of knowledge, below `/api/v1/`, with and without a trailing slash."""

from django.urls import URLPattern, re_path

from knowledge.views.bases import KnowledgeBasesView, KnowledgeBaseView, RestoreBaseView, SearchView
from knowledge.views.bulk import BulkView
from knowledge.views.chosen import (
    DeleteDocumentsView,
    FileView,
    RemovedDocumentsView,
    RestoreDocumentView,
    RetryDocumentsView,
)
from knowledge.views.documents import (
    DocumentInBaseView,
    DocumentsView,
    DocumentView,
    PassagesView,
    RetryView,
)

_BASE = r"^knowledge-bases/(?P<knowledge_base_id>[^/]+)"

urlpatterns: list[URLPattern] = [
    re_path(r"^knowledge-bases/?$", KnowledgeBasesView.as_view()),
    re_path(rf"{_BASE}/?$", KnowledgeBaseView.as_view()),
    re_path(rf"{_BASE}/restore/?$", RestoreBaseView.as_view()),
    re_path(rf"{_BASE}/search/?$", SearchView.as_view()),
    re_path(rf"{_BASE}/documents/?$", DocumentsView.as_view()),
    re_path(rf"{_BASE}/documents:bulk/?$", BulkView.as_view()),
    re_path(rf"{_BASE}/documents:retry/?$", RetryDocumentsView.as_view()),
    re_path(rf"{_BASE}/documents:delete/?$", DeleteDocumentsView.as_view()),
    re_path(rf"{_BASE}/removed-documents/?$", RemovedDocumentsView.as_view()),
    re_path(rf"{_BASE}/documents/(?P<document>[^/]+)/?$", DocumentInBaseView.as_view()),
    re_path(rf"{_BASE}/documents/(?P<document>[^/]+)/retry/?$", RetryView.as_view()),
    re_path(r"^documents/(?P<document>[^/]+)/?$", DocumentView.as_view()),
    re_path(r"^documents/(?P<document>[^/]+)/passages/?$", PassagesView.as_view()),
    re_path(r"^documents/(?P<document>[^/]+)/file/?$", FileView.as_view()),
    re_path(r"^documents/(?P<document>[^/]+)/restore/?$", RestoreDocumentView.as_view()),
]
