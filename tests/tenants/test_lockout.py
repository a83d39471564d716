"""Guessing locks out who guesses, and nobody else."""

import re
from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client
from factories.tenants import PASSWORD, make_membership, make_tenant

from tenants.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    """Counts live in the cache."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def person() -> User:
    """Somebody who may sign in."""
    return make_membership(make_tenant(), password=PASSWORD).user


def try_to_sign_in(email: str, password: str, address: str) -> HttpResponse:
    """One try from an address."""
    answer: HttpResponse = Client(REMOTE_ADDR=address).post(
        "/accounts/login/", {"login": email, "password": password}
    )
    return answer


def test_five_wrong_passwords_lock_that_address_for_that_account(person: User) -> None:
    for _ in range(5):
        assert try_to_sign_in(person.email, "wrong", "198.51.100.1").status_code == 200
    refused = try_to_sign_in(person.email, PASSWORD, "198.51.100.1")
    assert refused.status_code == 429
    assert 1 <= int(refused["Retry-After"]) <= 300
    assert "Try again in" in refused.content.decode()
    # The person comes from elsewhere, and others from the same address.
    assert try_to_sign_in(person.email, PASSWORD, "198.51.100.2").status_code == 302
    other = make_membership(make_tenant(), password=PASSWORD).user
    assert try_to_sign_in(other.email, PASSWORD, "198.51.100.1").status_code == 302


def test_who_is_locked_out_reads_it_in_their_language(person: User) -> None:
    for _ in range(5):
        try_to_sign_in(person.email, "wrong", "198.51.100.1")
    refused = Client(REMOTE_ADDR="198.51.100.1", HTTP_ACCEPT_LANGUAGE="de").post(
        "/accounts/login/", {"login": person.email, "password": PASSWORD}
    )
    assert refused.status_code == 429
    assert re.search(r"Versuchen Sie es in \d+ (Minuten|Sekunden) wieder", refused.content.decode())


def test_case_and_spaces_are_no_way_around(person: User) -> None:
    for number in range(5):
        email = person.email.upper() if number % 2 else person.email
        try_to_sign_in(email, "wrong", "198.51.100.1")
    assert try_to_sign_in(person.email, PASSWORD, "198.51.100.1").status_code == 429


def test_neighbours_in_an_ipv6_network_are_one(person: User) -> None:
    for number in range(5):
        try_to_sign_in(person.email, "wrong", f"2001:db8::{number + 1}")
    assert try_to_sign_in(person.email, PASSWORD, "2001:db8::99").status_code == 429
    assert try_to_sign_in(person.email, PASSWORD, "2001:db8:0:1::1").status_code == 302


def test_the_right_password_costs_nothing(person: User) -> None:
    for _ in range(12):
        assert try_to_sign_in(person.email, PASSWORD, "198.51.100.1").status_code == 302
    for _ in range(4):
        try_to_sign_in(person.email, "wrong", "198.51.100.1")
    assert try_to_sign_in(person.email, PASSWORD, "198.51.100.1").status_code == 302


def test_guesses_from_many_addresses_do_not_lock_out_who_is_signed_in(person: User) -> None:
    """A hundred an hour, from anywhere; the addresses of the person's own sessions stay open."""
    assert try_to_sign_in(person.email, PASSWORD, "203.0.113.1").status_code == 302
    for number in range(100):
        assert try_to_sign_in(person.email, "wrong", f"198.51.100.{number}").status_code == 200
    assert try_to_sign_in(person.email, PASSWORD, "198.51.100.200").status_code == 429
    assert try_to_sign_in(person.email, PASSWORD, "203.0.113.1").status_code == 302


def test_one_address_that_guesses_at_many_accounts() -> None:
    for number in range(60):
        assert try_to_sign_in(f"{number}@example.com", "wrong", "198.51.100.1").status_code == 200
    refused = try_to_sign_in("other@example.com", "wrong", "198.51.100.1")
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) <= 60
