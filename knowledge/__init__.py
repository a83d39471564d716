"""Knowledge: what a tenant knows; sources, documents, retrieval."""
