"""Job nudges over Celery: one message per queued job."""

import uuid

import structlog
from celery import current_app
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)


class CeleryJobNudge:
    """Sends the job's id to the Celery workers. A broker that is away is logged; the sweep finds the job later."""

    def __init__(self, *, task: str, queue: str) -> None:
        """`task` is the Celery task's name, `queue` where workers listen."""
        self._task = task
        self._queue = queue

    def send(self, job_id: uuid.UUID) -> None:
        """Publish the id without waiting for retries."""
        try:
            current_app.send_task(self._task, args=[str(job_id)], queue=self._queue, retry=False)
        except OperationalError as error:
            log.warning("job_nudge_failed", job_id=str(job_id), error=str(error))
