"""What the platform says of which model answers: who may say it, for whom it holds, and where it comes from."""

import asyncio
import uuid
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client

from inference.services import create_model, ensure_built_in_models
from routing.choice_directory import ChoiceDirectory
from routing.choice_types import Cascade, Policy, PolicyPart, inherited_parts, with_inherited
from routing.examples import Examples
from routing.selectors import load_policy
from substrate.models import Change
from substrate.ports import ChangeEvent
from tenants.models import Tenant
from tenants.types import Role

PATH, OWN = "/api/v1/routing/default", "/api/v1/routing/policy"
RULE = {"name": "night", "use": "heavy", "from_time": "22:00", "until_time": "06:00"}
SAID: dict[str, Any] = {
    "rules": [RULE],
    "heavy_percent": 20,
    "cascade": {"tokens": 8},
    "examples": {"easy": ["Where is it?"], "hard": ["Weigh both."]},
}


class TestInheriting:
    DEFAULT = Policy(heavy_percent=20, cascade=Cascade(), examples=Examples(("a",), ("b",)))

    def test_what_a_tenant_does_not_say_is_as_the_platform_says(self) -> None:
        own = Policy(heavy_percent=0)
        assert inherited_parts(own, self.DEFAULT) == (PolicyPart.CASCADE, PolicyPart.EXAMPLES)
        found = with_inherited(own, self.DEFAULT)
        assert (found.heavy_percent, found.cascade, found.examples) == (
            0,
            Cascade(),
            self.DEFAULT.examples,
        )

    def test_what_it_declines_is_not(self) -> None:
        own = Policy(declines=tuple(PolicyPart))
        assert inherited_parts(own, self.DEFAULT) == ()
        assert with_inherited(own, self.DEFAULT) == own

    def test_parts_are_fields(self) -> None:
        assert {part.value for part in PolicyPart} <= set(Policy.__struct_fields__)


@pytest.fixture
def tenant(transactional_db: None) -> Tenant:
    ensure_built_in_models()
    create_model(model_id="one")
    return make_tenant()


@pytest.fixture
def operator(tenant: Tenant) -> Client:
    return session_client(make_membership(tenant, make_user(is_operator=True), role=Role.OWNER))


def put(client: Client, body: dict[str, object], path: str = PATH, version: str = "") -> tuple[int, Any]:
    headers = {"If-Match": version} if version else {}
    answer = client.put(path, body, content_type="application/json", headers=headers)
    return answer.status_code, answer.json()


def test_it_is_set_read_and_holds_for_who_says_nothing(operator: Client, tenant: Tenant) -> None:
    before = operator.get(PATH).json()
    assert (before["rules"], before["heavy_percent"], before["updated_at"]) == ([], None, None)
    status, shown = put(operator, SAID, version=before["version"])
    assert status == 200, shown
    assert (shown["heavy_percent"], shown["examples_in_use"]) == (20, True)
    assert Change.objects.filter(kind="choice_default").count() == 1
    other = make_tenant()
    found = load_policy(other.id)
    assert found is not None
    assert (found.policy.heavy_percent, found.policy.rules[0].name) == (20, "night")
    assert set(found.inherited) == set(PolicyPart)
    assert found.bank is not None
    # Its administrators see it, and whose it is.
    seen = key_client(other, role=Role.ADMIN).get(OWN).json()
    assert (seen["heavy_percent"], seen["platform"]["heavy_percent"]) == (None, 20)
    assert seen["examples_in_use"] is True
    # Who has seen an older one is told.
    assert put(operator, {"heavy_percent": 1}, version=before["version"])[0] == 412
    assert put(operator, {})[0] == 200
    assert load_policy(other.id) is None


def test_a_tenant_overrides_or_declines_a_part(operator: Client, tenant: Tenant) -> None:
    assert put(operator, SAID)[0] == 200
    admin = key_client(tenant, role=Role.ADMIN)
    assert put(admin, {"heavy_percent": 70, "declines": ["rules"]}, OWN)[0] == 200
    found = load_policy(tenant.id)
    assert found is not None
    assert (found.policy.heavy_percent, found.policy.rules) == (70, ())
    assert set(found.inherited) == {PolicyPart.CASCADE, PolicyPart.EXAMPLES}
    assert put(admin, {"declines": ["chains"]}, OWN)[0] == 400
    assert put(admin, {"declines": ["rules", "rules"]}, OWN)[0] == 400


def test_operators_alone_may(operator: Client, tenant: Tenant) -> None:
    for role in (Role.OWNER, Role.ADMIN, Role.MEMBER):
        client = key_client(tenant, role=role)
        assert (client.get(PATH).status_code, put(client, SAID)[0]) == (403, 403)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"chains": []}, "Unknown field"),
        ({"declines": ["rules"]}, "Unknown field"),
        ({"rules": [{**RULE, "groups": [str(uuid.UUID(int=1))]}]}, "no groups and no assistants"),
        ({"rules": [{**RULE, "assistants": ["desk"]}]}, "no groups and no assistants"),
        ({"rules": [{"name": "r", "use": "models", "models": ["nobody"]}]}, "nobody"),
        ({"examples": {"hard": ["a"]}}, "both kinds"),
    ],
)
def test_what_is_refused(operator: Client, body: dict[str, object], words: str) -> None:
    status, shown = put(operator, body)
    assert status == 400
    assert words in str(shown)


def test_directories_hear_of_it(operator: Client, tenant: Tenant) -> None:
    async def follow() -> None:
        directory = ChoiceDirectory()
        await directory.start()
        assert not directory.has(tenant.id)
        await asyncio.to_thread(put, operator, {"heavy_percent": 20})
        directory.on_change(ChangeEvent(1, "choice_default", None, uuid.UUID(int=1)))
        found = await directory.find(tenant.id)
        assert found is not None
        assert found.policy.heavy_percent == 20
        again = ChoiceDirectory()
        await again.start()
        assert again.has(tenant.id)

    asyncio.run(follow())
