"""Talking to identity providers over HTTP: addresses that a tenant names (`pinned_http`). Five seconds, one megabyte."""

import base64
import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from kernel.errors import UpstreamFailed
from tenants.adapters.pinned_http import AddressRefused, NameUnknown, PinnedHttp

MOST_BYTES = 1024 * 1024


class HttpProviderFetch:
    """Adapter of `ProviderFetch`."""

    def __init__(self, *, private_hosts: Sequence[str] = ()) -> None:
        """`private_hosts` are names that may lead into the own network."""
        self._http = PinnedHttp(private_hosts=private_hosts)

    def get_document(self, url: str) -> Mapping[str, Any]:
        """The JSON object at `url`. Raises UpstreamFailed, worded for who sets the provider up."""
        return self._ask("GET", url, None, {})

    def post_form(
        self, url: str, fields: Mapping[str, str], *, basic: tuple[str, str] | None = None
    ) -> Mapping[str, Any]:
        """The JSON object that answers a form; `basic` is user and password. Raises UpstreamFailed."""
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if basic is not None:
            # OAuth 2.0 §2.3.1: both are form-encoded first.
            pair = ":".join(quote(each, safe="") for each in basic)
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return self._ask("POST", url, urlencode(fields), headers)

    def _ask(self, method: str, url: str, body: str | None, headers: Mapping[str, str]) -> Mapping[str, Any]:
        host = url.partition("://")[2].partition("/")[0]
        try:
            answer = self._http.ask(
                method, url, body, {"accept": "application/json", **headers}, most_bytes=MOST_BYTES
            )
        except AddressRefused as error:
            if error.private:
                raise UpstreamFailed(
                    f"{host} leads into a private network, which an operator has to allow."
                ) from error
            raise UpstreamFailed(f"{url}: expected https and a host name, without a user in it.") from error
        except NameUnknown as error:
            raise UpstreamFailed(f"{host} is not known to the name service.") from error
        except (OSError, http.client.HTTPException) as error:
            raise UpstreamFailed(f"{host} does not answer: {type(error).__name__}.") from error
        return _object(host, answer.status, answer.body)


def _object(host: str, status: int, raw: bytes) -> Mapping[str, Any]:
    if len(raw) > MOST_BYTES:
        raise UpstreamFailed(f"{host} answers with more than a megabyte.")
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise UpstreamFailed(f"{host} answers {status}, and not with a JSON object.")
    if status != 200:
        said = body.get("error_description") or body.get("error") or "no reason"
        raise UpstreamFailed(f"{host} answers {status}: {str(said)[:200]}.")
    return body
