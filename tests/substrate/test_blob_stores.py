"""The contract of BlobStore, held by each adapter: whole or not at all, per tenant, never outside of its place."""

import asyncio
import os
import stat
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from config.settings.adapters import backend_specs
from config.settings.environment import read_environment
from kernel.backends import import_object
from kernel.errors import NotFound, Unavailable
from substrate.ports import BlobStore

S3_URL = os.environ.get("ATRIUM_TEST_S3_URL", "").strip("'")
ADAPTERS = [
    "directory",
    pytest.param(
        "s3",
        marks=[
            pytest.mark.services,
            pytest.mark.skipif(not S3_URL, reason="ATRIUM_TEST_S3_URL names no S3 store"),
        ],
    ),
]


@pytest.fixture(params=ADAPTERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    url = f"file://{tmp_path}/blobs" if request.param == "directory" else S3_URL
    spec = backend_specs(read_environment({"ATRIUM_HOME": str(tmp_path), "ATRIUM_STORAGE_URL": url}))[
        "blob_store"
    ]
    made: BlobStore = import_object(spec.backend)(**spec.options)
    yield made
    if close := getattr(made, "close", None):
        close()


@pytest.fixture
def tenant_id() -> uuid.UUID:
    return uuid.uuid4()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(0)
        yield part


async def test_what_was_put_is_read(store: BlobStore, tenant_id: uuid.UUID) -> None:
    key = f"{tenant_id}/documents/a.pdf"
    assert await store.put(key, pieces(b"one ", b"", b"two")) == 7
    assert await store.read(key) == b"one two"
    assert await store.put(key, pieces(b"new")) == 3
    assert await store.read(key) == b"new"
    await store.delete(key)


async def test_nothing_and_much_are_contents_too(store: BlobStore, tenant_id: uuid.UUID) -> None:
    assert await store.put(f"{tenant_id}/empty", pieces()) == 0
    assert await store.read(f"{tenant_id}/empty") == b""
    much = os.urandom(1024 * 1024)
    assert await store.put(f"{tenant_id}/much", pieces(*[much] * 9)) == 9 * 1024 * 1024
    assert await store.read(f"{tenant_id}/much") == much * 9
    assert await store.delete_tenant(tenant_id) == 2


async def test_what_is_not_there_is_not_found_and_deleting_it_does_nothing(
    store: BlobStore, tenant_id: uuid.UUID
) -> None:
    key = f"{tenant_id}/documents/b.pdf"
    with pytest.raises(NotFound):
        await store.read(key)
    await store.delete(key)
    await store.put(key, pieces(b"x"))
    await store.delete(key)
    await store.delete(key)
    with pytest.raises(NotFound):
        await store.read(key)


class Interrupted(Exception):
    """The uploader left."""


async def interrupted() -> AsyncIterator[bytes]:
    yield b"half of "
    raise Interrupted


async def test_half_a_blob_is_none_and_the_one_before_stays(store: BlobStore, tenant_id: uuid.UUID) -> None:
    key = f"{tenant_id}/documents/c.pdf"
    with pytest.raises(Interrupted):
        await store.put(key, interrupted())
    with pytest.raises(NotFound):
        await store.read(key)
    await store.put(key, pieces(b"whole"))
    with pytest.raises(Interrupted):
        await store.put(key, interrupted())
    assert await store.read(key) == b"whole"
    assert await store.delete_tenant(tenant_id) == 1


async def test_many_at_once_do_not_mix(store: BlobStore, tenant_id: uuid.UUID) -> None:
    await asyncio.gather(
        *(store.put(f"{tenant_id}/{number}", pieces(str(number).encode() * 100)) for number in range(10))
    )
    read = await asyncio.gather(*(store.read(f"{tenant_id}/{number}") for number in range(10)))
    assert list(read) == [str(number).encode() * 100 for number in range(10)]
    assert await store.delete_tenant(tenant_id) == 10


async def test_a_tenants_blobs_go_together_and_others_stay(store: BlobStore, tenant_id: uuid.UUID) -> None:
    other = uuid.uuid4()
    for owner in (tenant_id, other):
        await store.put(f"{owner}/deep/er/a", pieces(b"a"))
        await store.put(f"{owner}/b", pieces(b"b"))
    assert await store.delete_tenant(tenant_id) == 2
    assert await store.delete_tenant(tenant_id) == 0
    with pytest.raises(NotFound):
        await store.read(f"{tenant_id}/b")
    assert await store.read(f"{other}/deep/er/a") == b"a"
    assert await store.delete_tenant(other) == 2


@pytest.fixture
def directory(tmp_path: Path) -> BlobStore:
    made: BlobStore = import_object("substrate.adapters.directory_blobs.DirectoryBlobStore")(
        root=str(tmp_path / "blobs")
    )
    return made


@pytest.mark.parametrize("key", ["../secret", "a/../../secret", "/etc/passwd", "a/../../../etc/passwd"])
async def test_a_directory_is_never_left(directory: BlobStore, tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_text("outside")
    with pytest.raises(NotFound):
        await directory.read(key)
    with pytest.raises(NotFound):
        await directory.put(key, pieces(b"x"))
    with pytest.raises(NotFound):
        await directory.delete(key)
    assert (tmp_path / "secret").read_text() == "outside"


async def test_files_are_for_the_owner_alone_and_leave_no_rest(
    directory: BlobStore, tmp_path: Path, tenant_id: uuid.UUID
) -> None:
    await directory.put(f"{tenant_id}/a", pieces(b"x"))
    with pytest.raises(Interrupted):
        await directory.put(f"{tenant_id}/b", interrupted())
    folder = tmp_path / "blobs" / str(tenant_id)
    assert [path.name for path in folder.iterdir()] == ["a"]
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_store_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store: BlobStore = import_object("substrate.adapters.directory_blobs.DirectoryBlobStore")(
        root=str(tmp_path / "file")
    )
    with pytest.raises(Unavailable):
        await store.put("tenant/a", pieces(b"x"))


async def test_an_s3_store_that_is_away_is_unavailable() -> None:
    store: BlobStore = import_object("substrate.adapters.s3_blobs.S3BlobStore")(
        endpoint="http://127.0.0.1:9", bucket="b", region="us-east-1", access_key="a", secret_key="s"
    )
    with pytest.raises(Unavailable):
        await store.put("tenant/a", pieces(b"x"))
    with pytest.raises(Unavailable):
        await store.read("tenant/a")
