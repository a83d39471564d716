"""The pages and messages that the server writes itself speak the reader's language."""

import gettext
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from factories.tenants import key_client, make_tenant

from tenants.types import Role

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "platform/config/locale/de/LC_MESSAGES"
SIGN_IN = "/accounts/login/"
_PAIR = re.compile(r'^msgid "(.+)"\nmsgstr "(.+)"$', re.MULTILINE)
_WORD = re.compile(r'{% translate "([^"]+)" %}')
_NOT_TEXT = re.compile(
    r"<script.*?</script>|{% comment.*?endcomment %}|{% blocktranslate.*?{% endblocktranslate %}"
    r"|{%.*?%}|{{.*?}}|<[^>]*>",
    re.DOTALL,
)
_SENTENCE = re.compile(r"{% blocktranslate[^%]*%}(.*?){% endblocktranslate %}")


def german() -> gettext.GNUTranslations:
    with (CATALOGUE / "django.mo").open("rb") as compiled:
        return gettext.GNUTranslations(compiled)


def test_the_compiled_words_are_the_written_ones() -> None:
    written = dict(_PAIR.findall((CATALOGUE / "django.po").read_text()))
    compiled = german()
    assert len(written) > 50
    assert {english: compiled.gettext(english) for english in written} == written


def test_every_word_of_the_templates_has_its_german() -> None:
    compiled, missing = german(), []
    for template in sorted([*(ROOT / "templates").rglob("*.html"), *(ROOT / "templates").rglob("*.txt")]):
        text = template.read_text()
        sentences = [re.sub(r"{{ (\w+) }}", r"%(\1)s", each) for each in _SENTENCE.findall(text)]
        asked = [*_WORD.findall(text), *sentences]
        missing += [f"{template.name}: {each}" for each in asked if compiled.gettext(each) == each]
    assert missing == []


@pytest.mark.parametrize("folder", ["account", "mfa"])
def test_no_page_of_accounts_says_anything_in_english_alone(folder: str) -> None:
    bare = {
        template.name: words
        for template in sorted(
            [*(ROOT / "templates" / folder).rglob("*.html"), *(ROOT / "templates" / folder).rglob("*.txt")]
        )
        if (words := re.findall(r"[A-Za-z]{2,}", _NOT_TEXT.sub(" ", template.read_text())))
    }
    assert bare == {}


@pytest.mark.parametrize("place", settings.LOCALE_PATHS)
def test_the_words_are_where_the_server_looks(place: Path) -> None:
    assert place == CATALOGUE.parents[1]


def test_the_browser_says_the_language_and_a_choice_wins() -> None:
    english = Client().get(SIGN_IN)
    assert '<html lang="en">' in english.text
    assert "<h1>Sign in</h1>" in english.text
    browser = Client(headers={"accept-language": "de-CH,fr;q=0.8"})
    page = browser.get(SIGN_IN)
    assert '<html lang="de">' in page.text
    assert "<h1>Anmelden</h1>" in page.text
    assert page["content-language"] == "de"
    wrong = browser.post(SIGN_IN, {"login": "nobody@example.com", "password": "wrong"})
    assert "Passwort sind leider falsch" in wrong.text
    browser.cookies["atrium_language"] = "en"
    assert "<h1>Sign in</h1>" in browser.get(SIGN_IN).text
    assert "<h1>Sign in</h1>" in Client(headers={"accept-language": "fr"}).get(SIGN_IN).text


def test_a_refused_invitation_is_told_in_german() -> None:
    page = Client(headers={"accept-language": "de"}).get("/accounts/invitation/accept/")
    assert page.status_code == 404
    assert "Diese Einladung lässt sich nicht öffnen" in page.text
    assert "Hier ist keine Einladung offen." in page.text


def test_what_is_wrong_with_a_field_is_told_in_the_language_of_the_request() -> None:
    client = key_client(make_tenant(), role=Role.OWNER)
    answers = {
        language: client.post(
            "/api/v1/assistants", {}, "application/json", headers={"accept-language": language}
        ).json()["errors"]
        for language in ("en", "de")
    }
    assert answers["en"] != answers["de"]
    assert "erforderlich" in str(answers["de"])
