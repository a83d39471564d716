"""`GET /v1/models`: every id that the caller may put in `model`, with its kind."""

from typing import Any

import orjson

from gateway.chat import ASSISTANT_PREFIX
from gateway.doors import Doors
from gateway.exchange import Exchange
from inference.types import ModelKind, ModelSpec
from kernel.errors import ModelNotFound
from tenants.types import Principal

AUTO = "auto"
MODELS_PATH = "/v1/models"


async def answer_models(exchange: Exchange, doors: Doors, principal: Principal) -> None:
    """List the models and the tenant's assistants, or show the one named by the rest of the path."""
    entries = await usable_models(doors, principal)
    wanted = exchange.path.removeprefix(MODELS_PATH).strip("/")
    if not wanted:
        await exchange.answer(200, orjson.dumps({"object": "list", "data": entries}), [])
        return
    found = next((entry for entry in entries if entry["id"] == wanted), None)
    if found is None:
        raise ModelNotFound(f"The model `{wanted}` does not exist.", param="model")
    await exchange.answer(200, orjson.dumps(found), [])


async def usable_models(doors: Doors, principal: Principal) -> list[dict[str, Any]]:
    """Entries for `auto`, the models that the tenant may use, and the assistants of the caller's tenant."""
    models = [_model_entry(spec) for spec in doors.list_models(principal)]
    assistants = [
        _entry(
            ASSISTANT_PREFIX + assistant.slug,
            "assistant",
            0,
            owner=principal.tenant_slug,
        )
        for assistant in await doors.list_assistants(principal)
    ]
    return [_entry(AUTO, ModelKind.CHAT.value, 0), *models, *assistants]


def _model_entry(spec: ModelSpec) -> dict[str, Any]:
    entry = _entry(spec.id, spec.kind.value, spec.created)
    if spec.context_length:
        # The name that vLLM itself gives it, which clients of vLLM look for.
        entry["max_model_len"] = spec.context_length
    return entry


def _entry(model_id: str, kind: str, created: int, *, owner: str = "atrium") -> dict[str, Any]:
    return {
        "id": model_id,
        "object": "model",
        "created": created,
        "owned_by": owner,
        "kind": kind,
    }
