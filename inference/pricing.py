"""Prices: told per million tokens as decimal text, kept as whole nano-units per token. Pure, without floats."""

from decimal import Decimal, InvalidOperation

from inference.types import MAX_PRICE_NANO, TokenUsage
from kernel.errors import BadInput

# Price per million tokens × 1e9 nano-units per unit ÷ 1e6 tokens.
NANO_PER_PRICE = 1000


def parse_price(price: str | Decimal | int, *, param: str) -> int:
    """Nano-units per token of a price per million tokens.

    Raises BadInput when it is not a number ≥ 0 with at most three decimals: what is finer could not be kept exactly.
    """
    try:
        nano = Decimal(price) * NANO_PER_PRICE
    except (InvalidOperation, ValueError) as error:
        raise BadInput(f"{param} is not a decimal number.", param=param) from error
    if not nano.is_finite() or not 0 <= nano <= MAX_PRICE_NANO or nano != nano.to_integral_value():
        raise BadInput(
            f"{param} is a number from 0 up, per million tokens, with at most 3 decimals.", param=param
        )
    return int(nano)


def show_price(nano: int) -> str:
    """The price per million tokens as decimal text without trailing zeros."""
    text = f"{Decimal(nano) / NANO_PER_PRICE:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def cost(usage: TokenUsage, *, input_price_nano: int, output_price_nano: int) -> int:
    """What a call cost, in nano-units."""
    return usage.prompt_tokens * input_price_nano + usage.completion_tokens * output_price_nano


def part_of(cost_nano: int, percent: int) -> int:
    """So many percent of a cost, in nano-units, rounded up: nothing that has a price is given for less."""
    return -(-cost_nano * percent // 100)
