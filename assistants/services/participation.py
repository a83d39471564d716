"""What the app of assistants holds of one tenant: assistants, conversations, messages."""

from substrate.participation import TableParticipant


class AssistantsParticipant(TableParticipant):
    """Rows alone: what the log of a Run holds is gone ten minutes after its end."""

    apps = ("assistants",)
