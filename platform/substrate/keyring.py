"""The keyring: versioned secrets for the API keys' pepper and for encrypting stored secrets.

`ATRIUM_KEYRING` is `1:<base64 of 32 bytes>[,2:<…>]`; the highest version is used for new things, older ones still
verify and decrypt. Ciphertexts are AES-256-GCM, bound to the tenant and the field they belong to.
"""

import base64
import hashlib
import hmac
import os
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from kernel.errors import Internal

FINGERPRINTS_KEPT = 4096


class Keyring:
    """Derives one key per purpose from each version's secret (HMAC-SHA-256 with the purpose as message)."""

    def __init__(self, secrets: dict[int, bytes]) -> None:
        """`secrets` maps version to 32 bytes; at least one."""
        self._secrets = secrets
        self.newest = max(secrets)
        # Few: one for each purpose and version. Without it every check of an API key would derive anew.
        self._derived: dict[tuple[str, int], bytes] = {}
        # Fingerprints of keys that were just asked for, by a short keyed hash of this process: no secret is kept.
        self._fingerprints: dict[tuple[bytes, int], str] = {}
        self._seen_key = os.urandom(32)

    def fingerprint(self, secret: str, *, version: int | None = None) -> str:
        """HMAC-SHA-256 of an API key with the pepper of `version` (default: the newest), 64 hex characters."""
        plain = secret.encode()
        seen = hashlib.blake2b(plain, digest_size=16, key=self._seen_key).digest(), version or self.newest
        known = self._fingerprints.get(seen)
        if known is None:
            known = hmac.digest(self._derive("api-key-pepper", version), plain, "sha256").hex()
            if len(self._fingerprints) >= FINGERPRINTS_KEPT:
                self._fingerprints.clear()
            self._fingerprints[seen] = known
        return known

    def knows(self, version: int) -> bool:
        """Whether there is a secret of this version."""
        return version in self._secrets

    def versions(self) -> list[int]:
        """All versions, the newest first."""
        return sorted(self._secrets, reverse=True)

    def derive(self, purpose: str, text: str) -> bytes:
        """32 bytes for `purpose`, different for each `text` (a tenant's cache salt, for example)."""
        return hmac.digest(self._derive(purpose, None), text.encode(), "sha256")

    def encrypt(self, plain: str, *, context: str) -> str:
        """`v<version>:<base64>` of `plain`, bound to `context` (tenant, table and field)."""
        nonce = os.urandom(12)
        sealed = AESGCM(self._derive("encryption", None)).encrypt(nonce, plain.encode(), context.encode())
        return f"v{self.newest}:{base64.b64encode(nonce + sealed).decode()}"

    def decrypt(self, stored: str, *, context: str) -> str:
        """The plain text of what `encrypt` gave. Raises Internal when the key or the context is not the same."""
        version, _, payload = stored.partition(":")
        try:
            sealed = base64.b64decode(payload)
            key = self._derive("encryption", int(version.removeprefix("v")))
            return AESGCM(key).decrypt(sealed[:12], sealed[12:], context.encode()).decode()
        except (InvalidTag, ValueError, KeyError) as error:
            raise Internal("A stored secret cannot be decrypted with this keyring.") from error

    def _derive(self, purpose: str, version: int | None) -> bytes:
        wanted = (purpose, version or self.newest)
        derived = self._derived.get(wanted)
        if derived is None:
            derived = hmac.digest(self._secrets[wanted[1]], purpose.encode(), "sha256")
            self._derived[wanted] = derived
        return derived


@cache
def keyring() -> Keyring:
    """The keyring of this installation."""
    return Keyring(dict(settings.KEYRING))
