"""Three tenants lead their lives side by side: after any history each has what it did itself, and nothing else.

A state machine over the REST API, the door of keys and the ledger. Whatever one tenant does, lists and sums of every
tenant are those of a plain model, ids of others are unknown, and their keys open nothing.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_tenant
from factories.usage import make_entry
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tenants.models import Tenant
from tenants.services import store_usage
from tenants.types import Role

TENANTS = 3
EXAMPLES, STEPS = 40, 60
WHO = st.integers(0, TENANTS - 1)
WORDS = st.sampled_from(["Reports", "Law", "Ärzte", "x"])


@dataclass
class Life:
    """What a tenant should have, by what it did."""

    tenant: Tenant
    client: Client
    things: dict[str, dict[str, str]] = field(
        default_factory=lambda: {kind: {} for kind in ("api-keys", "assistants", "knowledge-bases", "groups")}
    )
    calls: int = 0
    tokens: int = 0
    own_keys: int = 1


@dataclass(frozen=True)
class Made:
    """Something that tenant number `who` made; `ident` is its id in addresses."""

    who: int
    kind: str
    ident: str
    secret: str = ""


class Tenants(RuleBasedStateMachine):
    """Rules are what people of a tenant do; invariants are what nobody may notice of it elsewhere."""

    made = Bundle("made")
    steps_taken = 0

    @initialize()
    def begin(self) -> None:
        self.lives = []
        for _ in range(TENANTS):
            tenant = make_tenant(f"t-{uuid.uuid4().hex}")
            self.lives.append(Life(tenant, key_client(tenant, role=Role.OWNER)))
        self.turn = 0

    def ask(self, who: int, method: str, path: str, body: Any = None) -> Any:
        client = getattr(self.lives[who].client, method)
        return (
            client(f"/api/v1/{path}", body, content_type="application/json")
            if body
            else client(f"/api/v1/{path}")
        )

    @rule(target=made, who=WHO, name=WORDS)
    def make_key(self, who: int, name: str) -> Made:
        answer = self.ask(who, "post", "api-keys", {"name": name, "role": "admin"})
        assert answer.status_code == 201, answer.content
        told = answer.json()
        self.lives[who].things["api-keys"][told["id"]] = name
        return Made(who, "api-keys", told["id"], told["key"])

    @rule(target=made, who=WHO, name=WORDS)
    def make_assistant(self, who: int, name: str) -> Made:
        # Short names are the tenant's own: others may have the same.
        slug = f"a-{len(self.lives[who].things['assistants'])}"
        answer = self.ask(who, "post", "assistants", {"slug": slug, "name": name})
        if slug in self.lives[who].things["assistants"]:
            assert answer.status_code == 409
            slug = f"a-{uuid.uuid4().hex[:12]}"
            answer = self.ask(who, "post", "assistants", {"slug": slug, "name": name})
        assert answer.status_code in (201, 409), answer.content
        if answer.status_code == 409:
            # One that was removed keeps its name for a while.
            slug = f"a-{uuid.uuid4().hex[:12]}"
            assert self.ask(who, "post", "assistants", {"slug": slug, "name": name}).status_code == 201
        self.lives[who].things["assistants"][slug] = name
        return Made(who, "assistants", slug)

    @rule(target=made, who=WHO, name=WORDS, kind=st.sampled_from(["knowledge-bases", "groups"]))
    def make_named(self, who: int, name: str, kind: str) -> Made:
        name = f"{name} {uuid.uuid4().hex[:8]}"
        answer = self.ask(who, "post", kind, {"name": name})
        assert answer.status_code == 201, answer.content
        ident = answer.json()["id"]
        self.lives[who].things[kind][ident] = name
        return Made(who, kind, ident)

    @rule(thing=consumes(made))
    def remove(self, thing: Made) -> None:
        answer = self.ask(thing.who, "delete", f"{thing.kind}/{thing.ident}")
        assert answer.status_code in (200, 202, 204), answer.content
        del self.lives[thing.who].things[thing.kind][thing.ident]
        if thing.secret:
            gone = Client(headers={"authorization": f"Bearer {thing.secret}"}).get("/api/v1/me")
            assert gone.status_code == 401

    @rule(thing=made, name=WORDS)
    def rename(self, thing: Made, name: str) -> None:
        if thing.kind == "api-keys":
            return
        name = f"{name} {uuid.uuid4().hex[:8]}"
        answer = self.ask(thing.who, "patch", f"{thing.kind}/{thing.ident}", {"name": name})
        assert answer.status_code == 200, answer.content
        self.lives[thing.who].things[thing.kind][thing.ident] = name

    @rule(thing=made, who=WHO, method=st.sampled_from(["get", "patch", "delete"]))
    def reach_for_others(self, thing: Made, who: int, method: str) -> None:
        if who == thing.who or thing.kind == "assistants":
            return
        answer = self.ask(
            who, method, f"{thing.kind}/{thing.ident}", {"name": "mine"} if method == "patch" else None
        )
        assert answer.status_code in (404, 405), answer.content

    @rule(thing=made)
    def use_key(self, thing: Made) -> None:
        if thing.secret:
            told = Client(headers={"authorization": f"Bearer {thing.secret}"}).get("/api/v1/me").json()
            assert told["tenant"]["slug"] == self.lives[thing.who].tenant.slug

    @rule(who=WHO, tokens=st.integers(0, 500), number=st.integers(1, 3))
    def use_models(self, who: int, tokens: int, number: int) -> None:
        life = self.lives[who]
        now = datetime.now(UTC)
        values = {"started_at": now, "prompt_tokens": tokens, "completion_tokens": 1}
        entries = [make_entry(life.tenant.id, **values) for _ in range(number)]
        store_usage(entries)
        # Written twice it counts once.
        store_usage(entries)
        life.calls += number
        life.tokens += number * (tokens + 1)

    @invariant()
    def everybody_has_their_own(self) -> None:
        """One tenant and one list of it after each step, all of them in turn."""
        if not getattr(self, "lives", None):
            return
        type(self).steps_taken += 1
        self.turn += 1
        looks = self.looks()
        looks[self.turn // TENANTS % len(looks)](self.turn % TENANTS)

    def teardown(self) -> None:
        """In the end everything of everybody."""
        for who in range(TENANTS):
            for look in self.looks():
                look(who)

    def looks(self) -> list[Callable[[int], None]]:
        named = [("assistants", "slug"), ("knowledge-bases", "id"), ("groups", "id")]
        return [
            *(partial(self.check_list, kind, column) for kind, column in named),
            self.check_keys,
            self.check_usage,
        ]

    def check_list(self, kind: str, column: str, who: int) -> None:
        listed = self.ask(who, "get", f"{kind}?limit=200").json()["results"]
        assert {each[column]: each["name"] for each in listed} == self.lives[who].things[kind]

    def check_keys(self, who: int) -> None:
        life = self.lives[who]
        keys = self.ask(who, "get", "api-keys?limit=200").json()["results"]
        live = {each["id"]: each["name"] for each in keys if not each.get("revoked_at")}
        assert life.things["api-keys"].items() <= live.items()
        assert len(live) == len(life.things["api-keys"]) + life.own_keys

    def check_usage(self, who: int) -> None:
        life = self.lives[who]
        used = self.ask(who, "get", "usage?group_by=model").json()["results"]
        assert sum(each["requests"] for each in used) == life.calls
        assert sum(each["prompt_tokens"] + each["completion_tokens"] for each in used) == life.tokens


@pytest.mark.schema
@pytest.mark.django_db
@pytest.mark.timeout(900)
def test_whatever_tenants_do_each_has_its_own_alone() -> None:
    Tenants.steps_taken = 0
    checked = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Tenants, settings=checked)
    assert Tenants.steps_taken >= 2_000
