"""What inference holds of one tenant: which restricted models it was granted."""

from substrate.participation import TableParticipant


class InferenceParticipant(TableParticipant):
    """Rows alone."""

    apps = ("inference",)
