"""The door of assistants: assistants, conversations, answers, runs."""

from assistants.services.assistants import (
    change_assistant,
    create_assistant,
    delete_assistant,
    find_assistant,
    get_assistant,
    list_assistants,
)
from assistants.services.conversations import (
    create_conversation,
    delete_conversation,
    get_conversation,
    rename_conversation,
)

__all__ = [
    "change_assistant",
    "create_assistant",
    "create_conversation",
    "delete_assistant",
    "delete_conversation",
    "find_assistant",
    "get_assistant",
    "get_conversation",
    "list_assistants",
    "rename_conversation",
]
