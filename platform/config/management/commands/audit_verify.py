"""`manage.py audit_verify`: walk the chains of the audit, and name the first bad row of each that is broken."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from substrate.audit_verifying import (
    Anchors,
    VerifiedChain,
    audited_tenants,
    read_anchors,
    verify_platform_acts,
    verify_tenant_acts,
)
from substrate.commands import AtriumCommand
from tenants.services import find_tenant

SHOWN = 20


class Command(AtriumCommand):
    """Verifies every chain, or one tenant's. Ends with an error when one is broken."""

    help = (
        "Walk the audit's chains: nothing changed, left out, added, moved. Exit code 1 names the first bad row. "
        "With --anchors also that no end was cut off: a file of lines that ATRIUM_AUDIT_FORWARD or an export wrote."
    )

    def add_own_arguments(self, parser: CommandParser) -> None:
        """Which chains, and what they are held against."""
        parser.add_argument("--tenant", metavar="SLUG", help="this tenant alone")
        parser.add_argument(
            "--anchors", metavar="FILE", type=Path, help="JSON lines that left the installation"
        )

    def act(self, **options: Any) -> dict[str, Any]:
        """Walk them. Raises CommandError for a broken one, NotFound, for a file that is none."""
        anchors = _anchors(options["anchors"])
        if options["tenant"]:
            found = [verify_tenant_acts(tenant_id=find_tenant(slug=options["tenant"]).id, anchors=anchors)]
        else:
            found = verify_platform_acts(anchors=anchors)
            found += [verify_tenant_acts(tenant_id=each, anchors=anchors) for each in audited_tenants()]
        outcome = {
            "whole": all(each.whole for each in found),
            "chains": len(found),
            "rows": sum(each.rows for each in found),
            "anchors": sum(each.anchors for each in found),
            "bad": [_told(each) for each in found if not each.whole],
        }
        if not outcome["whole"]:
            raise CommandError(json.dumps(outcome) if self._as_json else _said(outcome))
        return outcome

    def handle(self, *args: Any, **options: Any) -> None:
        """As every command; what is broken is told in the form that was asked for."""
        self._as_json: bool = options["as_json"]
        super().handle(*args, **options)

    def say(self, outcome: dict[str, Any]) -> str:
        """One line."""
        held = f", held against {outcome['anchors']} anchors" if outcome["anchors"] else ""
        chains = outcome["chains"]
        said = "1 chain" if chains == 1 else f"{chains} chains"
        return f"Whole: {said}, acts: {outcome['rows']}{held}."


def _anchors(path: Path | None) -> Anchors:
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8") as lines:
            return read_anchors(lines)
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: {error}") from error


def _told(chain: VerifiedChain) -> dict[str, Any]:
    bad = chain.bad
    return {
        "tenant_id": str(chain.tenant_id) if chain.tenant_id else None,
        "chain": str(chain.chain),
        "seq": bad.seq if bad else None,
        "id": str(bad.id) if bad and bad.id else None,
        "reason": bad.reason if bad else "",
    }


def _said(outcome: dict[str, Any]) -> str:
    lines = [
        f"{'tenant ' + each['tenant_id'] if each['tenant_id'] else 'platform ' + each['chain']}: "
        f"act {each['seq'] if each['seq'] is not None else '?'} ({each['id'] or 'no row'}): {each['reason']}"
        for each in outcome["bad"][:SHOWN]
    ]
    more = len(outcome["bad"]) - SHOWN
    return "\n".join([*lines, f"… and {more} more chains"] if more > 0 else lines)
