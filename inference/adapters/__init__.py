"""Adapters of the ports of inference. Settings name them; nobody imports them."""
