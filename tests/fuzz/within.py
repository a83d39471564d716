"""The hooks of schemathesis for a run in which Django answers in the same process, over the environment's installation."""

from typing import Any

import schemathesis
from django.core.wsgi import get_wsgi_application
from fuzz import hooks
from schemathesis.transport.wsgi import WSGI_TRANSPORT

__all__ = ["after_load_schema", "hooks"]

# Checks that ask by themselves say these too, which nothing within a process understands.
_OF_SOCKETS = ("max_redirects", "verify", "cert", "proxies")
_send = WSGI_TRANSPORT.send


def _send_within(case: Any, **options: Any) -> Any:
    """Send one request, told nothing of sockets."""
    return _send(case, **{name: value for name, value in options.items() if name not in _OF_SOCKETS})


WSGI_TRANSPORT.send = _send_within


@schemathesis.hook
def after_load_schema(context: Any, schema: Any) -> None:
    """From now on requests go to the application and not to a server."""
    schema.app = get_wsgi_application()
