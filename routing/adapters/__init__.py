"""Adapters of the ports of routing. Settings name them; nobody imports them."""
