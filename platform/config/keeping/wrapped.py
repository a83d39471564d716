"""A keyring under a passphrase: what an administrator may take away by the browser, and what a restore takes back.

The passphrase (NFC, UTF-8) becomes a key by scrypt (RFC 7914), which seals the keyring by AES-256-GCM together with all
else that stands in the document, so that nothing in it can be changed unnoticed. With N = 2^17 and r = 8 a guess costs
128 MB and some tenths of a second.
"""

import base64
import json
import os
import unicodedata
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from config.keeping.failures import NotABackup, WrongPassphrase
from config.keeping.keyrings import fingerprints, parsed, spelled

FORMAT = 2
COST, BLOCK, LANES = 2**17, 8, 1
# What a document may ask for: a hostile one must not cost gigabytes.
COSTS = (2**14, 2**15, 2**16, 2**17)
_NAME = "The file"


def wrap(ring: Mapping[int, bytes], passphrase: str, *, cost: int = COST) -> dict[str, Any]:
    """The document (JSON's types) that holds `ring` under `passphrase`."""
    salt, nonce = os.urandom(16), os.urandom(12)
    head: dict[str, Any] = {
        "atrium_keyring": FORMAT,
        "kdf": "scrypt",
        "cost": cost,
        "block": BLOCK,
        "lanes": LANES,
        "salt": base64.b64encode(salt).decode(),
        "cipher": "AES-256-GCM",
        "nonce": base64.b64encode(nonce).decode(),
        "fingerprints": fingerprints(ring),
    }
    sealed = AESGCM(_key(passphrase, salt, cost)).encrypt(nonce, spelled(ring).encode(), _bound(head))
    return {**head, "sealed": base64.b64encode(sealed).decode()}


def is_wrapped(text: str) -> bool:
    """Whether the text is a document of `wrap`, as far as one sees without the passphrase."""
    try:
        return bool(_head(text)["atrium_keyring"] == FORMAT)
    except NotABackup:
        return False


def unwrap(text: str, passphrase: str) -> dict[int, bytes]:
    """The keyring in a document of `wrap`. Raises NotABackup, WrongPassphrase (also for one that was changed)."""
    document = _head(text)
    try:
        sealed = base64.b64decode(document.pop("sealed"), validate=True)
        salt = base64.b64decode(document["salt"], validate=True)
        nonce = base64.b64decode(document["nonce"], validate=True)
        shape = tuple(document[name] for name in ("atrium_keyring", "kdf", "block", "lanes", "cipher"))
        cost = document["cost"]
    except (KeyError, TypeError, ValueError) as error:
        raise NotABackup(f"{_NAME} is no keyring of Atrium.") from error
    known = shape == (FORMAT, "scrypt", BLOCK, LANES, "AES-256-GCM") and all(
        type(each) is int for each in shape[2:4]
    )
    # 131072.0 is among the costs too, and nothing that scrypt takes.
    if not known or type(cost) is not int or cost not in COSTS or len(nonce) != 12:
        raise NotABackup(f"{_NAME} is no keyring of Atrium.")
    try:
        plain = AESGCM(_key(passphrase, salt, cost)).decrypt(nonce, sealed, _bound(document))
    except InvalidTag as error:
        raise WrongPassphrase from error
    return parsed(plain.decode(), name=_NAME)


def _head(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotABackup(f"{_NAME} is no keyring of Atrium.") from error
    if not isinstance(document, dict) or "atrium_keyring" not in document:
        raise NotABackup(f"{_NAME} is no keyring of Atrium.")
    return document


def _key(passphrase: str, salt: bytes, cost: int) -> bytes:
    words = unicodedata.normalize("NFC", passphrase).encode()
    return Scrypt(salt=salt, length=32, n=cost, r=BLOCK, p=LANES).derive(words)


def _bound(head: Mapping[str, Any]) -> bytes:
    return json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
