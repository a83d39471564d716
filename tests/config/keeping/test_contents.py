"""Every model is kept, or on the reviewed list with its reason; and rows come in an order that the database takes."""

import pytest
from django.apps import apps

from config.keeping.contents import (
    ADDED_TO,
    FOREIGN_KEPT,
    LEFT_OUT,
    OURS,
    Fate,
    all_models,
    emptied_models,
    kept_models,
)


def labels(models: list[type]) -> set[str]:
    return {model._meta.label for model in models}  # type: ignore[attr-defined]  # models


def test_every_model_is_kept_or_left_out_for_a_reason() -> None:
    there = labels(all_models())
    undecided = there - labels(kept_models()) - set(LEFT_OUT)
    assert undecided == set(), "say in config.keeping.contents what a backup does with these"
    assert set(LEFT_OUT) | FOREIGN_KEPT | ADDED_TO <= there
    assert all(len(reason) > 20 for _, reason in LEFT_OUT.values())


def test_models_of_ours_are_kept_unless_listed() -> None:
    ours = {label for label in labels(all_models()) if label.partition(".")[0] in OURS}
    assert ours - set(LEFT_OUT) <= labels(kept_models())
    assert {"tenants.User", "tenants.ApiKey", "tenants.UsageRecord", "assistants.Message"} <= labels(
        kept_models()
    )


@pytest.mark.parametrize("secret", ["sessions.Session", "substrate.IdempotencyRecord", "substrate.Change"])
def test_nothing_transient_is_in_a_backup(secret: str) -> None:
    assert secret not in labels(kept_models())


def test_rows_come_after_what_they_refer_to_and_go_before_it() -> None:
    places = {model._meta.label: place for place, model in enumerate(kept_models())}
    gone = {model._meta.label: place for place, model in enumerate(emptied_models())}
    for model in all_models():
        for field in model._meta.concrete_fields:
            target = getattr(field.remote_field, "model", None) if field.remote_field else None
            if target is None or target is model:
                continue
            mine, theirs = model._meta.label, target._meta.label
            if mine in places:
                assert places[theirs] < places[mine]
            if mine in gone and theirs in gone:
                assert gone[mine] < gone[theirs]


def test_what_is_emptied_leaves_nothing_that_refers_to_it() -> None:
    """A row that stays must not refer to one that goes."""
    gone = labels(emptied_models())
    for model in all_models():
        if model._meta.label in gone:
            continue
        targets = {
            field.remote_field.model._meta.label
            for field in model._meta.concrete_fields
            if field.remote_field
        }
        assert targets & gone == set(), model._meta.label


def test_what_stays_is_not_emptied() -> None:
    stays = {label for label, (fate, _) in LEFT_OUT.items() if fate is Fate.STAYS}
    assert stays & labels(emptied_models()) == set()
    assert labels(emptied_models()) & ADDED_TO == set()
    assert apps.get_model("sessions.Session") not in emptied_models()
