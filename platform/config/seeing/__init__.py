"""Seeing: what Prometheus, a collector of spans and the console are told of what happens here."""
