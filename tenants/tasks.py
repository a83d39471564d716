"""Job handlers of tenants."""

from substrate.jobs import say_nothing
from tenants.services.exporting import forget_archive, give_up_export, make_archive

__all__ = ["forget_archive", "give_up_export", "make_archive", "say_nothing"]
