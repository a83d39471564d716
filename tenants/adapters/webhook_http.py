"""Sending webhooks over HTTP, with the care of `pinned_http`. The body of an answer is not read: its status says enough."""

import asyncio
import http.client
import ssl
import time
from collections.abc import Mapping, Sequence

from kernel.errors import BadInput
from tenants.adapters.pinned_http import AddressRefused, Lookup, NameUnknown, PinnedHttp
from tenants.webhook_types import Outcome, WebhookAnswer

WITHIN_S = 10.0
# The name service has time limits of its own, which are longer.
LOOKUP_S = 5.0


class HttpWebhookSend:
    """Adapter of `WebhookSend`."""

    def __init__(
        self, *, private_hosts: Sequence[str] = (), lookup: Lookup | None = None, within_s: float = WITHIN_S
    ) -> None:
        """`private_hosts` are names that may lead into the own network."""
        self._http = PinnedHttp(private_hosts=private_hosts, lookup=lookup, within_s=within_s)
        self._whole_s = within_s + LOOKUP_S

    def check(self, url: str) -> None:
        """As the port says."""
        try:
            self._http.check(url)
        except AddressRefused as error:
            if error.private:
                raise BadInput(
                    "This address leads into a private network, which an operator has to allow.", param="url"
                ) from error
            raise BadInput(
                "An address begins with https and has a host name, without a user or a # in it.", param="url"
            ) from error

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> WebhookAnswer:
        """As the port says. A request whose time is up ends in its thread by its own deadline."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._whole_s):
                status, outcome = await asyncio.to_thread(self._post, url, headers, body)
        except TimeoutError:
            status, outcome = None, Outcome.TIMEOUT
        return WebhookAnswer(outcome, status, round((time.monotonic() - began) * 1000))

    def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int | None, Outcome]:
        try:
            status = self._http.ask("POST", url, body, headers, most_bytes=0).status
        except AddressRefused as error:
            return None, Outcome.PRIVATE if error.private else Outcome.ADDRESS
        except NameUnknown:
            return None, Outcome.UNKNOWN_HOST
        except TimeoutError:
            return None, Outcome.TIMEOUT
        except ssl.SSLCertVerificationError:
            return None, Outcome.CERTIFICATE
        except (OSError, http.client.HTTPException):
            return None, Outcome.UNREACHABLE
        if 200 <= status < 300:
            return status, Outcome.OK
        if 300 <= status < 400:
            return status, Outcome.REDIRECT
        return status, Outcome.GONE if status == 410 else Outcome.REFUSED
