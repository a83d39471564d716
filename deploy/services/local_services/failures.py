"""The one kind of failure a service reports to the person at the terminal."""

from __future__ import annotations


class ServiceFailed(Exception):
    """A service cannot be installed or started; the text is the line a person reads."""
