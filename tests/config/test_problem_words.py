"""Every message that people can be told, by REST, over a socket or as a stored reason, has its German words."""

import ast
import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.translation import override
from factories.tenants import key_client, make_tenant

from kernel.errors import AtriumError
from substrate.rest import ToldField
from substrate.wording import all_for_reader, catalogue, for_reader, in_language, language_of
from tenants.types import Role

ROOT = Path(__file__).resolve().parents[2]
APPS = ("tenants", "inference", "routing", "knowledge", "assistants")
PLACES = (*APPS, "platform/substrate", "platform/console", "platform/config", "platform/gateway")
# What no person reads: commands, settings, what directories are told, and `/v1`, which speaks to programs.
ELSEWHERE = re.compile(
    r"/management/|/settings/|/migrations/|/scim|/provision(ing|ed)|/gateway/(?!consumer|frames|sockets)"
)


def families() -> dict[str, type[AtriumError]]:
    """Every error there is, those that an app derives of its own included."""
    for app in (*APPS, "gateway", "substrate", "console", "config.keeping"):
        for module in pkgutil.walk_packages(importlib.import_module(app).__path__, f"{app}."):
            if not ELSEWHERE.search(f"/{module.name.replace('.', '/')}/"):
                importlib.import_module(module.name)
    found: dict[str, type[AtriumError]] = {}
    waiting = [AtriumError]
    while waiting:
        each = waiting.pop()
        found[each.__name__] = each
        waiting += each.__subclasses__()
    return found


RAISED = families()
# Reasons that are written down or shown without being raised: by the call, and which argument tells them.
TOLD: dict[str, int | str] = {
    "DocumentRefused": 1,
    "Refusal": "reason",
    "ExaminedStep": 2,
    "ExplainStep": 2,
    "desk.finish": "error",
    "after.step": 1,
    "refuse_visit": 1,
    "losses.append": 0,
    "remarks.append": 0,
}
# Texts that come from elsewhere: Django's own words, an engine's, and texts made of those that are checked.
NOT_OURS = {
    "_TOLD[rule.level, rule.measure].format(limit=rule.hard, used=used)",
    "' '.join(error.messages)",
    "error.message",
    "message[:1000]",
    "message",
    "self.invalid_cursor_message",
    "answer.reason",
    "error.args[0]",
    "out_of_time(None)",
    "NoReplica(retry_after_s=RETRY_AFTER_S)",
    "reason",
    "' '.join(weak)",
    "told",
    "connection.vendor",
    "type(store).__name__",
}
# What a look at a part of the installation found is told by (state, words).
OUTCOME = "Outcome"


