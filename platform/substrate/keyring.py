"""The keyring: versioned secrets for the API keys' pepper and for encrypting stored secrets.

`ATRIUM_KEYRING` is `1:<base64 of 32 bytes>[,2:<…>]`; the highest version is used for new things, older ones still
verify and decrypt. Ciphertexts are AES-256-GCM, bound to the tenant and the field they belong to.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from kernel.errors import Internal


@dataclass(frozen=True, slots=True)
class _Ring:
    """The secrets, and what was made of them: all of it goes at once when they are replaced."""

    secrets: Mapping[int, bytes] = field(repr=False)
    newest: int
    # Few: one for each purpose and version. Without it every check of an API key would derive anew.
    derived: dict[tuple[str, int], bytes] = field(default_factory=dict, repr=False)
    # Of this process alone: what it keeps to know a secret again is of no use anywhere else.
    sight_key: bytes = field(default_factory=lambda: os.urandom(32), repr=False)

    def derive(self, purpose: str, version: int | None) -> bytes:
        wanted = (purpose, version or self.newest)
        found = self.derived.get(wanted)
        if found is None:
            found = hmac.digest(self.secrets[wanted[1]], purpose.encode(), "sha256")
            self.derived[wanted] = found
        return found


class Keyring:
    """Derives one key per purpose from each version's secret (HMAC-SHA-256 with the purpose as message)."""

    def __init__(self, secrets: Mapping[int, bytes]) -> None:
        """`secrets` maps version to 32 bytes; at least one."""
        self._ring = _Ring(dict(secrets), max(secrets))

    @property
    def newest(self) -> int:
        """The version that new things get."""
        return self._ring.newest

    @property
    def secrets(self) -> Mapping[int, bytes]:
        """The secrets by version. For keeping them elsewhere, and for nothing else."""
        return dict(self._ring.secrets)

    def replace(self, secrets: Mapping[int, bytes]) -> None:
        """Use these secrets from now on. Whoever is at work meanwhile ends with those that were."""
        self._ring = _Ring(dict(secrets), max(secrets))

    def fingerprint(self, secret: str, *, version: int | None = None) -> str:
        """HMAC-SHA-256 of an API key with the pepper of `version` (default: the newest), 64 hex characters."""
        return hmac.digest(self._ring.derive("api-key-pepper", version), secret.encode(), "sha256").hex()

    def sight(self, secret: str) -> bytes:
        """16 bytes by which this process knows a secret again, in a third of the time of its fingerprint.

        Another process, and this one once its secrets are replaced, gives others.
        """
        return hashlib.blake2b(secret.encode(), digest_size=16, key=self._ring.sight_key).digest()

    def knows(self, version: int) -> bool:
        """Whether there is a secret of this version."""
        return version in self._ring.secrets

    def versions(self) -> list[int]:
        """All versions, the newest first."""
        return sorted(self._ring.secrets, reverse=True)

    def derive(self, purpose: str, text: str) -> bytes:
        """32 bytes for `purpose`, different for each `text` (a tenant's cache salt, for example)."""
        return hmac.digest(self._ring.derive(purpose, None), text.encode(), "sha256")

    def encrypt(self, plain: str, *, context: str) -> str:
        """`v<version>:<base64>` of `plain`, bound to `context` (tenant, table and field)."""
        nonce, ring = os.urandom(12), self._ring
        sealed = AESGCM(ring.derive("encryption", None)).encrypt(nonce, plain.encode(), context.encode())
        return f"v{ring.newest}:{base64.b64encode(nonce + sealed).decode()}"

    def decrypt(self, stored: str, *, context: str) -> str:
        """The plain text of what `encrypt` gave. Raises Internal when the key or the context is not the same."""
        version, _, payload = stored.partition(":")
        try:
            sealed = base64.b64decode(payload)
            key = self._ring.derive("encryption", int(version.removeprefix("v")))
            return AESGCM(key).decrypt(sealed[:12], sealed[12:], context.encode()).decode()
        except (InvalidTag, ValueError, KeyError) as error:
            raise Internal("A stored secret cannot be decrypted with this keyring.") from error


@cache
def keyring() -> Keyring:
    """The keyring of this installation."""
    return Keyring(dict(settings.KEYRING))
