"""Archives of a tenant: everything of it, nothing of others, no secret, for those who may and for a while."""

import asyncio
import hashlib
import io
import json
import re
import uuid
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from factories.tenants import key_client, make_key, make_membership, make_tenant, make_user, session_client
from fakes.library import Library
from fakes.whole_tenant import furnish_rows

from substrate.audit import acts_of_tenant
from substrate.scoping import tenant_scope
from tenants.models import ApiKey, BreakGlass, Tenant, TenantExport, User
from tenants.types import Role


def post(client: Client, path: str, body: object) -> Any:
    return client.post(f"/api/v1{path}", json.dumps(body), content_type="application/json")


def owner_of(tenant: Tenant) -> Client:
    return session_client(make_membership(tenant, role=Role.OWNER))


def operator() -> Client:
    return session_client(make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER))


async def drained(answer: Any) -> bytes:
    return b"".join([piece async for piece in answer.streaming_content])


def download(client: Client, path: str) -> zipfile.ZipFile:
    answer = client.get(f"/api/v1{path}")
    assert answer.status_code == 200, answer.content
    content = asyncio.run(drained(answer))
    assert answer["Content-Length"] == str(len(content))
    # Archives of several tenants lie in one folder.
    assert re.search(r'filename="atrium-[a-z0-9-]+-\d{4}-\d\d-\d\d\.zip"', answer["Content-Disposition"])
    return zipfile.ZipFile(io.BytesIO(content))


def lines(archive: zipfile.ZipFile, model: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(f"tables/{model}.jsonl").splitlines()]


