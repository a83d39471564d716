"""Vectors of texts: a model call like any other, in the same queue and under the same limits."""

from inference import services as inference
from inference.types import Embeddings
from routing.services.accounts import Account
from routing.services.placing import admit, place
from routing.types import ModelCall, RoutingDecision
from tenants.types import UsageState


async def embed(call: ModelCall) -> tuple[Embeddings, RoutingDecision]:
    """One vector for each entry of `body["input"]`, and where they were made. Raises as `dispatch`."""
    account = Account(call)
    try:
        candidates = await admit(call, account.progress)
        # Vectors have no first token: their times, of a whole document's chunks often, would stand among answers'.
        placed = await place(call, inference.embed, account.progress, candidates)
        account.usage = placed.begun.usage
        await account.settle(UsageState.COMPLETED)
    except BaseException as error:
        await account.settle_broken(error)
        raise
    _note_question(call, placed.begun, account)
    return placed.begun, placed.decision


def _note_question(call: ModelCall, made: Embeddings, account: Account) -> None:
    """Keep the vector of one text alone: a question, which may be asked of a model next."""
    texts = call.body["input"]
    if (
        isinstance(texts, list)
        and len(texts) == 1
        and isinstance(texts[0], str)
        and call.origin != "ingestion"
    ):
        account.progress.memory.asked.note(call.principal.tenant_id, call.model, texts[0], made.vectors[0])
