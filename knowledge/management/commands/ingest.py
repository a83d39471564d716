"""`ingest --tenant SLUG --knowledge-base NAME PATH…`."""

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from knowledge.services import get_document, ingest_paths
from knowledge.types import DocumentState, UpsertOutcome
from substrate.commands import AtriumCommand
from tenants.services import find_tenant, principal_for_jobs
from tenants.types import Principal

POLL_S = 0.5


class Command(AtriumCommand):
    """Hand in files and folders."""

    help = (
        "Put files, and folders with all they hold, into a knowledge base, which is made when it is missing."
    )

    def add_own_arguments(self, parser: CommandParser) -> None:
        """Tenant, base, paths, and whether to wait."""
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument("--tenant", required=True, help="the tenant's slug")
        parser.add_argument("--knowledge-base", required=True, metavar="NAME")
        parser.add_argument("--wait", action="store_true", help="until every document is ready or has failed")
        parser.add_argument(
            "--wait-seconds", type=float, default=3600.0, help="at most this long (default 3600)"
        )

    def act(self, **options: Any) -> dict[str, Any]:
        """Queue the documents; a running worker ingests them."""
        principal = principal_for_jobs(find_tenant(slug=options["tenant"]).id)
        files = ingest_paths(
            principal=principal, knowledge_base=options["knowledge_base"], paths=options["paths"]
        )
        taken = [file.document_id for file in files if file.document_id is not None]
        outcome: dict[str, Any] = {
            each.value: sum(file.outcome is each for file in files) for each in UpsertOutcome
        }
        outcome["skipped"] = [{"path": file.path, "reason": file.reason} for file in files if file.reason]
        if options["wait"]:
            outcome |= _wait(principal, taken, options["wait_seconds"])
        return outcome

    def say(self, outcome: dict[str, Any]) -> str:
        """Counts, then what was left out or failed."""
        lines = [f"{name}: {count}" for name, count in outcome.items() if isinstance(count, int)]
        lines += [f"skipped {each['path']}: {each['reason']}" for each in outcome["skipped"]]
        lines += [f"failed {each['title']}: {each['error']}" for each in outcome.get("failures", [])]
        return "\n".join(lines)


def _wait(principal: Principal, documents: Sequence[uuid.UUID], seconds: float) -> dict[str, Any]:
    """Poll until every document has ended. Raises CommandError when they have not in time."""
    deadline = time.monotonic() + seconds
    open_ones, ready = set(documents), 0
    failures: list[dict[str, str]] = []
    while open_ones:
        for document_id in list(open_ones):
            document = get_document(principal=principal, document_id=document_id)
            if document.state is DocumentState.READY:
                ready += 1
            elif document.state is DocumentState.FAILED:
                failures.append({"title": document.title, "error": document.error or ""})
            else:
                continue
            open_ones.discard(document_id)
        if open_ones and time.monotonic() > deadline:
            raise CommandError(f"{len(open_ones)} documents are still at work; is a worker running?")
        if open_ones:
            time.sleep(POLL_S)
    return {"ready": ready, "failed": len(failures), "failures": failures}
