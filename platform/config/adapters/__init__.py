"""Adapters of the composition root's own ports."""
