"""What another tenant's identity provider vouches for, brought to a tenant's own callback by a real browser.

Nobody comes in, nothing is linked or switched off, and the tenant's administrators find it on record.
"""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from fakes.live_server import LiveServer
from fakes.oidc_server import CLIENT_ID, CLIENT_SECRET, KID, OidcServer, new_key, oidc_server
from fakes.saml_idp import ENTITY_ID, SSO_URL, SamlIdp, certificate
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PASSWORD = "correct-horse-battery-9"
ADA = "ada@acme.test"

pytestmark = [
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

_TENANTS = f"""
import json
from tenants.services import create_tenant, create_user, issue_api_key
made = {{}}
for slug in ("acme", "rival"):
    tenant = create_tenant(slug=slug, name=slug.title())
    key = issue_api_key(tenant_id=tenant.id, name="tests", role="owner").key
    made[slug] = {{"id": str(tenant.id), "key": key}}
create_user(email={ADA!r}, tenant_slug="acme", role="owner", password={PASSWORD!r})
print(json.dumps(made))
"""
_ROWS = """
import json
from substrate.crossing import system_scope
from tenants.models import Identity, Membership, User
with system_scope("tests", read_only=True):
    print(json.dumps({
        "users": sorted(User.objects.values_list("email", "is_active")),
        "members": sorted(Membership.objects.values_list("tenant__slug", "user__email", "role", "disabled_at")),
        "identities": Identity.objects.count(),
    }))
"""


@dataclass
class Place:
    """A server with two tenants, `acme` and `rival`, and a browser beside it."""

    server: LiveServer
    browser: Browser
    tenants: dict[str, dict[str, str]]
    made: list[tuple[str, str]] = field(default_factory=list)

    def connect(self, slug: str, **values: Any) -> str:
        """A provider of the tenant, switched on, which would make members of who is new: where one begins."""
        body = {"name": f"Provider {len(self.made) + 1}", "enabled": True, "create_members": True, **values}
        tenant = self.tenants[slug]
        status, made = self.server.request("POST", "/api/v1/identity-providers", key=tenant["key"], body=body)
        assert status == 201, made
        self.made.append((slug, made["id"]))
        return f"{self.server.url}/accounts/sso/{tenant['id']}/{made['id']}/"

    def rows(self) -> Any:
        """Who there is, in which tenant, and which of them a provider knows."""
        return self.server.run_code(_ROWS)

    def refusals(self, slug: str) -> list[str]:
        """Why sign-ins of the tenant were refused, by its audit."""
        path = "/api/v1/audit-events?act=sign_in_refused&limit=50"
        status, found = self.server.request("GET", path, key=self.tenants[slug]["key"])
        assert status == 200, found
        newest = [made for whose, made in self.made if whose == slug][-1]
        return [each["after"]["reason"] for each in found["results"] if each["object_id"] == newest]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One server and one Chromium. Providers may be on loopback here."""
    home = tmp_path_factory.mktemp("foreign") / "home"
    server = LiveServer(home=home, environment={"ATRIUM_SIGN_IN_HOSTS": "127.0.0.1"})
    server.start("--no-demo")
    try:
        with sync_playwright() as playwright:
            flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
            yield Place(server, browser, server.run_code(_TENANTS))
            browser.close()
    finally:
        server.stop()


@pytest.fixture
def page(place: Place) -> Iterator[Page]:
    """A browser in which nobody is signed in."""
    context = place.browser.new_context()
    yield context.new_page()
    context.close()


def is_in(page: Page) -> str:
    """The tenant in which somebody is signed in, else nothing."""
    told = page.evaluate("fetch('/api/v1/me').then(each => each.text())")
    return str(json.loads(told).get("tenant", {}).get("slug", ""))


def refused(page: Page, start: str, words: str) -> None:
    """The sign-in that begins at `start` ends on the page that says why not, and leads back to that sign-in."""
    page.goto(start)
    expect(page.get_by_text(words)).to_be_visible()
    assert page.locator(f"a[href='/{start.split('/', 3)[3]}']").count() == 1
    assert is_in(page) == ""


def comes_in(page: Page, place: Place, start: str) -> None:
    """The honest answer opens the same door: what was refused was refused for what it was."""
    page.goto(start)
    page.wait_for_url(f"{place.server.url}/")
    assert is_in(page) == "acme"


@dataclass
class SamlSite:
    """A provider's site: the browser that comes with a request is sent back with `idp`'s answer, in a form.

    `signs_for` is where the answer says that it goes, when that is not where it was asked to.
    """

    idp: SamlIdp
    port: int = 0
    signs_for: str = ""

    def entry(self, signed_by: SamlIdp) -> dict[str, Any]:
        """What a tenant knows of it: its address, and whose signature it believes."""
        return {
            "protocol": "saml",
            "issuer": ENTITY_ID,
            "sso_url": f"http://127.0.0.1:{self.port}/sso",
            "certificates": certificate(signed_by.key),
        }

    def form(self, path: str) -> str:
        """The page that goes on by itself."""
        request_id, acs_url = self.idp.request(f"{SSO_URL}?{urlsplit(path).query}")
        text = self.idp.answer(request_id, self.signs_for or acs_url)
        return (
            f'<form method="post" action="{acs_url}"><input name="SAMLResponse" value="{text}"></form>'
            "<script>document.forms[0].submit()</script>"
        )


@contextmanager
def saml_site(idp: SamlIdp) -> Iterator[SamlSite]:
    """The site, on loopback until the end of the block."""
    site = SamlSite(idp)

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            raw = site.form(self.path).encode() if self.path.startswith("/sso") else b""
            self.send_response(200 if raw else 404)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    site.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def oidc_entry(provider: OidcServer) -> dict[str, Any]:
    return {"issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


def test_an_assertion_that_anothers_provider_has_signed(place: Place, page: Page) -> None:
    own, foreign = SamlIdp(), SamlIdp(key=generate_private_key(public_exponent=65537, key_size=2048))
    foreign.attributes["mail"] = [ADA]
    with saml_site(foreign) as site:
        place.connect("rival", **site.entry(foreign))
        start = place.connect("acme", **site.entry(own))
        before = place.rows()
        refused(page, start, "not signed with a certificate")
        assert place.rows() == before
        assert place.refusals("acme") == ["signature"]
        assert place.refusals("rival") == []

        own.subject, own.attributes["mail"] = "p-saml", ["saml@acme.test"]
        site.idp = own
        comes_in(page, place, start)


def test_an_assertion_for_another_tenant_of_one_and_the_same_provider(place: Place, page: Page) -> None:
    """Two tenants of one organisation: the signature is good, and says for whom it is."""
    shared = SamlIdp()
    shared.attributes["mail"] = [ADA]
    with saml_site(shared) as site:
        elsewhere = place.connect("rival", **site.entry(shared))
        start = place.connect("acme", **site.entry(shared))
        before = place.rows()
        site.signs_for = elsewhere.replace("/sso/", "/saml/") + "acs/"
        refused(page, start, "for another address")
        assert place.rows() == before
        assert place.refusals("acme") == ["address"]
        assert place.refusals("rival") == []


def test_an_id_token_of_anothers_provider(place: Place, page: Page) -> None:
    with oidc_server() as own, oidc_server() as foreign:
        foreign.key = new_key()
        place.connect("rival", **oidc_entry(foreign))
        start = place.connect("acme", **oidc_entry(own))
        foreign.person = own.person = {"sub": "s-9", "email": ADA, "email_verified": True, "name": "Ada"}
        before = place.rows()

        def theirs(claims: dict[str, Any]) -> str:
            return jwt.encode(
                {**claims, "iss": foreign.issuer}, foreign.key, algorithm="RS256", headers={"kid": KID}
            )

        own.signer = theirs
        refused(page, start, "a key that the provider does not publish")
        # The browser is led astray: it comes back from the other one, with its code.
        own.signer, own.document["authorization_endpoint"] = None, f"{foreign.issuer}/authorize"
        refused(page, start, "comes from another issuer")
        assert place.rows() == before
        assert sorted(place.refusals("acme")) == ["issuer", "signature"]
        assert place.refusals("rival") == []

        own.document.clear()
        own.person = {"sub": "s-10", "email": "new@acme.test", "email_verified": True, "name": "New"}
        comes_in(page, place, start)


def test_whose_address_it_was_signs_in_as_before(place: Place, page: Page) -> None:
    page.goto(f"{place.server.url}/accounts/login/")
    page.fill("[name=login]", ADA)
    page.fill("[name=password]", PASSWORD)
    page.get_by_test_id("login-submit").click()
    page.wait_for_url(f"{place.server.url}/")
    assert is_in(page) == "acme"
