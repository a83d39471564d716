"""REST views of knowledge."""
