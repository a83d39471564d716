"""An installation for Runs and answers: a real database, real services, an engine that follows a script."""

from collections.abc import AsyncIterator, Iterator

import pytest
from factories.tenants import make_principal, make_tenant
from fakes.desk import Desk

from assistants.services import close_runs
from inference.services import create_model
from kernel.backends import backends
from substrate.units import close_units
from tenants.models import Tenant
from tenants.types import Principal, Role


@pytest.fixture
def people(transactional_db: None) -> Iterator[tuple[Tenant, Principal]]:
    """A tenant and an admin of it, and the row of the model that the desk's engine serves."""
    create_model(model_id="tiny")
    tenant = make_tenant()
    yield tenant, make_principal(tenant, role=Role.ADMIN)
    close_units()


@pytest.fixture
async def desk(people: tuple[Tenant, Principal]) -> AsyncIterator[Desk]:
    """This process, with one model `tiny`."""
    made = Desk(*people)
    made.be_process()
    yield made
    await close_runs()
    await backends.close()
