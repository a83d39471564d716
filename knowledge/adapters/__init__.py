"""Adapters of the ports of knowledge. Settings name them; nobody imports them."""
