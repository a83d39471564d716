"""JSON logs, one line per event, with the request's id and trace id in each; where the processes' series live."""

import os
import sys
from pathlib import Path
from typing import Any

import structlog

from config.logs import add_request, drop_secrets
from config.seeing.sharing import VARIABLE, share_series
from config.settings.environment import Environment, SettingError


def metrics_folder(environment: Environment) -> Path | None:
    """Where this server's processes share their series. Said before anything imports Prometheus' client."""
    try:
        folder = share_series(environment.home, sys.argv, os.environ)
    except OSError as error:
        raise SettingError(f"{VARIABLE}: expected a folder that can be written ({error})") from error
    if folder is not None:
        os.environ[VARIABLE] = str(folder)
    return folder


def logging_settings(*, debug: bool) -> dict[str, Any]:
    """Django's LOGGING: everything through structlog to standard error."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_request,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        drop_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    # Once more: the text of a traceback is there only now.
                    drop_secrets,
                    structlog.processors.JSONRenderer(),
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            "django": {"level": "INFO", "handlers": [], "propagate": True},
            "django.server": {"level": "WARNING", "handlers": [], "propagate": True},
            "django.request": {"level": "ERROR" if not debug else "INFO", "handlers": [], "propagate": True},
            # The data plane writes its own; who has no handler here is not even asked for a line by uvicorn.
            "uvicorn.access": {"level": "WARNING", "handlers": [], "propagate": False},
            "uvicorn.error": {"level": "INFO", "handlers": [], "propagate": True},
            "httpx": {"level": "WARNING"},
            "trafilatura": {"level": "ERROR"},
            "pypdf": {"level": "ERROR"},
        },
    }
