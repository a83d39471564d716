"""Letters to people, where a mail server is configured (`ATRIUM_EMAIL_URL`), each in the language of its reader.

That is the language in which the person last used chat or console; of who never did, that of who has it written.
"""

import asyncio
import smtplib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.utils.formats import date_format
from django.utils.translation import get_language, override

from kernel.errors import Unavailable
from substrate.jobs import ClaimedJob, enqueue_job
from tenants.models import Membership, User
from tenants.types import Role

log = structlog.get_logger(__name__)

SUBJECT_LENGTH = 200
MOST_HEADS = 20
JOB = "tenants.limit_letter"
# A mail server that is away is asked again after these pauses; the letter is given up then.
PAUSES_S = (5.0, 30.0)


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail: plain text, rendered in `language` from `template` with `words`, as is its subject (`…_subject.txt`).

    `language` is one of the installation's, or "" for its usual one.
    """

    to: str
    template: str
    words: Mapping[str, object]
    language: str = ""


def send_letter(letter: Letter) -> bool:
    """Send it, waiting for the mail server at most ten seconds; False when none is configured or it failed.

    The text is never logged: it may carry a token.
    """
    if not settings.MAIL_CONFIGURED:
        return False
    with override(known_language(letter.language)):
        title = render_to_string(letter.template.replace(".txt", "_subject.txt"), dict(letter.words))
        body = render_to_string(letter.template, dict(letter.words))
    # A line break in a name must not become a header.
    subject = " ".join(title.split())[:SUBJECT_LENGTH]
    try:
        sent = send_mail(subject, body, None, [letter.to])
    except (smtplib.SMTPException, OSError) as error:
        log.warning("mail_failed", error=type(error).__name__)
        return False
    return sent == 1


def queue_letter(
    *, tenant_id: uuid.UUID, to: str, language: str, template: str, words: Mapping[str, object]
) -> None:
    """Have a letter sent once the transaction at hand is committed. `words` are JSON, and hold no secret."""
    payload = {"to": to, "language": language, "template": template, "words": dict(words)}
    enqueue_job(tenant_id=tenant_id, kind=JOB, payload=payload, max_attempts=1)


def known_language(asked: str) -> str:
    """`asked`, or the usual language where it is none of the installation's."""
    known = {code for code, _ in settings.LANGUAGES}
    return asked if asked in known else settings.LANGUAGE_CODE


def languages_of(addresses: Sequence[str], *, otherwise: str = "") -> Mapping[str, str]:
    """The language of each address, in their order; `otherwise` of who has none or is not known here."""
    written = {*addresses, *(each.lower() for each in addresses)}
    found = User.objects.filter(email__in=written).exclude(language="").values_list("email", "language")
    told = {email.lower(): language for email, language in found}
    return {address: told.get(address.lower(), otherwise) for address in addresses}


def moment_words(moment: datetime, language: str) -> str:
    """A moment of UTC as a letter tells it."""
    with override(known_language(language)):
        return date_format(moment.astimezone(UTC), "j. F Y, H:i" if get_language() == "de" else "j F Y, H:i")


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
    letter = Letter(
        to=given["to"], template=template, words=given["words"], language=given.get("language", "")
    )
    for pause in (*PAUSES_S, None):
        if await asyncio.to_thread(send_letter, letter):
            return
        if pause is not None:
            await asyncio.sleep(pause)
    raise Unavailable("No mail server took the letter.")
