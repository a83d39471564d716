"""The connection test: what answers at an address, before (or after) it is registered as an engine."""

import uuid

import structlog

from inference import selectors
from inference.naming import guessed_url
from inference.ports import EngineExaminer
from inference.types import EngineReport, ModelKind
from kernel.backends import backends
from kernel.errors import BadInput, Conflict, NotFound
from substrate.bridge import wait_for

log = structlog.get_logger(__name__)


def examine_engine(*, url: str, api_key: str = "", kind: ModelKind | None = None) -> EngineReport:
    """What answers at `url`; `http://` and `/v1` may be missing from it. Not to be called from a coroutine.

    Raises BadInput for what is no address.
    """
    if len(api_key) > 1000 or not api_key.isascii() or not (api_key.isprintable()):
        raise BadInput("An engine's key has up to 1000 printable ASCII characters.", param="api_key")
    meant = guessed_url(url)

    async def examine() -> EngineReport:
        examiner: EngineExaminer = backends["engine_examiner"]
        return await examiner.examine(meant, api_key, kind)

    report = wait_for(examine)
    log.info("engine_examined", url=meant, problem=report.problem, took_ms=report.took_ms)
    return report


def examine_replica(*, replica_id: uuid.UUID) -> EngineReport:
    """What answers at a registered replica, asked with the key that is stored for it. Raises NotFound, Conflict."""
    row = selectors.replicas().filter(id=replica_id).first()
    if row is None:
        raise NotFound("There is no such replica.")
    spec = selectors.replica_spec(row)
    if spec is None:
        raise Conflict("The key that is stored for this engine cannot be read. Set it again.")
    if not spec.url:
        raise Conflict("A built-in engine has no address to test.")
    return examine_engine(url=spec.url, api_key=spec.api_key, kind=ModelKind(row.model.kind))
