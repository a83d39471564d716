"""The door of assistants: assistants, conversations, answers and Runs."""

from assistants.services.answers import Answer, answer
from assistants.services.asking import ask
from assistants.services.catalogue import (
    clear_semantic_cache,
    create_assistant,
    delete_assistant,
    duplicate_assistant,
    find_assistant,
    forget_deleted_assistants,
    get_assistant,
    list_assistants,
    restore_assistant,
    show_assistants,
    update_assistant,
)
from assistants.services.conversations import (
    create_conversation,
    delete_conversation,
    export_conversation,
    get_conversation,
    rename_conversation,
)
from assistants.services.finding import find_assistants, find_conversations
from assistants.services.inspecting import inspect_conversation, inspected_views, note_conversation
from assistants.services.runs import (
    close_runs,
    find_message,
    follow_run,
    start_run,
    stop_run,
    sweep_runs,
    sweep_runs_forever,
)
from assistants.services.trials import Trial, start_trial

__all__ = [
    "Answer",
    "Trial",
    "answer",
    "ask",
    "clear_semantic_cache",
    "close_runs",
    "create_assistant",
    "create_conversation",
    "delete_assistant",
    "delete_conversation",
    "duplicate_assistant",
    "export_conversation",
    "find_assistant",
    "find_assistants",
    "find_conversations",
    "find_message",
    "follow_run",
    "forget_deleted_assistants",
    "get_assistant",
    "get_conversation",
    "inspect_conversation",
    "inspected_views",
    "list_assistants",
    "note_conversation",
    "rename_conversation",
    "restore_assistant",
    "show_assistants",
    "start_run",
    "start_trial",
    "stop_run",
    "sweep_runs",
    "sweep_runs_forever",
    "update_assistant",
]
