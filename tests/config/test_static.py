"""Static files before Django: whole files, conditional requests, nothing outside of the folder."""

import re
from pathlib import Path

import pytest
from fakes.asgi import Answered, AsgiClient

from config.static import HASHED_NAME, StaticFiles


@pytest.fixture
def client(tmp_path: Path) -> AsgiClient:
    (tmp_path / "secret.txt").write_text("outside")
    root = tmp_path / "static"
    (root / "web" / "assets").mkdir(parents=True)
    (root / "site.css").write_text("body { color: black }")
    (root / "web" / "assets" / "main-BxYz1234.js").write_text("console.info('hi')")
    (root / "empty.txt").write_text("")
    return AsgiClient(StaticFiles(root), key="")


async def test_a_file_is_answered_with_its_kind(client: AsgiClient) -> None:
    answered = await client.get("/static/site.css")
    assert (answered.status, answered.body) == (200, b"body { color: black }")
    assert answered.headers["content-type"].startswith("text/css")
    assert "max-age=3600" in answered.headers["cache-control"]
    assert answered.headers["content-length"] == str(len(answered.body))


async def test_hashed_names_are_kept_for_ever(client: AsgiClient) -> None:
    answered = await client.get("/static/web/assets/main-BxYz1234.js")
    assert answered.status == 200
    assert "immutable" in answered.headers["cache-control"]


async def test_head_has_the_headers_alone(client: AsgiClient) -> None:
    answered = await client.request("HEAD", "/static/site.css", b"")
    assert (answered.status, answered.body) == (200, b"")
    assert answered.headers["content-type"].startswith("text/css")


async def test_what_the_client_has_is_not_sent_again(client: AsgiClient) -> None:
    first = await client.get("/static/site.css")
    again = await client.get(
        "/static/site.css", headers={"if-none-match": first.headers.get("etag", '"none"')}
    )
    since = await client.get(
        "/static/site.css", headers={"if-modified-since": first.headers["last-modified"]}
    )
    assert (since.status, since.body) == (304, b"")
    assert again.status in (200, 304)


async def test_a_range_is_answered_in_part(client: AsgiClient) -> None:
    answered = await client.get("/static/site.css", headers={"range": "bytes=0-3"})
    assert (answered.status, answered.body) == (206, b"body")


async def test_an_empty_file_is_a_file(client: AsgiClient) -> None:
    answered = await client.get("/static/empty.txt")
    assert (answered.status, answered.body) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/web",
        "/static/web/",
        "/static/nothing.css",
        "/static/../secret.txt",
        "/static/web/../../secret.txt",
        "/static/..%2fsecret.txt",
        "/static//etc/passwd",
        "/static/site.css/",
        "/static/\x00",
    ],
)
async def test_anything_else_is_unknown(client: AsgiClient, path: str) -> None:
    answered: Answered = await client.get(path)
    assert (answered.status, answered.body) == (404, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_files_are_only_read(client: AsgiClient, method: str) -> None:
    assert (await client.request(method, "/static/site.css", b"")).status == 404


async def test_without_the_folder_everything_is_unknown(tmp_path: Path) -> None:
    assert (await AsgiClient(StaticFiles(tmp_path / "none"), key="").get("/static/site.css")).status == 404


@pytest.mark.parametrize(
    ("name", "hashed"),
    [
        ("main-BxYz1234.js", True),
        ("base.3f2a9c1b7d60.css", True),
        ("main-BxYz1234.js.map", True),
        ("site.css", False),
        ("jquery.min.js", False),
        ("a-b.css", False),
    ],
)
def test_which_names_hold_a_hash(name: str, hashed: bool) -> None:
    assert bool(re.search(HASHED_NAME, name)) is hashed
