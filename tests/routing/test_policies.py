"""A tenant's policy over REST: who may set it, what is refused and why, and how the change is told."""

import asyncio
import uuid
from typing import Any

import msgspec
import pytest
from django.test import Client
from factories.tenants import key_client, make_tenant

from inference.services import create_model, ensure_built_in_models
from routing.choice_directory import ChoiceDirectory
from routing.choice_types import Cascade, Policy, Shadow, read_policy, read_stored
from routing.models import ChoicePolicy
from routing.selectors import load_policy, policy_of, tenants_with_policy
from substrate.models import Change, TenantAct
from substrate.ports import ChangeEvent
from substrate.scoping import tenant_scope
from tenants.models import Tenant
from tenants.types import Role

PATH = "/api/v1/routing/policy"
RULE = {"name": "night", "use": "heavy", "from_time": "22:00", "until_time": "06:00"}
KEY = "01890000-0000-7000-8000-000000000001"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant() -> Tenant:
    ensure_built_in_models()
    create_model(model_id="one")
    create_model(model_id="two")
    return make_tenant()


def put(client: Client, body: dict[str, object], version: str = "") -> tuple[int, dict[str, object]]:
    headers = {"If-Match": version} if version else {}
    answer = client.put(PATH, body, content_type="application/json", headers=headers)
    return answer.status_code, answer.json()


def test_it_is_set_read_and_recorded(tenant: Tenant) -> None:
    admin = key_client(tenant, role=Role.ADMIN)
    before = admin.get(PATH).json()
    assert (before["rules"], before["heavy_percent"], before["updated_at"]) == ([], None, None)
    body = {
        "rules": [RULE],
        "heavy_percent": 30,
        "chains": [{"model": "one", "then": ["two"]}],
        "canaries": [{"model": "one", "to": "two", "percent": 5}],
        "cascade": {"escalate_percent": 20},
    }
    status, shown = put(admin, body, before["version"])
    assert status == 200, shown
    assert shown["rules"][0]["until_time"] == "06:00"  # type: ignore[index]
    assert admin.get(PATH).json() == shown
    assert Change.objects.filter(kind="choice_policy", tenant_id=tenant.id).count() == 1
    with tenant_scope(tenant.id):
        (act,) = TenantAct.objects.filter(kind="choice_policy")
    assert '"heavy_percent":30' in act.after.replace(" ", "")
    assert shown["cascade"] == {"tokens": 16, "below_percent": 50, "escalate_percent": 20}
    found = load_policy(tenant.id)
    assert found is not None
    assert found.policy.cascade == Cascade(escalate_percent=20)
    assert found.policy.chain_of("one") == ("two",)
    assert tenants_with_policy() == {tenant.id}
    # Who has seen an older one is told.
    assert put(admin, {"heavy_percent": 1}, before["version"])[0] == 412
    assert put(admin, {}, str(shown["version"]))[0] == 200
    assert load_policy(tenant.id) is None


