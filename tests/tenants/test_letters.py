"""Letters are written in the language of who reads them: the one in which they last used chat or console."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import LazySettings
from django.core import mail
from django.test import Client
from django.utils.translation import gettext, override
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client

from substrate.jobs import ClaimedJob
from tenants.limit_types import Level, Measure
from tenants.models import User
from tenants.services.mailing import Letter, languages_of, moment_words, send_letter, send_queued_letter
from tenants.types import Role

pytestmark = pytest.mark.django_db

LIMIT = {
    "tenant": "Acme",
    "whose": "x",
    "measure": "x",
    "used": "1",
    "limit": "2",
    "period": "2026-03",
    "reached": True,
    "each": "",
}
GRANT = {"tenant": "Acme", "operator": "op@x.test", "reason": "Ticket 1", "until": "today"}
INVITATION = {"tenant": "Acme", "inviter": "Ann", "role": "x", "message": "", "until": "today", "link": "#"}
HOOK = {"tenant": "Acme", "name": "ops", "why": "gone"}


@pytest.fixture(autouse=True)
def _mail(settings: LazySettings) -> None:
    settings.MAIL_CONFIGURED = True


def sent(template: str, words: dict[str, Any], language: str) -> tuple[str, str]:
    """Subject and text of a letter."""
    letter = Letter(f"{language}@x.test", f"account/email/{template}.txt", words, language)
    assert send_letter(letter)
    found = mail.outbox.pop()
    return found.subject, str(found.body)


@pytest.mark.parametrize(
    ("template", "words", "english", "german"),
    [
        ("limit", LIMIT, "a limit is used up", "Eine Grenze ist erschöpft"),
        (
            "limit",
            LIMIT | {"reached": False},
            "a limit is close to its end",
            "Eine Grenze ist bald erschöpft",
        ),
        ("limit", LIMIT | {"limit": "", "each": "x"}, "a limit is used up", "Eine Grenze ist erschöpft"),
        ("break_glass", GRANT, "An operator may read", "Ein Betreiber darf Inhalte"),
        ("invitation", INVITATION, "Invitation to Acme", "Einladung zu Acme"),
        ("invitation", INVITATION | {"inviter": ""}, "Invitation to Acme", "Einladung zu Acme"),
        ("webhook", HOOK, "is switched off", "ist abgeschaltet"),
        ("webhook", HOOK | {"why": "secret"}, "is switched off", "ist abgeschaltet"),
        ("webhook", HOOK | {"why": "failing"}, "is switched off", "ist abgeschaltet"),
    ],
)
def test_each_letter_is_written_in_both_languages(
    template: str, words: dict[str, Any], english: str, german: str
) -> None:
    subject, text = sent(template, words, "en")
    other_subject, other_text = sent(template, words, "de")
    assert english in subject
    assert german in other_subject
    # No sentence is the same in both but what was put in.
    given = {str(each) for each in words.values()}
    lines, others = (
        {line.strip() for line in each.splitlines() if line.strip() and line.strip() not in given}
        for each in (text, other_text)
    )
    assert lines & others == set()
    assert len(lines) == len(others)
    # A language that the installation does not have is its usual one.
    assert sent(template, words, "xx")[0] == subject


def test_what_is_put_in_is_translated_too() -> None:
    names = [*(each.value for each in Level), *(each.value.replace("_", " ") for each in Measure)]
    names += [each.value for each in Role]
    with override("de"):
        assert [each for each in names if gettext(each) == each] == []
    moment = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)
    assert moment_words(moment, "de") == "5. März 2026, 09:30"
    assert moment_words(moment, "") == "5 March 2026, 09:30"


def test_the_language_is_the_one_in_which_somebody_last_looked() -> None:
    membership = make_membership(make_tenant(), make_user("ann@x.test"), role=Role.OWNER)
    browser = session_client(membership)
    assert languages_of(["ann@x.test"]) == {"ann@x.test": ""}
    for asked, kept in (("de-AT,de;q=0.9", "de"), ("en", "en"), ("fr", "en")):
        browser.get("/api/v1/me", headers={"accept-language": asked})
        assert languages_of(["ANN@x.test", "nobody@x.test"], otherwise="de") == {
            "ANN@x.test": kept,
            "nobody@x.test": "de",
        }
    key = key_client(membership.tenant, role=Role.OWNER, user=membership.user)
    key.get("/api/v1/me", headers={"accept-language": "de"})
    assert User.objects.get(email="ann@x.test").language == "en"


def invite(browser: Client, email: str) -> str:
    body = {"email": email, "role": "member"}
    answer = browser.post(
        "/api/v1/invitations", body, content_type="application/json", headers={"accept-language": "de"}
    )
    assert answer.status_code == 201
    return mail.outbox[-1].subject


def test_who_is_invited_reads_their_own_language_else_that_of_who_invites() -> None:
    browser = session_client(make_membership(make_tenant(name="Acme"), role=Role.OWNER))
    assert invite(browser, "new@x.test") == "Einladung zu Acme"
    assert "mit der Rolle: Mitglied." in mail.outbox[-1].body
    User.objects.filter(id=make_user("known@x.test").id).update(language="en")
    assert invite(browser, "known@x.test") == "Invitation to Acme"


def test_each_owner_hears_of_break_glass_in_their_own_language() -> None:
    tenant = make_tenant(name="Acme")
    for language in ("de", "en"):
        owner = make_membership(tenant, make_user(f"{language}@x.test"), role=Role.OWNER)
        User.objects.filter(id=owner.user_id).update(language=language)
    operator = session_client(make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER))
    answer = operator.post(
        "/api/v1/break-glass",
        {"reason": "Ticket 4711: an answer is said to be wrong", "minutes": 30},
        content_type="application/json",
        headers={"x-atrium-tenant": tenant.slug},
    )
    assert answer.status_code == 201
    assert {each.to[0]: each.subject for each in mail.outbox} == {
        "de@x.test": "Ein Betreiber darf Inhalte von Acme lesen",
        "en@x.test": "An operator may read content of Acme",
    }


@pytest.mark.parametrize(
    ("told", "subject"),
    [({"language": "de"}, "Acme: Eine Grenze ist erschöpft"), ({"subject": "x"}, "Acme: a limit is used up")],
)
async def test_a_queued_letter_keeps_its_language_and_an_older_one_has_none(
    told: dict[str, str], subject: str
) -> None:
    payload = {"to": "ann@x.test", "template": "account/email/limit.txt", "words": LIMIT, **told}
    job = ClaimedJob(uuid.uuid4(), uuid.uuid4(), "tenants.limit_letter", payload, 1, 1, "me", "r", "t")
    await send_queued_letter(job)
    assert mail.outbox[-1].subject == subject
