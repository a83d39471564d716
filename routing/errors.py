"""Errors of routing, beside those of the kernel's tree."""

from kernel.errors import ModelNotFound


class NotGivenAgain(ModelNotFound):
    """The model of the answer that a call brought may not answer it (now): who brought it asks for a new one."""
