"""What the services beside Atrium call themselves: asked for the system page, never on a request's way."""

import json
import urllib.request
from collections.abc import Mapping

import redis

PATIENCE_S = 2.0


class NoServices:
    """The embedded and small profiles have none."""

    def ask(self) -> Mapping[str, str]:
        """As the port says."""
        return {}


class FullProfileServices:
    """Redis by INFO, Weaviate by `/v1/meta`."""

    def __init__(self, *, redis_url: str, weaviate_url: str, weaviate_api_key: str) -> None:
        """As the environment names them."""
        self._redis_url = redis_url
        self._weaviate_url = f"{weaviate_url.rstrip('/')}/v1/meta"
        self._weaviate_key = weaviate_api_key

    def ask(self) -> Mapping[str, str]:
        """As the port says."""
        return {"redis": self._redis(), "weaviate": self._weaviate()}

    def _redis(self) -> str:
        client = redis.Redis.from_url(
            self._redis_url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S
        )
        try:
            return str(client.info("server")["redis_version"])
        except redis.RedisError:
            return ""
        finally:
            client.close()

    def _weaviate(self) -> str:
        headers = {"Authorization": f"Bearer {self._weaviate_key}"} if self._weaviate_key else {}
        request = urllib.request.Request(self._weaviate_url, headers=headers)  # noqa: S310 - the operator's own
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
                return str(json.load(answer)["version"])
        except (OSError, ValueError, KeyError):
            return ""
