"""Assistants: the product; assistants, conversations, runs."""
