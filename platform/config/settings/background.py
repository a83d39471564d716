"""Celery: tells workers of queued jobs. The job table is the truth, so a message carries an id and nothing else."""

from typing import Any

from config.settings.environment import Environment

CELERY_TASK_DEFAULT_QUEUE = "atrium"
CELERY_BEAT_SCHEDULE = {
    "sweep-jobs": {"task": "atrium.sweep_jobs", "schedule": 5.0, "options": {"expires": 5}},
}


def celery_settings(environment: Environment) -> dict[str, Any]:
    """Celery's settings; without Redis no broker is named and no worker of Celery's runs."""
    return {
        "CELERY_BROKER_URL": environment.redis_url or None,
        "CELERY_TASK_IGNORE_RESULT": True,
        "CELERY_TASK_ACKS_LATE": True,
        "CELERY_TASK_REJECT_ON_WORKER_LOST": True,
        "CELERY_WORKER_PREFETCH_MULTIPLIER": 1,
        "CELERY_WORKER_HIJACK_ROOT_LOGGER": False,
        "CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP": True,
        "CELERY_BROKER_TRANSPORT_OPTIONS": {
            "visibility_timeout": 900,
            "socket_timeout": 5,
            "socket_connect_timeout": 1,
            # One try: who queues a job does not wait for a broker that is away, the sweep finds the row.
            "max_retries": 0,
            "interval_start": 0,
            "interval_step": 0,
            "interval_max": 0,
            "global_keyprefix": "celery:",
        },
        "CELERY_BEAT_SCHEDULE_FILENAME": str(environment.home / "celerybeat-schedule"),
    }