def templates(node: ast.expr, constants: dict[str, str]) -> Iterator[str]:
    """The messages that an expression can be, with `{0}` for what is put in; what is not ours gives none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        places, text = 0, ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += str(part.value)
            else:
                text += f"{{{places}}}"
                places += 1
        yield text
    elif isinstance(node, ast.IfExp):
        yield from templates(node.body, constants)
        yield from templates(node.orelse, constants)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from templates(value, constants)
    elif isinstance(node, ast.Dict):
        for each in node.values:
            yield from templates(each, constants)
    elif isinstance(node, ast.List | ast.Tuple):
        for each in node.elts:
            yield from templates(each, constants)
    elif isinstance(node, ast.DictComp):
        yield from templates(node.value, constants)
    elif isinstance(node, ast.Name) and node.id in constants:
        yield constants[node.id]
    elif ast.unparse(node) not in NOT_OURS:
        yield f"?? {ast.unparse(node)}"


def messages() -> dict[str, str]:
    """Every message by where it is raised."""
    found = {}
    for place in PLACES:
        for file in sorted((ROOT / place).rglob("*.py")):
            name = str(file.relative_to(ROOT))
            if ELSEWHERE.search(f"/{name}"):
                continue
            tree = ast.parse(file.read_text())
            constants = {
                target.id: each.value.value
                for each in tree.body
                if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant)
                for target in each.targets
                if isinstance(target, ast.Name) and isinstance(each.value.value, str)
            }
            for node in ast.walk(tree):
                for text in raised(node, constants):
                    found.setdefault(text, f"{name}:{node.lineno}")  # type: ignore[attr-defined]
    return found


def raised(node: ast.AST, constants: dict[str, str]) -> list[str]:
    """The messages of an error that is made here; of a ValueError, when a list says what it expected."""
    if isinstance(node, ast.AsyncFunctionDef) and node.returns and ast.unparse(node.returns) == OUTCOME:
        answers = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
        found = [each.elts[1] for each in answers if isinstance(each, ast.Tuple)]
        return [text for each in found for text in templates(each, constants) if text]
    if not isinstance(node, ast.Call):
        return []
    place = TOLD.get(ast.unparse(node.func))
    if isinstance(place, str):
        return [
            text for each in node.keywords if each.arg == place for text in templates(each.value, constants)
        ]
    if place is not None:
        return [text for each in node.args[place : place + 1] for text in templates(each, constants)]
    if not node.args:
        return []
    name = ast.unparse(node.func).rpartition(".")[2]
    found = list(templates(node.args[0], constants))
    if name in RAISED or name == "ValidationError":
        return found
    return [each for each in found if name == "ValueError" and each.startswith("expected ")]


def test_every_message_has_its_german_words() -> None:
    german = catalogue("de")
    assert german is not None
    said = messages()
    assert len(said) > 400
    people = {
        name: each
        for name, each in RAISED.items()
        if not ELSEWHERE.search(f"/{each.__module__.replace('.', '/')}")
    }
    said |= {each.default_message: name for name, each in people.items()}
    missing = {text: where for text, where in said.items() if text not in german.whole}
    assert missing == {}, json.dumps(missing, indent=1, ensure_ascii=False)


def test_german_words_put_in_what_the_english_ones_do() -> None:
    german = catalogue("de")
    assert german is not None
    place = re.compile(r"\{\d+\}")
    for english, words in german.whole.items():
        assert sorted(place.findall(english)) == sorted(place.findall(words)), english


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("There is no such pool.", "Diesen Pool gibt es nicht."),
        ("There is a pool `a: b` already.", "Es gibt schon einen Pool `a: b`."),
        ("state: expected some of queued, ready", "state: erwartet wird etwas von: queued, ready"),
        ("Words of somebody else.", "Words of somebody else."),
        ("x" * 3000, "x" * 3000),
    ],
)
def test_what_is_put_in_stays(english: str, german: str) -> None:
    with override("de-AT"):
        assert for_reader(english) == german
    with override("en"):
        assert for_reader(english) == english


def test_errors_are_told_field_by_field() -> None:
    with override("de"):
        assert all_for_reader({"a": ["Unknown field."], "b": [{"c": "Not valid JSON."}], "d": 3}) == {
            "a": ["Dieses Feld gibt es nicht."],
            "b": [{"c": "Kein gültiges JSON."}],
            "d": 3,
        }


@pytest.mark.django_db
def test_a_problem_is_told_in_the_language_of_the_request() -> None:
    client = key_client(make_tenant(), role=Role.OWNER)
    path = "/api/v1/knowledge-bases/01a0ee07-954e-73ce-a2d4-a6d297b75092"
    german = client.get(path, headers={"accept-language": "de-DE,de;q=0.9"}).json()
    assert (german["detail"], german["code"]) == ("Diese Wissensbasis gibt es nicht.", "not_found")
    assert (
        client.get(path, headers={"accept-language": "fr"}).json()["detail"]
        == "There is no such knowledge base."
    )
    client.cookies["atrium_language"] = "de"
    answer = client.get("/api/v1/api-keys?sort=nonsense").json()
    assert answer["detail"].startswith("Sortiert wird nach")
    answer = client.post("/api/v1/assistants", {"nonsense": 1}, "application/json").json()
    assert answer["errors"]["nonsense"] == ["Dieses Feld gibt es nicht."]


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ([], "en"),
        ([(b"accept-language", b"de-AT,de;q=0.9,en;q=0.8")], "de"),
        ([(b"accept-language", b"xx, fr;q=0.2, *")], "en"),
        ([(b"Accept-Language", b"en"), (b"Cookie", b"a=b; atrium_language=de")], "de"),
        ([(b"cookie", b"atrium_language=../../etc"), (b"accept-language", b"de")], "de"),
        ([(b"accept-language", b"\xff" * 5000)], "en"),
    ],
)
def test_a_socket_s_reader_is_known_by_the_headers(headers: list[tuple[bytes, bytes]], language: str) -> None:
    assert language_of(headers) == language


def test_a_stored_reason_is_told_in_the_language_of_who_reads_it() -> None:
    stored = "The file is named or declared as PDF but its content is a picture. Rename it."
    assert in_language("de", stored).startswith("Die Datei heißt oder gibt sich als PDF aus")
    assert in_language("fr", stored) == stored
    with override("de"):
        assert ToldField().to_representation(stored) == in_language("de", stored)
