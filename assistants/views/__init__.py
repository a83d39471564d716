"""REST views of assistants and conversations."""
