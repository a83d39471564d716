"""Adapters of the substrate's ports. Settings name them; nobody imports them."""
