"""The shells of the front end: who gets them, and under which policy."""

import pytest
from django.test import Client
from factories.tenants import make_membership, make_tenant, session_client

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("path", ["/console", "/console/", "/console/keys/one?in=acme", "/", "/k/"])
def test_a_page_needs_a_sign_in_and_comes_back_to_its_address(path: str) -> None:
    response = Client().get(path)
    assert response.status_code == 302
    assert response["location"].startswith("/accounts/login/?next=" + path.partition("?")[0])


@pytest.mark.parametrize(("path", "title"), [("/console/keys/one", "Atrium Console"), ("/", "Atrium")])
def test_the_shell_is_strict_and_brings_the_token_of_writes(path: str, title: str) -> None:
    response = session_client(make_membership(make_tenant())).get(path)
    assert response.status_code == 200
    assert f"<title>{title}</title>" in response.content.decode()
    assert "unsafe" not in response["Content-Security-Policy"]
    assert "csrftoken" in response.cookies


def test_the_shell_is_only_read() -> None:
    assert session_client(make_membership(make_tenant())).post("/console/").status_code == 405
