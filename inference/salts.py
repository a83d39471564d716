"""What keeps tenants' prompts apart in the caches of shared engines, and in what routing remembers of those caches."""

import functools
import uuid

from substrate.keyring import keyring


@functools.lru_cache(maxsize=65536)
def cache_salt(tenant_id: uuid.UUID) -> str:
    """The tenant's salt for an engine's prefix cache: 64 hex characters (vLLM takes at most 128)."""
    return keyring().derive("cache-salt", str(tenant_id)).hex()


@functools.lru_cache(maxsize=65536)
def prefix_seed(tenant_id: uuid.UUID) -> int:
    """The same salt as a number of 64 bits: what the tenant's chains of hashes begin with."""
    return int(cache_salt(tenant_id)[:16], 16)
