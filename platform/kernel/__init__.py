"""The kernel: clock, errors, ids, backends, streams, request context. It imports no framework and no app."""
