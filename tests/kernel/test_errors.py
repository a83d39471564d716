"""The error tree: what each error promises at the doors."""

import inspect
import re

import pytest

from kernel import errors
from kernel.errors import AtriumError, BadInput, EngineRefused, QuotaExhausted, RateLimited

TREE = [error for error in vars(errors).values() if inspect.isclass(error) and issubclass(error, AtriumError)]


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_every_error_has_words_a_status_and_a_code(error: type[AtriumError]) -> None:
    made = error("x") if error is EngineRefused else error()
    assert 400 <= made.status <= 599
    assert re.fullmatch(r"[a-z_]+", made.code)
    assert re.fullmatch(r"[a-z_]+", made.kind)
    assert made.message
    assert str(made) == made.message


def test_the_drawing_shows_every_error_under_its_parent() -> None:
    drawing = re.findall(r"^([│ ]*[├└]── )?(\w+) +\d?", errors.__doc__ or "", re.MULTILINE)
    drawn = {name for _, name in drawing}
    assert {error.__name__ for error in TREE} <= drawn | {"AtriumError"}


def test_what_may_be_retried() -> None:
    assert {error.__name__ for error in TREE if error.retryable} == {
        "RateLimited",
        "QueueShareFull",
        "UpstreamFailed",
        "EngineUnavailable",
        "Unavailable",
        "ServerOverloaded",
        "NoReplica",
    }
    assert not QuotaExhausted.retryable
    assert RateLimited.status == QuotaExhausted.status == 429


def test_an_error_carries_its_field_code_and_wait() -> None:
    error = BadInput("Too hot.", param="temperature", code="too_hot", retry_after_s=1.5)
    assert (error.message, error.param, error.code, error.retry_after_s) == (
        "Too hot.",
        "temperature",
        "too_hot",
        1.5,
    )
    assert BadInput.code == "invalid_request_error"


def test_the_engines_own_status_is_kept() -> None:
    refused = EngineRefused("Prompt too odd.", status=422, param="messages")
    assert (refused.engine_status, refused.param, refused.retryable) == (422, "messages", False)
