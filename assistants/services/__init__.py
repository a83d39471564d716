"""The door of assistants: assistants, conversations, answers and Runs."""

from assistants.services.answers import Answer, answer
from assistants.services.asking import ask
from assistants.services.catalogue import (
    create_assistant,
    delete_assistant,
    find_assistant,
    get_assistant,
    list_assistants,
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
from assistants.services.runs import (
    close_runs,
    find_message,
    follow_run,
    start_run,
    stop_run,
    sweep_runs,
    sweep_runs_forever,
)

__all__ = [
    "Answer",
    "answer",
    "ask",
    "close_runs",
    "create_assistant",
    "create_conversation",
    "delete_assistant",
    "delete_conversation",
    "export_conversation",
    "find_assistant",
    "find_assistants",
    "find_conversations",
    "find_message",
    "follow_run",
    "get_assistant",
    "get_conversation",
    "list_assistants",
    "rename_conversation",
    "start_run",
    "stop_run",
    "sweep_runs",
    "sweep_runs_forever",
    "update_assistant",
]
