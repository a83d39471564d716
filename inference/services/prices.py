"""Prices that are set ahead: planned, changed or withdrawn by operators until shortly before they come into force."""

import uuid
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from inference import selectors
from inference.models import Model, PriceChange
from inference.pricing import parse_price
from inference.services.engines import hold_price, note_first_price
from inference.types import MAX_PLANNED_PRICES, PLAN_AHEAD_S, PLAN_DAYS, PriceView
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict, NotFound
from substrate.audit import record_act, values_of
from substrate.changes import record_change
from substrate.versions import check_version

_COMPARED = ("input_price_nano", "output_price_nano", "valid_from")


def plan_price(
    *,
    model: str,
    input_price: str | Decimal,
    output_price: str | Decimal,
    valid_from: datetime,
    clock: Clock = SYSTEM_CLOCK,
) -> PriceView:
    """Let the model cost this for calls that are accepted from `valid_from` (aware) on; prices per million tokens.

    Raises NotFound, BadInput for a moment that is not ahead, and Conflict when another price begins at that moment or
    too many are planned.
    """
    with transaction.atomic():
        owner = _model(model)
        _check_ahead(valid_from, clock)
        ahead = PriceChange.objects.filter(model=owner, valid_from__gt=clock.now())
        if ahead.count() >= MAX_PLANNED_PRICES:
            raise Conflict(f"At most {MAX_PLANNED_PRICES} prices of a model are planned.", param="valid_from")
        # What it costs until then is written down too, or the list would begin with a price that nobody has paid.
        hold_price(owner)
        note_first_price(owner, owner.input_price_nano, owner.output_price_nano)
        row = PriceChange(model=owner, valid_from=valid_from)
        _set(row, input_price, output_price)
        _check_free(row)
        row.save(force_insert=True)
        _tell(row, "planned", after=values_of(row, *_COMPARED))
        return selectors.price_views([row])[0]


def change_planned_price(
    *,
    price_id: uuid.UUID,
    input_price: str | Decimal | None = None,
    output_price: str | Decimal | None = None,
    valid_from: datetime | None = None,
    expected: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> PriceView:
    """Change what is not None of a planned price. `expected` is the version seen.

    Raises NotFound, BadInput, Stale, and Conflict when it is in force or about to be.
    """
    with transaction.atomic():
        row = _planned(price_id, expected, clock)
        were = values_of(row, *_COMPARED)
        if valid_from is not None:
            _check_ahead(valid_from, clock)
            row.valid_from = valid_from
        _set(row, input_price, output_price)
        _check_free(row)
        row.save()
        _tell(row, "changed", before=were, after=values_of(row, *_COMPARED))
        return selectors.price_views([row])[0]


def withdraw_price(*, price_id: uuid.UUID, expected: str | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
    """Forget a planned price. Raises NotFound, Stale, and Conflict when it is in force or about to be."""
    with transaction.atomic():
        row = _planned(price_id, expected, clock)
        _tell(row, "withdrawn", before=values_of(row, *_COMPARED))
        row.delete()


def _tell(
    row: PriceChange,
    act: str,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    owner = row.model
    record_change(kind="model", object_id=owner.id)
    record_act(act=act, kind="price", object_id=row.id, label=owner.model_id, before=before, after=after)


def _set(row: PriceChange, input_price: str | Decimal | None, output_price: str | Decimal | None) -> None:
    if input_price is not None:
        row.input_price_nano = parse_price(input_price, param="input_price")
    if output_price is not None:
        row.output_price_nano = parse_price(output_price, param="output_price")


def _check_ahead(moment: datetime, clock: Clock) -> None:
    wait = moment - clock.now()
    if wait < timedelta(seconds=PLAN_AHEAD_S):
        raise BadInput(
            f"A planned price begins at least {PLAN_AHEAD_S} seconds from now.", param="valid_from"
        )
    if wait > timedelta(days=PLAN_DAYS):
        raise BadInput("A planned price begins within five years.", param="valid_from")


def _check_free(row: PriceChange) -> None:
    """The model is locked: two plans for one moment cannot both pass."""
    others = PriceChange.objects.filter(model=row.model, valid_from=row.valid_from).exclude(id=row.id)
    if others.exists():
        raise Conflict("Another price of this model begins at that moment.", param="valid_from")


def _planned(price_id: uuid.UUID, expected: str | None, clock: Clock) -> PriceChange:
    """The planned price, with its model locked: so late that a process may hold it already, it stays as it is."""
    owner = Model.objects.select_for_update().filter(price_changes=price_id).first()
    row = PriceChange.objects.filter(id=price_id, model=owner).first() if owner is not None else None
    if row is None or owner is None:
        raise NotFound("There is no such price.")
    row.model = owner
    check_version(row.updated_at, expected)
    if row.valid_from - clock.now() < timedelta(seconds=PLAN_AHEAD_S):
        raise Conflict("This price is in force, or will be in a moment.")
    return row


def _model(model_id: str) -> Model:
    row = Model.objects.select_for_update().filter(model_id=model_id).first()
    if row is None:
        raise NotFound("There is no such model.", param="model")
    return row
