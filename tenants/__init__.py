"""Tenants: who asks, what they may, what they used."""
