"""The signature of a webhook, as Standard Webhooks describes it, so that receivers verify it by a library they know.

`webhook-id` and `webhook-timestamp` (Unix seconds) are signed together with the body: HMAC-SHA-256 of
`<id>.<timestamp>.<body>` under the secret's bytes, in base64, as `v1,<…>`; while two secrets work, one for each, with a
space between. Source: https://github.com/standard-webhooks/standard-webhooks (spec).
"""

import base64
import hmac
from collections.abc import Sequence

MARK = "whsec_"
SECRET_BYTES = 32


def secret_of(raw: bytes) -> str:
    """The text of a secret: what is shown once, and what libraries take."""
    return MARK + base64.b64encode(raw).decode()


def sign(secrets: Sequence[str], *, delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a delivery, signed with each of the secrets."""
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    made = [
        base64.b64encode(hmac.digest(base64.b64decode(each.removeprefix(MARK)), signed, "sha256")).decode()
        for each in secrets
    ]
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{each}" for each in made),
    }
