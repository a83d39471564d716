"""Adapters of the ports of tenants. Settings name them; nobody imports them."""
