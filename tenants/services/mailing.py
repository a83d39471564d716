"""Letters to people, where a mail server is configured (`ATRIUM_EMAIL_URL`)."""

import smtplib
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

log = structlog.get_logger(__name__)

SUBJECT_LENGTH = 200


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