def test_an_archive_holds_everything_and_no_secret(library: Library) -> None:
    other = furnish_rows("canary-of-others")
    client = owner_of(library.tenant)
    base = library.base("Manuals")
    document = library.text(base, "The answer is forty-two.", title="Answers")
    secret = make_key(library.tenant).key
    library.work(later=False)

    asked = post(client, "/tenant/exports", {}).json()
    assert (asked["state"], asked["size"]) == ("queued", 0)
    assert post(client, "/tenant/exports", {}).status_code == 409
    assert client.get(f"/api/v1/tenant/exports/{asked['id']}/file").status_code == 409
    library.work(later=False)

    ready = client.get(f"/api/v1/tenant/exports/{asked['id']}").json()
    assert (ready["state"], ready["rows_done"]) == ("ready", ready["rows_total"])
    archive = download(client, f"/tenant/exports/{asked['id']}/file")
    assert archive.testzip() is None
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest["tenant"]["slug"] == library.tenant.slug
    assert set(manifest["files"]) == set(archive.namelist()) - {"manifest.json"}
    for path, told in manifest["files"].items():
        content = archive.read(path)
        assert (told["bytes"], told["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        if path.startswith("tables/"):
            assert told["rows"] == len(content.splitlines())
    assert [row["title"] for row in lines(archive, "knowledge.Document")] == ["Answers"]
    assert [row["text"] for row in lines(archive, "knowledge.Chunk")] == ["The answer is forty-two."]
    files = [name for name in archive.namelist() if name.startswith(f"files/{document.id}/")]
    assert [archive.read(name) for name in files] == [b"The answer is forty-two."]
    whole = b"".join(archive.read(name) for name in archive.namelist())
    with tenant_scope(library.tenant.id, read_only=True):
        fingerprint = ApiKey.objects.values_list("fingerprint", flat=True).get()
    assert secret.encode() not in whole
    assert fingerprint.encode() not in whole
    assert b"canary-of-others" not in whole
    assert str(other.id).encode() not in whole
    acts = [
        each.act
        for each in acts_of_tenant(tenant_id=library.tenant.id, limit=50)
        if each.kind == "tenant_export"
    ]
    assert acts == ["downloaded", "exported"]


def test_every_table_of_a_tenant_is_in_it_or_left_out_for_a_reason(library: Library) -> None:
    tenant = furnish_rows("canary-here")
    client = owner_of(tenant)
    with tenant_scope(tenant.id):
        TenantExport.objects.all().delete()
    asked = post(client, "/tenant/exports", {}).json()
    library.work(later=False)
    archive = download(client, f"/tenant/exports/{asked['id']}/file")
    told = json.loads(archive.read("manifest.json"))["files"]
    empty = [path for path, each in told.items() if path.startswith("tables/") and not each["rows"]]
    assert empty == []
    assert len([path for path in told if path.startswith("tables/")]) > 25


def test_it_goes_when_its_time_is_over(library: Library) -> None:
    client = owner_of(library.tenant)
    asked = post(client, "/tenant/exports", {}).json()
    library.work(later=False)
    assert len(library.blobs()) == 1
    # Three days later: the job that waits for that day runs.
    library.work(later=True)
    assert library.blobs() == []
    gone = client.get(f"/api/v1/tenant/exports/{asked['id']}").json()
    assert gone["state"] == "gone"
    assert client.get(f"/api/v1/tenant/exports/{asked['id']}/file").status_code == 409


def test_an_owner_removes_it_before(library: Library) -> None:
    client = owner_of(library.tenant)
    asked = post(client, "/tenant/exports", {}).json()
    assert client.delete(f"/api/v1/tenant/exports/{asked['id']}").status_code == 409
    library.work(later=False)
    assert client.delete(f"/api/v1/tenant/exports/{asked['id']}").status_code == 204
    assert client.get(f"/api/v1/tenant/exports/{asked['id']}/file").status_code == 409
    library.work(later=False)
    assert library.blobs() == []


def break_the_glass(tenant: Tenant) -> uuid.UUID:
    """An open grant of the one operator there is."""
    with tenant_scope(tenant.id):
        who = User.objects.get(is_operator=True)
        grant = BreakGlass.objects.create(
            operator=who,
            operator_email=who.email,
            reason="They ask for all they have",
            expires_at=timezone.now() + timedelta(minutes=30),
        )
    return grant.id


def test_operators_say_why_and_the_tenant_sees_it(library: Library) -> None:
    client, path = operator(), f"/tenants/{library.tenant.id}/exports"
    refused = post(client, path, {})
    assert (refused.status_code, refused.json()["param"]) == (400, "reason")
    why = {"reason": "they move to their own house"}
    shut = post(client, path, why)
    assert (shut.status_code, shut.json()["code"]) == (403, "break_glass_needed")
    grant = break_the_glass(library.tenant)
    asked = post(client, path, why).json()
    library.work(later=False)
    with tenant_scope(library.tenant.id):
        BreakGlass.objects.filter(id=grant).update(ended_at=timezone.now())
    assert client.get(f"/api/v1{path}/{asked['id']}/file").status_code == 403
    break_the_glass(library.tenant)
    assert download(client, f"{path}/{asked['id']}/file").testzip() is None
    acts = [
        each for each in acts_of_tenant(tenant_id=library.tenant.id, limit=50) if each.kind == "tenant_export"
    ]
    assert [(each.act, each.label) for each in acts] == [
        ("downloaded", "they move to their own house"),
        ("exported", "they move to their own house"),
    ]
    assert all(each.actor.startswith("user-") for each in acts)


@pytest.mark.django_db
@pytest.mark.parametrize("role", [Role.ADMIN, Role.MEMBER, Role.VIEWER])
def test_others_may_not(role: Role) -> None:
    tenant = make_tenant()
    with tenant_scope(tenant.id):
        row = TenantExport.objects.create(tenant=tenant, state="ready")
    client = key_client(tenant, role=role)
    assert post(client, "/tenant/exports", {}).status_code == 403
    assert client.get(f"/api/v1/tenant/exports/{row.id}/file").status_code == 403
    stranger = key_client(make_tenant(), role=Role.OWNER)
    assert stranger.get(f"/api/v1/tenant/exports/{row.id}").status_code == 404
    assert stranger.get(f"/api/v1/tenant/exports/{row.id}/file").status_code == 404
    assert stranger.get(f"/api/v1/tenants/{tenant.id}/exports").status_code == 403


@pytest.mark.django_db
def test_a_visit_opens_no_archive() -> None:
    """An operator who visits a tenant has its owner's rights but for content: archives are asked for with a reason."""
    tenant, client = make_tenant(), operator()
    answer = client.post(
        "/api/v1/tenant/exports",
        "{}",
        content_type="application/json",
        headers={"X-Atrium-Tenant": tenant.slug},
    )
    assert answer.status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize("role", [None, Role.VIEWER, Role.ADMIN])
def test_an_operator_inside_the_tenant_breaks_the_glass_as_well(role: Role | None) -> None:
    """On a visit (None) and as a member without the right the tenant at hand is the tenant asked for."""
    tenant = make_tenant()
    client = operator()
    if role is not None:
        make_membership(tenant, User.objects.get(is_operator=True), role=role)
    with tenant_scope(tenant.id):
        row = TenantExport.objects.create(
            tenant=tenant, state="ready", blob_key="k", expires_at=timezone.now() + timedelta(days=1)
        )
    path, inside = f"/api/v1/tenants/{tenant.id}/exports", {"x-atrium-tenant": tenant.slug}

    def ask(body: dict[str, str]) -> Any:
        return client.post(path, json.dumps(body), content_type="application/json", headers=inside)

    assert (ask({}).status_code, ask({}).json()["param"]) == (400, "reason")
    shut = ask({"reason": "they asked for it"})
    assert (shut.status_code, shut.json()["code"]) == (403, "break_glass_needed")
    file = client.get(f"{path}/{row.id}/file", headers=inside)
    assert (file.status_code, file.json()["code"]) == (403, "break_glass_needed")
    with tenant_scope(tenant.id):
        assert TenantExport.objects.count() == 1
    break_the_glass(tenant)
    assert ask({"reason": "they asked for it"}).status_code in (201, 202)


@pytest.mark.django_db
def test_an_operator_who_is_the_owner_needs_no_reason() -> None:
    client = operator()
    tenant = Tenant.objects.get()
    assert post(client, f"/tenants/{tenant.id}/exports", {}).status_code in (201, 202)
