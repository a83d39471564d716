"""Routing: who shall answer and when."""
