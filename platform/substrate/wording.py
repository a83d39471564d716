"""Messages of the REST API in the reader's language.

Code says everything in English, logs too. At the edge a message is looked up in `problems.toml` of the reader's
language, which lies where Django's own catalogues do. A message with something put in (`There is no pool `a`.`) is
found by its template (`There is no pool `{0}`.`). What is not found stays as it is: words of Django and the REST
framework are in the reader's language already, and an engine's own words are nobody's to translate.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import get_language

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
    language = (get_language() or "").partition("-")[0]
    found = catalogue(language)
    return message if found is None else found.find(message)


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
