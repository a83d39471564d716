"""Job handlers of tenants."""

from substrate.jobs import say_nothing
from tenants.services.exporting import forget_archive, give_up_export, make_archive
from tenants.services.limit_notices import send_limit_letter

__all__ = ["forget_archive", "give_up_export", "make_archive", "say_nothing", "send_limit_letter"]
