"""The one ASGI application: the data plane first, static files and health, Django for the rest.

`/v1` and `/ws` never reach Django's handler. `ATRIUM_ROLE` says which planes this process serves.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any, cast

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
_django = get_asgi_application()

# Apps may be imported only once Django is set up.
from django.conf import settings  # noqa: E402
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware  # noqa: E402

from config.health import health  # noqa: E402
from config.lifespan import Lifespan  # noqa: E402
from config.seeing.exposition import Exposition  # noqa: E402
from config.seeing.rest_door import RestDoor  # noqa: E402
from config.static import Receive, Scope, Send, StaticFiles  # noqa: E402
from console.api.live import Live  # noqa: E402
from gateway.application import application as gateway  # noqa: E402
from gateway.consumer import ChatConsumer  # noqa: E402

AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


class Atrium:
    """Sends each connection to its plane."""

    def __init__(self) -> None:
        """Built once per process."""
        role = settings.ATRIUM.role
        self._gateway = role in ("all", "gateway")
        self._control = role in ("all", "control")
        self._lifespan = Lifespan()
        self._static = StaticFiles(settings.STATIC_ROOT)
        self._metrics = Exposition(settings.METRICS_FOLDER, token=settings.ATRIUM.metrics_token)
        self._sockets = _behind_proxies(ChatConsumer.as_asgi())
        self._live = Live()
        self._django = _behind_proxies(RestDoor(cast(AsgiApplication, _django)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Switch on the kind of connection and its path."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        path: str = scope["path"]
        if scope["type"] == "websocket":
            if self._gateway and path.rstrip("/") == "/ws/chat":
                await self._sockets(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 4404})
        elif path.startswith("/v1/") and self._gateway:
            await gateway(scope, receive, send)
        elif path.startswith("/health/"):
            await health(scope, receive, send)
        elif path.startswith("/static/"):
            await self._static(scope, receive, send)
        elif path.rstrip("/") == "/metrics":
            await self._metrics(scope, receive, send)
        elif self._control and path.rstrip("/") == "/api/v1/live":
            await self._live(scope, receive, send)
        elif self._control:
            await self._django(dict(scope), receive, send)
        else:
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})


def _behind_proxies(application: object) -> AsgiApplication:
    """`application` with the client's address and scheme as trusted proxies tell them; loopback is trusted."""
    trusted = ["127.0.0.1", *settings.ATRIUM.trusted_proxies]
    return cast(AsgiApplication, ProxyHeadersMiddleware(cast(Any, application), trusted_hosts=trusted))


application = Atrium()
