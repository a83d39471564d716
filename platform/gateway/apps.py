"""The gateway as a Django app: it has no models, only a name in the list of apps."""

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """The data plane's doors."""

    name = "gateway"
