"""Django's entry for the gateway: it has no rows, only doors."""

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """The data plane's doors."""

    name = "gateway"
