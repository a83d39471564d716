"""`flush`, the audit included: what empties the whole database may do so."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands.flush import Command as DjangoFlush

from substrate.audit_keeping import let_go_every_chain


class Command(DjangoFlush):
    """Django's `flush`, after every chain has let go of its acts."""

    def handle(self, **options: Any) -> None:
        """Let go and empty. Raises CommandError without `--no-input`: what is let go cannot be taken back."""
        if options["interactive"]:
            raise CommandError(
                "This deletes everything, the audit included; say --no-input when you mean it."
            )
        let_go_every_chain()
        super().handle(**options)
