"""Addresses that are never an engine, in every spelling; and those that may be one."""

import pytest

from inference.addresses import is_forbidden_address, is_forbidden_host
from inference.naming import guessed_url, normal_url
from kernel.errors import BadInput


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.170.2",
        "[::ffff:169.254.169.254]",
        "::ffff:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "instance-data.ec2.internal",
        "224.0.0.1",
    ],
)
def test_metadata_is_forbidden(host: str) -> None:
    assert is_forbidden_host(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.5", "192.168.1.1", "fd12::1", "::1", "vllm-0.vllm", "1.2.3.4"]
)
def test_private_networks_are_where_engines_live(host: str) -> None:
    assert not is_forbidden_host(host)


def test_a_name_is_no_address() -> None:
    assert not is_forbidden_address("169.254.169.254.example.com")


def test_a_metadata_address_is_never_registered() -> None:
    with pytest.raises(BadInput):
        normal_url("http://169.254.169.254/v1")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10.0.0.5:8000", "http://10.0.0.5:8000/v1"),
        (" https://api.example.com/v1/ ", "https://api.example.com/v1"),
        ("http://h:1/v1/chat/completions", "http://h:1/v1"),
        ("http://h:1/openai/v1", "http://h:1/openai/v1"),
    ],
)
def test_what_a_person_means_by_an_address(text: str, meant: str) -> None:
    assert guessed_url(text) == meant


@pytest.mark.parametrize(
    "text", ["", "ftp://x", "http://", "http://u:p@h/v1", "http://h/v1?q=1", "javascript:alert(1)"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BadInput):
        guessed_url(text)
