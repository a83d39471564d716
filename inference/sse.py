"""Server-sent events out of raw reads. Pure; bytes in, the `data` of whole events out.

Follows the event stream format of the HTML standard as far as engines use it: `data` fields of one event are joined
by a newline, comments and other fields are skipped, lines end in LF or CRLF, an event that the end of the stream cuts
is dropped.
"""

MOST_EVENT_BYTES = 4 * 1024 * 1024
_FIELD = b"data:"


class EventTooLong(ValueError):
    """One event is larger than anything an engine would send."""


class EventParser:
    """Takes reads in any cut and gives the events that they complete."""

    __slots__ = ("_limit", "_lines", "_size", "_tail")

    def __init__(self, *, limit: int = MOST_EVENT_BYTES) -> None:
        """`limit` is the most bytes that one event may have."""
        self._limit = limit
        self._tail = bytearray()
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, read: bytes) -> list[bytes]:
        """The data of each event that `read` completes, in order. Raises EventTooLong."""
        if not self._tail and not self._lines and read.endswith(b"\n\n") and read.startswith(b"data: "):
            # What engines nearly always send: whole events of one line each.
            events = read[6:-2].split(b"\n\ndata: ")
            if read.count(b"\n") == 2 * len(events) and b"\r" not in read:
                return events
        return self._feed_lines(read)

    def _feed_lines(self, read: bytes) -> list[bytes]:
        self._tail += read
        if b"\n" not in read:
            self._check(len(self._tail))
            return []
        *lines, rest = bytes(self._tail).split(b"\n")
        self._tail = bytearray(rest)
        events = []
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if not line:
                if self._lines:
                    events.append(b"\n".join(self._lines))
                    self._lines = []
                    self._size = 0
            elif line.startswith(_FIELD):
                value = line[len(_FIELD) :]
                self._lines.append(value[1:] if value.startswith(b" ") else value)
                self._size += len(value)
                self._check(self._size)
        self._check(self._size + len(self._tail))
        return events

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise EventTooLong(f"an event of more than {self._limit} bytes")
