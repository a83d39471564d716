"""Messages of the REST API and of sockets in the reader's language.

Code says everything in English, logs too. At the edge a message is looked up in `problems.toml` of the reader's
language, which lies where Django's own catalogues do. A message with something put in (`There is no pool `a`.`) is
found by its template (`There is no pool `{0}`.`). What is not found stays as it is: words of Django and the REST
framework are in the reader's language already, and an engine's own words are nobody's to translate.

What is stored, as the reason why a document or a job failed, is stored in English and translated when it is read: two
readers may have two languages. Where no request of Django is at hand (sockets, streams), `language_of` reads the
language from the headers as Django would.
"""

import contextlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http.cookie import parse_cookie
from django.utils.translation import get_language
from django.utils.translation.trans_real import get_supported_language_variant, parse_accept_lang_header

FILE = "problems.toml"
# Messages of ours are shorter; what is longer came from elsewhere.
LONGEST = 2_000
_PLACE = re.compile(r"\{(\d+)\}")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One language: whole messages, and templates from the most telling to the least."""

    whole: Mapping[str, str]
    templates: tuple[tuple[re.Pattern[str], str], ...]

    def find(self, message: str) -> str:
        """The message in this language, or as it is."""
        found = self.whole.get(message)
        if found is not None or len(message) > LONGEST:
            return found or message
        for pattern, words in self.templates:
            if match := pattern.fullmatch(message):
                # What is put in may itself be a message, as behind the name of a parameter.
                return words.format(*(self.find(each) for each in match.groups()))
        return message


@cache
def catalogue(language: str) -> Catalogue | None:
    """The messages of a language, or None where it has none."""
    for place in settings.LOCALE_PATHS:
        file = Path(place) / language / FILE
        if file.is_file():
            words: dict[str, str] = tomllib.loads(file.read_text())
            templates = sorted((each for each in words if _PLACE.search(each)), key=_telling)
            return Catalogue(words, tuple((_pattern(each), words[each]) for each in templates))
    return None


def for_reader(message: str) -> str:
    """The message in the language of the request at hand."""
    return in_language(get_language() or "", message)


def in_language(language: str, message: str) -> str:
    """The message in a language (`de`, `de-AT`), or as it is where the language has none."""
    found = catalogue(language.partition("-")[0])
    return message if found is None else found.find(message)


def language_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The language that the cookie of a choice or `Accept-Language` asks for, of those there are; else the usual one."""
    cookie, accepted = "", ""
    for name, value in headers:
        if name.lower() == b"cookie":
            cookie = value.decode("latin-1")
        elif name.lower() == b"accept-language":
            accepted = value.decode("latin-1")
    chosen = parse_cookie(cookie).get(settings.LANGUAGE_COOKIE_NAME, "")
    for asked in (chosen, *(language for language, _ in parse_accept_lang_header(accepted))):
        if asked and asked != "*":
            with contextlib.suppress(LookupError):
                return get_supported_language_variant(asked)
    return settings.LANGUAGE_CODE


def all_for_reader(errors: Any) -> Any:
    """Every text of what is wrong, field by field, in the language of the request at hand."""
    if isinstance(errors, str):
        return for_reader(str(errors))
    if isinstance(errors, Mapping):
        return {name: all_for_reader(value) for name, value in errors.items()}
    if isinstance(errors, list | tuple):
        return [all_for_reader(each) for each in errors]
    return errors


def _telling(template: str) -> int:
    return -len(_PLACE.sub("", template))


def _pattern(template: str) -> re.Pattern[str]:
    parts = _PLACE.split(template)
    return re.compile(
        "".join("(.+?)" if number % 2 else re.escape(part) for number, part in enumerate(parts)), re.DOTALL
    )
