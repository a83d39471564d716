"""The real services (PostgreSQL, Redis, Weaviate, S3, vLLM) on one machine, for tests and trials.

Standard library only: this runs before the project's own environment exists. Linux only (it reads /proc).
"""
