"""Adapters of the ports of assistants. Settings name them; nobody imports them."""
