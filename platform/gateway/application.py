"""The ASGI application of `/v1`, over the real services. `config.asgi` sends requests here before Django."""

from collections.abc import Sequence

from assistants.services import answer, list_assistants
from assistants.types import AssistantView
from gateway.doors import Doors
from gateway.front import Gateway
from inference.types import ModelSpec
from routing.services import dispatch, embed, usable_models
from substrate.units import run_unit
from tenants.services import authenticate_key, refuse_key_in_address, require, until_refused
from tenants.types import Principal


async def _assistants_of(principal: Principal) -> Sequence[AssistantView]:
    return await run_unit(list_assistants, principal=principal)


def _models_of(principal: Principal) -> Sequence[ModelSpec]:
    return usable_models(tenant_id=principal.tenant_id, closed=principal.closed, region=principal.region)


application = Gateway(
    Doors(
        authenticate=authenticate_key,
        require=require,
        until_refused=until_refused,
        dispatch=dispatch,
        embed=embed,
        answer=answer,
        list_models=_models_of,
        list_assistants=_assistants_of,
        refuse_key_in_address=refuse_key_in_address,
    )
)
