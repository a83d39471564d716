"""Where acts are sent on to: a file that grows, or the standard output."""

import os
import sys

import structlog

log = structlog.get_logger(__name__)


class FileAuditForward:
    """`AuditForward` to the end of a file. It is opened for each line, so that it may be moved away at any time."""

    def __init__(self, *, path: str) -> None:
        """`path` is made when it is missing, readable by its owner alone."""
        self._path = path

    def send(self, line: str) -> None:
        """As the port says; one write, so that lines of several processes never mix."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, f"{line}\n".encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("audit_not_forwarded", path=self._path, error=str(error))


class OutputAuditForward:
    """`AuditForward` to the standard output, for what collects the output of containers."""

    def send(self, line: str) -> None:
        """As the port says."""
        try:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            log.error("audit_not_forwarded", path="stdout", error=str(error))
