"""The real services (PostgreSQL, Redis, Weaviate, vLLM, S3) on one machine, for tests and a production-like run.

Standard library only: this runs before the project's own environment exists. Linux only (it reads /proc).
"""
