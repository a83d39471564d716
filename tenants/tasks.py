"""Job handlers of tenants."""

from substrate.jobs import say_nothing
from tenants.services.exporting import forget_archive, give_up_export, make_archive
from tenants.services.mailing import send_queued_letter
from tenants.services.webhook_sending import give_up_sending, send_due

__all__ = [
    "forget_archive",
    "give_up_export",
    "give_up_sending",
    "make_archive",
    "say_nothing",
    "send_due",
    "send_queued_letter",
]
