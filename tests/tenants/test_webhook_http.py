"""Sending where a tenant says: never into the own network, never for long, and nothing of the answer but its status."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from kernel.errors import BadInput, UpstreamFailed
from tenants.adapters.pinned_http import PinnedHttp, is_public
from tenants.adapters.provider_http import HttpProviderFetch
from tenants.adapters.webhook_http import HttpWebhookSend
from tenants.webhook_types import Outcome, WebhookAnswer

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1",
    "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "ff02::1",
    "fec0::1", "::7f00:1", "::127.0.0.1", "::ffff:10.1.2.3", "64:ff9b:1::1", "2001::1", "2001:db8::1", "3fff::1", "4000::1",
]  # fmt: skip


@dataclass
class Server:
    """A plain server on loopback: what it was sent, and what it does with a connection."""

    port: int
    seen: list[bytes] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[Server]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(listening.getsockname()[1])

    def serve() -> None:
        while True:
            try:
                taken, _ = listening.accept()
            except OSError:
                return
            with taken:
                taken.settimeout(5)
                try:
                    told = taken.recv(65536)
                    while told.startswith(b"POST") and not told.endswith(b"}"):
                        told += taken.recv(65536)
                    server.seen.append(told)
                    answer(taken)
                except OSError:
                    pass
                server.ended.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)


def says(text: bytes) -> Callable[[socket.socket], None]:
    return lambda taken: taken.sendall(text)


def send(url: str, adapter: HttpWebhookSend | None = None) -> WebhookAnswer:
    sender = adapter or HttpWebhookSend(private_hosts=("127.0.0.1",), within_s=1.0)
    return asyncio.run(sender.post(url, headers={"webhook-id": "1"}, body=b'{"a":1}'))


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111"])
def test_what_is_public_is_known(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused_when_it_is_named_and_when_it_is_sent_to(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(BadInput):
        HttpWebhookSend().check(f"https://{host}/hook")
    assert send(f"https://{host}/hook", HttpWebhookSend()).outcome is Outcome.PRIVATE


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost", "0"])
def test_other_spellings_of_loopback_lead_nowhere(host: str) -> None:
    with serving(says(b"HTTP/1.1 200 OK\r\n\r\n")) as server:
        answer = send(f"https://{host}:{server.port}/", HttpWebhookSend())
        assert answer.outcome in (Outcome.PRIVATE, Outcome.UNKNOWN_HOST)
        assert server.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "https://user:pw@example.com/", "https:///x",
        "https://example.com/#x", "https://example.com:0/", "https://example.com:99999/", "https://exa mple.com/",
        "https://example.com/\r\nX-Evil: 1", "https://exämple.com/", "gopher://127.0.0.1/", "", "//example.com/",
        "https://@example.com/", "https://[::1/",
    ],
)  # fmt: skip
def test_addresses_that_are_none_are_refused_before_anything_is_stored(url: str) -> None:
    with pytest.raises(BadInput) as found:
        HttpWebhookSend().check(url)
    assert found.value.param == "url"


def test_a_name_that_means_something_else_a_moment_later_is_asked_for_once() -> None:
    """DNS rebinding: the second answer would be loopback; nobody asks a second time."""
    asked: list[str] = []

    def lookup(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        # Nobody listens at the first.
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]

    with serving(says(b"HTTP/1.1 200 OK\r\n\r\n")) as server:
        sender = HttpWebhookSend(private_hosts=("rebind.example",), lookup=lookup, within_s=0.5)
        answer = send(f"http://rebind.example:{server.port}/", sender)
        assert answer.outcome is Outcome.UNREACHABLE
        assert (asked, server.seen) == (["rebind.example"], [])


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    sender = HttpWebhookSend(lookup=lambda host, port: ["93.184.216.34", "10.0.0.5"])
    assert send("https://both.example/", sender).outcome is Outcome.PRIVATE


def test_a_redirect_is_not_followed() -> None:
    with serving(says(b"HTTP/1.1 200 OK\r\n\r\n")) as inner:
        where = f"http://127.0.0.1:{inner.port}/secret".encode()
        moved = b"HTTP/1.1 302 Found\r\nLocation: " + where + b"\r\nContent-Length: 0\r\n\r\n"
        with serving(says(moved)) as outer:
            answer = send(f"http://127.0.0.1:{outer.port}/")
        assert (answer.outcome, answer.status) == (Outcome.REDIRECT, 302)
        assert inner.seen == []


def drip(taken: socket.socket) -> None:
    """A byte now and then: each read alone would be in time."""
    for each in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 500:
        taken.sendall(bytes([each]))
        time.sleep(0.05)


def test_a_server_that_sends_a_byte_now_and_then_does_not_hold_us() -> None:
    with serving(drip) as server:
        answer = send(f"http://127.0.0.1:{server.port}/")
    assert answer.outcome is Outcome.TIMEOUT
    assert answer.took_ms < 4_000


def test_the_same_deadline_holds_for_identity_providers() -> None:
    with serving(drip) as server, pytest.raises(TimeoutError):
        PinnedHttp(private_hosts=("127.0.0.1",), within_s=0.5).ask(
            "GET", f"http://127.0.0.1:{server.port}/", None, {}, most_bytes=1000
        )
    with serving(says(b"HTTP/1.1 200 OK\r\n\r\nnothing")) as server, pytest.raises(UpstreamFailed):
        HttpProviderFetch(private_hosts=("127.0.0.1",)).get_document(f"http://127.0.0.1:{server.port}/")


def test_a_server_that_says_nothing_does_not_hold_us() -> None:
    with serving(lambda taken: time.sleep(2)) as server:
        answer = send(f"http://127.0.0.1:{server.port}/")
    assert answer.outcome is Outcome.TIMEOUT


def test_of_a_huge_answer_nothing_is_read() -> None:
    sent = []

    def flood(taken: socket.socket) -> None:
        taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        for _ in range(2_000):
            taken.sendall(b"x" * 65536)
            sent.append(1)

    with serving(flood) as server:
        assert send(f"http://127.0.0.1:{server.port}/").outcome is Outcome.OK
        assert server.ended.wait(10)
    # What fits into the buffers of two sockets, of 130 MB.
    assert len(sent) < 500


def test_headers_without_end_are_refused() -> None:
    many = b"".join(b"X-%d: y\r\n" % number for number in range(5_000))
    with serving(says(b"HTTP/1.1 200 OK\r\n" + many + b"\r\n")) as server:
        assert send(f"http://127.0.0.1:{server.port}/").outcome is Outcome.UNREACHABLE


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        (b"HTTP/1.1 204 No Content", Outcome.OK), (b"HTTP/1.1 410 Gone", Outcome.GONE),
        (b"HTTP/1.1 500 Oh", Outcome.REFUSED), (b"HTTP/1.1 401 No", Outcome.REFUSED),
        (b"this is no HTTP", Outcome.UNREACHABLE),
    ],
)  # fmt: skip
def test_an_answer_is_known_by_its_status(line: bytes, outcome: Outcome) -> None:
    with serving(says(line + b"\r\n\r\n")) as server:
        assert send(f"http://127.0.0.1:{server.port}/").outcome is outcome
        sent = server.seen[0].decode()
    assert f"Host: 127.0.0.1:{server.port}" in sent
    assert sent.endswith('{"a":1}')


def test_a_server_without_a_certificate_for_its_name_gets_nothing() -> None:
    with serving(lambda taken: None) as server:
        answer = send(f"https://127.0.0.1:{server.port}/")
        assert answer.outcome in (Outcome.UNREACHABLE, Outcome.CERTIFICATE)
        # A ClientHello, and no word of the request.
        assert b"POST" not in b"".join(server.seen)
    assert ssl.create_default_context().check_hostname


def test_nobody_listens_and_nobody_knows_the_name() -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    assert send(f"http://127.0.0.1:{port}/").outcome is Outcome.UNREACHABLE
    unknown = HttpWebhookSend(lookup=lambda host, port: [])
    assert send("https://nowhere.example/", unknown).outcome is Outcome.UNKNOWN_HOST
