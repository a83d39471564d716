"""Django's entry for the composition root: hands the composition to the kernel and registers the system checks."""

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import register

from kernel.backends import backends


class AtriumConfig(AppConfig):
    """Commands that cross apps, the system checks, the first configuration of backends."""

    name = "config"

    def ready(self) -> None:
        """Configure backends from settings; prove at `check` that every adapter fits its port."""
        from config.checks import check_backends, check_job_handlers

        if settings.ATRIUM.redis_url:
            # Makes our Celery application the current one in every process that queues jobs.
            import config.celery  # noqa: F401

        backends.configure(settings.BACKENDS)
        register(check_backends)
        register(check_job_handlers)