def test_who_may(tenant: Tenant) -> None:
    for role in (Role.MEMBER, Role.VIEWER):
        client = key_client(tenant, role=role)
        assert (put(client, {})[0], client.get(PATH).status_code) == (403, 403)
    stranger = key_client(make_tenant(), role=Role.OWNER)
    assert put(key_client(tenant, role=Role.ADMIN), {"heavy_percent": 12})[0] == 200
    assert stranger.get(PATH).json()["heavy_percent"] is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"unknown": 1}, "Unknown field"),
        ({"heavy_percent": 101}, "100"),
        ({"rules": [{**RULE, "use": "cheap"}]}, "cheap"),
        ({"rules": [{**RULE, "from_time": "24:00"}]}, ""),
        ({"rules": [{**RULE, "until_time": "22:00"}]}, "begins when it ends"),
        ({"rules": [RULE, RULE]}, "twice: night"),
        ({"rules": [{"name": "r", "use": "models"}]}, "names models, or says light or heavy"),
        (
            {"rules": [{"name": "r", "use": "heavy", "models": ["one"]}]},
            "names models, or says light or heavy",
        ),
        ({"rules": [{"name": "r", "use": "models", "models": ["one", "one"]}]}, "twice"),
        ({"rules": [{"name": "r", "use": "models", "models": ["nobody"]}]}, "nobody"),
        ({"rules": [{"name": "r", "use": "light", "min_tokens": 9, "max_tokens": 8}]}, "longest"),
        ({"rules": [{"name": "r", "use": "light", "groups": ["sales"]}]}, "ids"),
        ({"rules": [{"name": "r\u0000", "use": "light"}]}, ""),
        ({"chains": [{"model": "one", "then": ["one"]}]}, "once"),
        ({"chains": [{"model": "one", "then": []}]}, ""),
        ({"canaries": [{"model": "one", "to": "one", "percent": 5}]}, "another model"),
        ({"canaries": [{"model": "one", "to": "two", "percent": 0}]}, ""),
        ({"auto_models": ["atrium-embedding"]}, "embedding"),
        (
            {"shadows": [{"model": "one", "to": "one", "percent": 5}]},
            "another model than the one that answered",
        ),
        ({"shadows": [{"model": "one", "to": "two", "percent": 101}]}, "100"),
        ({"shadows": [{"model": "one", "to": "nobody", "percent": 1}]}, "nobody"),
        ({"shadows": [{"model": "one", "to": "two", "percent": 1}] * 2}, "twice: one"),
        ({"shadows": [{"model": "one", "to": "atrium-embedding", "percent": 1}]}, "embedding"),
        ({"cascade": {"tokens": 65}}, "64"),
        ({"cascade": {"tokens": 3}}, "4"),
        ({"cascade": {"escalate_percent": 0}}, "1"),
        ({"cascade": {"below_percent": 100}}, "99"),
        ({"caching": {"use": "sometimes"}}, "sometimes"),
        ({"caching": {"keys": [{"key": "atr_x", "use": "never"}]}}, "ids"),
        ({"caching": {"keys": [{"key": KEY, "use": "never"}, {"key": KEY, "use": "asked"}]}}, "twice"),
    ],
)
def test_what_makes_no_sense_is_refused(tenant: Tenant, body: dict[str, object], words: str) -> None:
    status, shown = put(key_client(tenant, role=Role.ADMIN), body)
    assert status == 400
    assert words in str(shown)
    assert load_policy(tenant.id) is None


def test_a_draft_is_tried_and_not_kept(tenant: Tenant) -> None:
    admin = key_client(tenant, role=Role.ADMIN)
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": "Where is Lima?"}],
        "at": "2026-11-28T23:00:00Z",
        "policy": {"rules": [{**RULE, "use": "light"}, {"name": "rest", "use": "light"}]},
    }
    answer = admin.post("/api/v1/routing/explain", body, content_type="application/json")
    assert answer.status_code == 200, answer.content
    assert answer.json()["choice"]["rule"] == "night"
    at_noon = admin.post(
        "/api/v1/routing/explain", body | {"at": "2026-11-28T12:00:00Z"}, content_type="application/json"
    ).json()
    assert at_noon["choice"]["rule"] == "rest"
    assert at_noon["choice"]["passed"] == [{"rule": "night", "why": "time"}]
    assert load_policy(tenant.id) is None
    bad = body | {"policy": {"rules": [{"name": "r", "use": "models", "models": ["nobody"]}]}}
    assert admin.post("/api/v1/routing/explain", bad, content_type="application/json").status_code == 400


def test_what_no_version_can_read_says_nothing(tenant: Tenant) -> None:
    with tenant_scope(tenant.id):
        ChoicePolicy.objects.create(tenant=tenant, document={"rules": "all"})
    assert policy_of({"rules": "all"}, tenant.id) == Policy()
    assert load_policy(tenant.id) is None
    assert key_client(tenant, role=Role.ADMIN).get(PATH).json()["rules"] == []


def test_copies_of_calls_are_set_and_left_out_while_there_are_none(tenant: Tenant) -> None:
    admin = key_client(tenant, role=Role.ADMIN)
    shadows = [{"model": "one", "to": "two", "percent": 100}]
    assert put(admin, {"shadows": shadows})[1]["shadows"] == shadows
    found = load_policy(tenant.id)
    assert found is not None
    assert found.policy.shadows == (Shadow("one", "two", 100),)
    # Versions that know nothing of them refuse the word.
    assert put(admin, {"heavy_percent": 3})[1]["shadows"] == []
    with tenant_scope(tenant.id):
        assert "shadows" not in ChoicePolicy.objects.get().document


