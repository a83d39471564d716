"""REST of what crosses apps: one file a subject, below `/api/v1/` like every app's."""
