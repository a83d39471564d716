"""What restoring a backup would do here: told before anything is touched."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.apps import apps
from django.conf import settings
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader

from config.keeping import keyrings
from config.keeping.failures import WrongVersion
from config.keeping.manifest import Head
from config.keeping.taking import applied_migrations
from config.keeping.workplace import atrium_version
from knowledge.services.keeping import incomparable_embedders
from substrate.crossing import system_scope

REASON = "what a restore would replace"
# Operations after which older rows are whole: what they lack has a default, or is no column at all.
_ADDITIVE = (
    operations.AddField,
    operations.CreateModel,
    operations.AddIndex,
    operations.RemoveIndex,
    operations.RenameIndex,
    operations.AddConstraint,
    operations.RemoveConstraint,
    operations.AlterModelOptions,
    operations.AlterModelManagers,
)
_ADDITIVE_BY_NAME = frozenset({"IsolateTenants", "MakeKeywordIndex", "MoreChoices"})
_SHOWN = ("tenants.Tenant", "tenants.User", "knowledge.Document", "assistants.Conversation")


@dataclass(frozen=True, slots=True)
class Plan:
    """`losses` say what will not work afterwards, `remarks` what else there is to know; each is one sentence.

    `replaces` counts rows that are here now, by model. `keyring` is `same`, `given` (put in place with the backup) or
    `other`. `missing` migrations were applied here since the backup was taken.
    """

    head: Head
    keyring: str
    losses: tuple[str, ...]
    remarks: tuple[str, ...]
    replaces: Mapping[str, int]
    unknown_embedders: frozenset[str]
    missing: tuple[str, ...]


def make_plan(head: Head, *, ring: Mapping[int, bytes] | None = None, check_schema: bool = True) -> Plan:
    """What restoring this backup would do, `ring` being the keyring given with it. Raises WrongVersion."""
    missing = _missing_migrations(head) if check_schema else ()
    keyring, losses = _keyring(head, ring)
    unknown = incomparable_embedders(head.embedders)
    return Plan(
        head=head,
        keyring=keyring,
        losses=tuple(losses),
        remarks=tuple(_remarks(head, unknown, missing)),
        replaces=count_rows(),
        unknown_embedders=unknown,
        missing=missing,
    )


def count_rows() -> dict[str, int]:
    """Rows that a restore would replace, by the models that people know."""
    with system_scope(REASON, read_only=True):
        return {label: apps.get_model(label)._base_manager.count() for label in _SHOWN}


def _missing_migrations(head: Head) -> tuple[str, ...]:
    here, there = set(applied_migrations()), set(head.schema)
    unknown = sorted(there - here)
    if unknown:
        raise WrongVersion(
            f"The backup is of a newer schema ({unknown[0]}{_more(unknown)}): upgrade this installation to "
            f"Atrium {head.atrium} or later, run `manage.py migrate`, and restore again."
        )
    missing = sorted(here - there)
    loader = MigrationLoader(None, ignore_no_migrations=True)
    for name in missing:
        label, _, migration = name.partition(".")
        found = loader.disk_migrations.get((label, migration))
        if found is None or not all(_is_additive(each) for each in found.operations):
            raise WrongVersion(
                f"The backup is of an older schema, and {name}{_more(missing)} changed rows since: restore it with "
                f"Atrium {head.atrium}, which made it, and upgrade that installation."
            )
    return tuple(missing)


def _is_additive(operation: object) -> bool:
    return isinstance(operation, _ADDITIVE) or type(operation).__name__ in _ADDITIVE_BY_NAME


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _keyring(head: Head, ring: Mapping[int, bytes] | None) -> tuple[str, list[str]]:
    mine = keyrings.fingerprints()
    if keyrings.covers(mine, head.keyring):
        return "same", []
    if ring is not None and keyrings.covers(keyrings.fingerprints(ring), head.keyring):
        if keyrings.is_ours_to_write():
            return "given", []
        return "given", [
            "The keyring cannot be put in place by this command, for it is in ATRIUM_KEYRING: give every process the "
            "keyring of the backup there and restart, else no API key of the backup works."
        ]
    lost = {version for version, mark in head.keyring.items() if mine.get(version) != mark}
    keys = sum(count for version, count in head.api_keys.items() if version in lost)
    losses = [f"{keys:,} API keys of the backup will not work: this installation has another keyring."]
    if head.sealed:
        names = ", ".join(head.sealed[:3]) + (
            f" and {len(head.sealed) - 3} more" if len(head.sealed) > 3 else ""
        )
        losses.append(
            f"{len(head.sealed):,} stored engine keys cannot be read ({names}): enter them again, or those engines refuse."
        )
    factors = head.other_secrets.get("mfa.Authenticator", 0)
    if factors:
        losses.append(
            f"{factors:,} people's codes of an app and recovery codes cannot be read: an operator resets their second factors, else they cannot sign in."
        )
    providers = head.other_secrets.get("tenants.IdentityProvider", 0)
    if providers:
        losses.append(
            f"{providers:,} identity providers' client secrets cannot be read: enter them again, else nobody signs in by them."
        )
    webhooks = head.other_secrets.get("tenants.Webhook", 0)
    if webhooks:
        losses.append(
            f"{webhooks:,} webhooks' secrets cannot be read: each is switched off at its first event, until it has a new one."
        )
    if ring is not None:
        losses.insert(0, "The keyring given is not the one of the backup.")
    return "other", losses


def _remarks(head: Head, unknown: frozenset[str], missing: tuple[str, ...]) -> list[str]:
    remarks = ["Everything written since the backup is undone."]
    if missing:
        remarks.append(
            f"The backup is {len(missing)} migrations older than this database; what its rows lack gets its default."
        )
    if unknown:
        remarks.append(
            f"Documents embedded by {', '.join(sorted(unknown))} are queued for indexing anew: this installation embeds otherwise."
        )
    if head.incomplete:
        remarks.append(
            f"{head.incomplete:,} documents were being indexed when it was taken; they are indexed anew."
        )
    if head.missing_files:
        remarks.append(
            f"{len(head.missing_files):,} files were deleted while it was taken; their documents can be searched, not read anew."
        )
    if head.profile != settings.ATRIUM.profile:
        remarks.append(f"It is from the profile {head.profile!r}; this is {settings.ATRIUM.profile!r}.")
    if head.atrium != atrium_version():
        remarks.append(f"It was made by Atrium {head.atrium}; this is {atrium_version()}.")
    return remarks
