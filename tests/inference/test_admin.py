"""The back-office of models, pools and replicas: writes go through the services, keys are never shown."""

from typing import Any

import pytest
from django.test import Client
from factories.tenants import make_membership, make_tenant, make_user, session_client

from inference import selectors
from inference.models import Model, Pool, Replica
from inference.services import ensure_built_in_models, register_engine
from substrate.models import Change
from tenants.types import Role

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:8101/v1"
MODEL = {"model_id": "org/m", "kind": "chat", "tier": "heavy", "context_length": "100", "dimensions": "0"}


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    """Pages name their static files without a build of them."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def operator() -> Client:
    return session_client(make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER))


def kinds() -> list[str]:
    return list(Change.objects.order_by("seq").values_list("kind", flat=True))


def test_a_model_is_made_and_changed_with_prices_as_people_say_them(operator: Client) -> None:
    add = "/admin/inference/model/add/"
    assert operator.post(add, {**MODEL, "input_price": "0.15", "output_price": "1"}).status_code == 302
    row = Model.objects.get()
    assert (row.model_id, row.input_price_nano, row.output_price_nano) == ("org/m", 150, 1000)
    page = f"/admin/inference/model/{row.id}/change/"
    assert 'value="0.15"' in operator.get(page).content.decode()
    changed = {
        "tier": "light",
        "context_length": "5",
        "dimensions": "0",
        "input_price": "2",
        "output_price": "3",
    }
    assert operator.post(page, changed).status_code == 302
    row.refresh_from_db()
    assert (row.tier, row.input_price_nano) == ("light", 2000)
    assert set(kinds()) == {"model"}
    assert (
        operator.post(add, {**MODEL, "model_id": "auto", "input_price": "0", "output_price": "0"}).status_code
        == 200
    )
    assert Model.objects.count() == 1
    assert operator.post(f"/admin/inference/model/{row.id}/delete/", {"post": "yes"}).status_code == 302
    assert not Model.objects.exists()


def test_a_replica_is_made_changed_and_removed(operator: Client) -> None:
    operator.post("/admin/inference/pool/add/", {"name": "gpu", "region": "eu"})
    operator.post("/admin/inference/model/add/", {**MODEL, "input_price": "0", "output_price": "0"})
    body = {
        "pool": str(Pool.objects.get().id),
        "model": str(Model.objects.get().id),
        "url": URL,
        "served_name": "m",
        "max_concurrency": "3",
        "vllm": "on",
        "new_api_key": "very-secret",
    }
    assert operator.post("/admin/inference/replica/add/", body).status_code == 302
    row = Replica.objects.get()
    (spec,) = selectors.load_specs()
    assert (spec.replicas[0].api_key, spec.replicas[0].max_concurrency) == ("very-secret", 3)
    page = f"/admin/inference/replica/{row.id}/change/"
    shown = operator.get(page).content.decode()
    assert "very-secret" not in shown
    assert row.api_key not in shown
    changed = {"served_name": "n", "max_concurrency": "5", "draining": "on", "new_api_key": ""}
    assert operator.post(page, changed).status_code == 302
    row.refresh_from_db()
    assert (row.served_name, row.draining, row.vllm, bool(row.api_key)) == ("n", True, False, True)
    assert operator.post(f"/admin/inference/replica/{row.id}/delete/", {"post": "yes"}).status_code == 302
    assert not Replica.objects.exists()


def test_what_is_built_in_or_in_use_stays(operator: Client) -> None:
    ensure_built_in_models()
    register_engine(pool="gpu", model="m", url=URL)
    for row in Model.objects.all():
        response = operator.post(f"/admin/inference/model/{row.id}/delete/", {"post": "yes"})
        assert response.status_code == 403
    chosen = {
        "action": "delete_selected",
        "_selected_action": [str(row.id) for row in Model.objects.all()],
        "post": "yes",
    }
    operator.post("/admin/inference/model/", chosen)
    assert Model.objects.count() == 3


@pytest.mark.parametrize("page", ["model", "pool", "replica"])
def test_lists_can_be_searched(operator: Client, page: str) -> None:
    register_engine(pool="gpu", model="org/needle", url=URL)
    assert operator.get(f"/admin/inference/{page}/?q=needle").status_code == 200


def test_members_stay_out() -> None:
    member = session_client(make_membership(make_tenant(), role=Role.OWNER))
    assert member.get("/admin/inference/model/").status_code in (302, 403)
