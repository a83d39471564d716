"""Letters to people, where a mail server is configured (`ATRIUM_EMAIL_URL`)."""

import asyncio
import smtplib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from kernel.errors import Unavailable
from substrate.jobs import ClaimedJob, enqueue_job
from tenants.models import Membership
from tenants.types import Role

log = structlog.get_logger(__name__)

SUBJECT_LENGTH = 200
MOST_HEADS = 20
JOB = "tenants.limit_letter"
# A mail server that is away is asked again after these pauses; the letter is given up then.
PAUSES_S = (5.0, 30.0)


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail: plain text, rendered from `template` with `words`."""

    to: str
    subject: str
    template: str
    words: Mapping[str, object]


def send_letter(letter: Letter) -> bool:
    """Send it, waiting for the mail server at most ten seconds; False when none is configured or it failed.

    The text is never logged: it may carry a token.
    """
    if not settings.MAIL_CONFIGURED:
        return False
    # A line break in a name must not become a header.
    subject = " ".join(letter.subject.split())[:SUBJECT_LENGTH]
    body = render_to_string(letter.template, dict(letter.words))
    try:
        sent = send_mail(subject, body, None, [letter.to])
    except (smtplib.SMTPException, OSError) as error:
        log.warning("mail_failed", error=type(error).__name__)
        return False
    return sent == 1


def queue_letter(
    *, tenant_id: uuid.UUID, to: str, subject: str, template: str, words: Mapping[str, object]
) -> None:
    """Have a letter sent once the transaction at hand is committed. `words` are JSON, and hold no secret."""
    payload = {"to": to, "subject": subject, "template": template, "words": dict(words)}
    enqueue_job(tenant_id=tenant_id, kind=JOB, payload=payload, max_attempts=1)


def head_addresses() -> Sequence[str]:
    """Addresses of the tenant's owners and administrators, of whom 20 at most; in its scope."""
    heads = Membership.objects.filter(
        role__in=[Role.OWNER, Role.ADMIN],
        custom_role=None,
        disabled_at=None,
        user__is_active=True,
        user__service_of=None,
    )
    return list(heads.order_by("created_at").values_list("user__email", flat=True)[:MOST_HEADS])


async def send_queued_letter(job: ClaimedJob) -> None:
    """The job: one letter to one person. It is tried in this one attempt alone, so that it is never sent twice.

    Raises Unavailable when no mail server took it.
    """
    given = job.payload
    # Letters that an older version queued were all about limits.
    template = given.get("template", "account/email/limit.txt")
    letter = Letter(to=given["to"], subject=given["subject"], template=template, words=given["words"])
    for pause in (*PAUSES_S, None):
        if await asyncio.to_thread(send_letter, letter):
            return
        if pause is not None:
            await asyncio.sleep(pause)
    raise Unavailable("No mail server took the letter.")
