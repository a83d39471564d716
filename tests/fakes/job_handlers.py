"""Handlers of jobs for tests: what a handler does is told by the job's payload."""

import asyncio

from kernel.context import RequestContext, current_request
from kernel.errors import BadInput, Unavailable
from substrate.jobs import ClaimedJob

ran: list[ClaimedJob] = []
given_up: list[tuple[ClaimedJob, str]] = []
contexts: list[RequestContext | None] = []
ended: list[str] = []


def forget() -> None:
    """Forget what was seen."""
    for seen in (ran, given_up, contexts, ended):
        seen.clear()


async def run(job: ClaimedJob) -> None:
    """Do what `payload["act"]` says: nothing, fail in one of three ways, or last for ever."""
    ran.append(job)
    contexts.append(current_request())
    act = job.payload.get("act")
    if act == "refuse":
        raise BadInput("The document is encrypted.")
    if act == "away":
        raise Unavailable("The vector store is away.")
    if act == "crash":
        raise RuntimeError("a bug with a secret path")
    if act == "endless":
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(str(job.id))


async def give_up(job: ClaimedJob, reason: str) -> None:
    """Remember the reason; fail when the payload says so."""
    given_up.append((job, reason))
    if job.payload.get("give_up") == "crash":
        raise RuntimeError("giving up failed")
