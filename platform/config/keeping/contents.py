"""Which rows a backup holds. Every model is kept, or stands here with the reason why not; a test holds it."""

from collections.abc import Iterable
from enum import StrEnum
from graphlib import TopologicalSorter

from django.apps import apps
from django.db.models import Model

OURS = (
    "substrate",
    "tenants",
    "inference",
    "routing",
    "knowledge",
    "assistants",
    "console",
    "gateway",
    "config",
)


class Fate(StrEnum):
    """What becomes of a model's rows that are not in a backup, when one is restored."""

    STAYS = "stays"
    IS_EMPTIED = "is emptied"
    IS_ADDED_TO = "is added to"


# Models of other packages whose rows are truth of ours.
FOREIGN_KEPT = frozenset({"account.EmailAddress", "mfa.Authenticator"})

# Not in a backup, each with what a restore does to the rows there are and why.
LEFT_OUT: dict[str, tuple[Fate, str]] = {
    "sessions.Session": (Fate.STAYS, "not used: sessions are rows of tenants"),
    "tenants.Session": (
        Fate.STAYS,
        "secrets of signed-in browsers; a session dies by itself when its user or password is another one",
    ),
    "contenttypes.ContentType": (Fate.STAYS, "made by migrations, numbered anew in each installation"),
    "auth.Permission": (Fate.STAYS, "made by migrations; rights come from memberships"),
    "auth.Group": (Fate.STAYS, "not used: rights come from memberships"),
    "auth.Group_permissions": (Fate.STAYS, "not used: rights come from memberships"),
    "admin.LogEntry": (
        Fate.IS_EMPTIED,
        "refers to content types by number; the acts of `substrate.audit` are the record",
    ),
    "account.EmailConfirmation": (Fate.IS_EMPTIED, "links sent by mail that are valid for days"),
    "substrate.Change": (Fate.STAYS, "tells running processes of edits; an hour old at most"),
    "substrate.ServerProcess": (Fate.STAYS, "processes that run now, each of which says so again"),
    "substrate.Job": (
        Fate.IS_EMPTIED,
        "queued work of one moment; a restore queues anew what restored documents wait for",
    ),
    "substrate.IdempotencyRecord": (
        Fate.IS_EMPTIED,
        "answers kept for a day for callers who repeat themselves",
    ),
    "tenants.RequestTrace": (
        Fate.IS_EMPTIED,
        "ways of requests through the house, kept for days to look things up",
    ),
    "tenants.TenantExport": (
        Fate.IS_EMPTIED,
        "archives that can be downloaded for three days; their files are in no backup",
    ),
    "knowledge.ChunkVector": (
        Fate.IS_EMPTIED,
        "points of the vector store, which a backup holds in a form that every store takes",
    ),
}
# Kept, and on a restore added to what is there: what was done since the backup stays on record.
ADDED_TO = frozenset({"substrate.PlatformAct", "substrate.PlatformChain"})


def all_models() -> list[type[Model]]:
    """Every model with a table of its own."""
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    ]


def kept_models() -> list[type[Model]]:
    """Models whose rows a backup holds: what is referred to before what refers."""
    return _in_order(
        model
        for model in all_models()
        if model._meta.label not in LEFT_OUT
        and (model._meta.app_label in OURS or model._meta.label in FOREIGN_KEPT)
    )


def emptied_models() -> list[type[Model]]:
    """Models whose rows a restore deletes: what refers before what is referred to."""
    gone = {label for label, (fate, _) in LEFT_OUT.items() if fate is Fate.IS_EMPTIED}
    kept = {model._meta.label for model in kept_models()} - ADDED_TO
    return _in_order(model for model in all_models() if model._meta.label in gone | kept)[::-1]


def _in_order(models: Iterable[type[Model]]) -> list[type[Model]]:
    chosen = sorted(models, key=lambda model: model._meta.label)
    graph = {model: _referred_to(model) & set(chosen) - {model} for model in chosen}
    return list(TopologicalSorter(graph).static_order())


def _referred_to(model: type[Model]) -> set[type[Model]]:
    return {
        field.remote_field.model
        for field in model._meta.concrete_fields
        if field.remote_field is not None and isinstance(field.remote_field.model, type)
    }
