"""Who asks what another tenant asked learns nothing from the engine's cache of prefixes: W10, on real vLLM."""

import random
import string
import time
from collections.abc import Callable

import pytest
import requests
from fakes.stack import Member, vllm_urls

pytestmark = pytest.mark.services

# Long enough for dozens of the cache's blocks of 16 tokens, whatever the tokens are.
WORDS = 160
MOST_OF_IT = 100
COUNTED_S = 3.0


def prompt(seed: int) -> str:
    """Words that nobody asked before."""
    chance = random.Random(f"prefix probe {seed} {time.time_ns()}")
    return " ".join("".join(chance.choices(string.ascii_lowercase, k=7)) for _ in range(WORDS))


def hits(url: str) -> float:
    """Tokens that the engine found in its cache so far."""
    text = requests.get(url.removesuffix("/v1") + "/metrics", timeout=5).text
    lines = [line for line in text.splitlines() if line.startswith("vllm:prefix_cache_hits_total")]
    assert lines, "the engine does not tell of its cache"
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def found_by(ask: Callable[[str], None], text: str) -> float:
    """How many tokens of `text` the engine found in its cache when it was asked."""
    url = vllm_urls()[0]
    before = hits(url)
    ask(text)
    deadline = time.monotonic() + COUNTED_S
    while hits(url) == before and time.monotonic() < deadline:
        time.sleep(0.1)
    return hits(url) - before


def asked_by(member: Member) -> Callable[[str], None]:
    """Ask through Atrium, for one token."""
    client = member.openai()

    def ask(text: str) -> None:
        client.chat.completions.create(
            model="tiny-0", messages=[{"role": "user", "content": text}], max_tokens=1
        )

    return ask


def ask_without_salt(text: str) -> None:
    """Ask the engine itself, as a router without salts would."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 1}
    requests.post(f"{vllm_urls()[0]}/chat/completions", json=body, timeout=60).raise_for_status()


def test_what_one_tenant_asked_is_new_when_another_asks(member: Member, stranger: Member) -> None:
    secret, ours, theirs = prompt(1), asked_by(member), asked_by(stranger)
    ours(secret)
    assert found_by(ours, secret) >= MOST_OF_IT, "the same tenant finds its own prefix"
    theirs(prompt(2))
    unknown, known = found_by(theirs, prompt(3)), found_by(theirs, secret)
    assert known == unknown, "another tenant cannot tell that it was asked"


def test_without_salts_the_probe_would_tell() -> None:
    secret = prompt(4)
    ask_without_salt(prompt(5))
    unknown = found_by(ask_without_salt, prompt(6))
    ask_without_salt(secret)
    assert found_by(ask_without_salt, secret) >= unknown + MOST_OF_IT
