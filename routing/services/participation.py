"""What routing holds of one tenant: what it says of which model answers."""

from substrate.participation import TableParticipant


class RoutingParticipant(TableParticipant):
    """Rows alone: thresholds are learned anew by each process."""

    apps = ("routing",)
