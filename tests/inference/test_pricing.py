"""Prices without rounding, and the names that models, pools and engines may have."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.naming import check_model_id, check_pool_name, check_region, check_served_name, normal_url
from inference.pricing import cost, parse_price, show_price
from inference.types import TokenUsage
from kernel.errors import BadInput


@given(st.integers(min_value=0, max_value=10**12))
def test_prices_come_back_as_they_were_told(nano: int) -> None:
    assert parse_price(show_price(nano), param="p") == nano


@pytest.mark.parametrize(
    ("told", "nano"), [("0.15", 150), ("10", 10_000), ("0.001", 1), (Decimal("2.50"), 2500), ("0", 0)]
)
def test_prices_per_million_are_nano_units_per_token(told: str | Decimal, nano: int) -> None:
    assert parse_price(told, param="p") == nano


@pytest.mark.parametrize("told", ["0.0001", "-1", "free", "", "NaN", "Infinity", "1e30", "0x10"])
def test_prices_that_cannot_be_kept_are_refused(told: str) -> None:
    with pytest.raises(BadInput):
        parse_price(told, param="p")


def test_a_million_tokens_cost_the_price() -> None:
    usage = TokenUsage(1_000_000, 2_000_000)
    nano = cost(
        usage,
        input_price_nano=parse_price("0.15", param="p"),
        output_price_nano=parse_price("0.6", param="p"),
    )
    assert nano == 1_350_000_000


@pytest.mark.parametrize("name", ["tiny", "org/Model-7B", "a", "x" * 200, "m:latest", "vllm/a@b+c"])
def test_model_ids_that_are_fine(name: str) -> None:
    assert check_model_id(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "auto",
        "assistant/x",
        "atrium-extractive",
        "x" * 201,
        "/a",
        "a b",
        "a\n",
        "ä",
        "a\x00",
        "a\r\nx-evil: 1",
    ],
)
def test_model_ids_that_are_not(name: str) -> None:
    with pytest.raises(BadInput):
        check_model_id(name)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 101, "atrium-embedding", "a\n"])
def test_pool_names_that_are_not_fine(name: str) -> None:
    with pytest.raises(BadInput):
        check_pool_name(name)


def test_regions_and_served_names() -> None:
    assert check_region("") == ""
    assert check_served_name("./tiny model") == "./tiny model"
    for bad in ("eu west", "x" * 65, "a\n"):
        with pytest.raises(BadInput):
            check_region(bad)
    for bad in ("", "x" * 201, "a\nb"):
        with pytest.raises(BadInput):
            check_served_name(bad)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("http://127.0.0.1:8101/v1", "http://127.0.0.1:8101/v1"),
        (" https://engine.internal/v1/ ", "https://engine.internal/v1"),
        ("http://[::1]:8000/openai/v1", "http://[::1]:8000/openai/v1"),
    ],
)
def test_engine_addresses(told: str, kept: str) -> None:
    assert normal_url(told) == kept


@pytest.mark.parametrize(
    "told",
    [
        "",
        "127.0.0.1:8101/v1",
        "ftp://host/v1",
        "file:///v1",
        "http:///v1",
        "http://host",
        "http://host/v2",
        "http://user:pw@host/v1",
        "http://host/v1?x=1",
        "http://host/v1#x",
        "http://host:99999/v1",
        "http://[::1/v1",
        "http://ho st/v1",
        "http://host\n/v1",
        "http://" + "h" * 600 + "/v1",
    ],
)
def test_engine_addresses_that_are_none(told: str) -> None:
    with pytest.raises(BadInput):
        normal_url(told)