class TestAPolicyOfALaterVersion:
    """What this version does not know is left out, and the rest holds."""

    def test_unknown_parts_are_left_out(self) -> None:
        known = {"heavy_percent": 30, "cascade": {"tokens": 8}, "canaries": []}
        later = {**known, "invented": [1], "cascade": {"tokens": 8, "invented": True}}
        assert read_stored(later) == read_policy(known)

    def test_an_entry_with_a_condition_that_is_not_known_does_not_hold_for_more(self) -> None:
        rules = [{**RULE, "moon": "full"}, RULE]
        assert read_stored({"rules": rules}) == read_policy({"rules": [RULE]})
        shadow = {"model": "one", "to": "two", "percent": 1}
        assert read_stored({"shadows": [{**shadow, "until": "2027"}]}) == Policy()

    def test_what_is_said_now_is_read_strictly(self) -> None:
        with pytest.raises(msgspec.ValidationError):
            read_policy({"invented": 1})
        with pytest.raises(msgspec.ValidationError):
            read_stored({"rules": [3]})


def test_the_data_plane_hears_of_a_change(tenant: Tenant) -> None:
    async def seen() -> list[int | None]:
        directory = ChoiceDirectory()
        await directory.start()
        found = [await percent_of(directory)]
        await asyncio.to_thread(put, key, {"heavy_percent": 30})
        found.append(await percent_of(directory))
        directory.on_change(ChangeEvent(1, "choice_policy", tenant.id, "x"))
        found.append(await percent_of(directory))
        return found

    async def percent_of(directory: ChoiceDirectory) -> int | None:
        policy = await directory.find(tenant.id)
        return policy.policy.heavy_percent if policy is not None else None

    key = key_client(tenant, role=Role.ADMIN)
    assert asyncio.run(seen()) == [None, None, 30]
    assert ChoiceDirectory().has(uuid.uuid4()) is False


def test_what_becomes_of_kept_answers_is_told_with_who_said_it(tenant: Tenant) -> None:
    admin = key_client(tenant, role=Role.ADMIN)
    ask = {"model": "auto", "messages": [{"role": "user", "content": "Where is Lima?"}]}

    def told(**fields: object) -> dict[str, str]:
        answer = admin.post("/api/v1/routing/explain", {**ask, **fields}, content_type="application/json")
        found: dict[str, str] = answer.json()["caching"]
        return found

    assert told() == {"use": "asked", "said_by": "nobody"}
    policy = {"caching": {"use": "never", "keys": [{"key": KEY, "use": "always"}]}}
    assert told(policy=policy) == {"use": "never", "said_by": "tenant"}
    assert told(policy=policy, api_key=KEY) == {"use": "always", "said_by": "key"}
    assert put(admin, policy)[1]["caching"] == policy["caching"]


def test_rules_alone_are_replaced_and_the_rest_stays(tenant: Tenant) -> None:
    admin = key_client(tenant, role=Role.ADMIN)
    put(admin, {"rules": [RULE], "heavy_percent": 30})
    found = admin.get("/api/v1/routing/rules")
    assert [each["name"] for each in found.json()["rules"]] == ["night"]
    rules = [{"name": "day", "use": "light"}, RULE]

    def replace(body: object, version: str) -> Any:
        headers = {"If-Match": version}
        return admin.put("/api/v1/routing/rules", body, content_type="application/json", headers=headers)

    done = replace({"rules": rules}, found["ETag"])
    assert done.status_code == 200, done.content
    assert [each["name"] for each in done.json()["rules"]] == ["day", "night"]
    assert admin.get(PATH).json()["heavy_percent"] == 30
    assert replace({"rules": []}, found["ETag"]).status_code == 412
    assert replace({"rules": rules, "heavy_percent": 1}, done["ETag"]).status_code == 400
    assert key_client(tenant, role=Role.MEMBER).get("/api/v1/routing/rules").status_code == 403
