"""REST addresses of assistants, below `/api/v1/`, with and without a trailing slash."""

from django.urls import URLPattern, re_path

from assistants.views.assistants import (
    AssistantCacheView,
    AssistantCopyView,
    AssistantRestoreView,
    AssistantsView,
    AssistantView,
)
from assistants.views.conversations import ConversationsView, ConversationView, ExportView, MessagesView
from assistants.views.inspected import (
    InspectedConversationsView,
    InspectedConversationView,
    InspectedMessagesView,
)

urlpatterns: list[URLPattern] = [
    re_path(r"^assistants/?$", AssistantsView.as_view()),
    re_path(r"^assistants/(?P<slug>[^/]+)/?$", AssistantView.as_view()),
    re_path(r"^assistants/(?P<slug>[^/]+)/semantic-cache/?$", AssistantCacheView.as_view()),
    re_path(r"^assistants/(?P<slug>[^/]+)/restore/?$", AssistantRestoreView.as_view()),
    re_path(r"^assistants/(?P<slug>[^/]+)/duplicate/?$", AssistantCopyView.as_view()),
    re_path(r"^conversations/?$", ConversationsView.as_view()),
    re_path(r"^conversations/(?P<conversation_id>[^/]+)/?$", ConversationView.as_view()),
    re_path(r"^conversations/(?P<conversation_id>[^/]+)/messages/?$", MessagesView.as_view()),
    re_path(r"^conversations/(?P<conversation_id>[^/]+)/export/?$", ExportView.as_view()),
    re_path(r"^inspected-conversations/?$", InspectedConversationsView.as_view()),
    re_path(r"^inspected-conversations/(?P<conversation_id>[^/]+)/?$", InspectedConversationView.as_view()),
    re_path(
        r"^inspected-conversations/(?P<conversation_id>[^/]+)/messages/?$", InspectedMessagesView.as_view()
    ),
]
