"""Where each value of the configuration comes from; and that no secret is among them."""

import re
from pathlib import Path

import pytest

from config.settings.environment import read_environment
from config.settings.origins import (
    SECRETS,
    VARIABLES,
    ConfiguredValue,
    configured_values,
    without_credentials,
)

SETTINGS = Path(__file__).resolve().parents[2] / "platform" / "config" / "settings"
FULL = {
    "ATRIUM_DATABASE_URL": "postgres://ada:pw-database@db.example/atrium?sslmode=require",
    "ATRIUM_REDIS_URL": "redis://:pw-redis@redis.example:6379/0",
    "ATRIUM_WEAVIATE_URL": "http://weaviate.example:8080",
    "ATRIUM_WEAVIATE_API_KEY": "pw-weaviate",
    "ATRIUM_SECRET_KEY": "pw-secret-key-pw-secret-key-pw-secret-key",
    "ATRIUM_KEYRING": "1:cHcta2V5cmluZy1wdy1rZXlyaW5nLXB3LWtleXJpbmc=",
    "ATRIUM_STORAGE_URL": "s3://ACCESS:pw-storage@s3.example:9000/bucket/files?region=eu",
    "ATRIUM_EMAIL_URL": "smtp://mailer:pw-mail@mail.example:587",
    "ATRIUM_METRICS_TOKEN": "pw-metrics-pw-metrics",
    "ATRIUM_EMBEDDINGS_API_KEY": "pw-embeddings",
    "ATRIUM_ALLOWED_HOSTS": "a.example,b.example",
}


def values(home: Path, **variables: str) -> dict[str, ConfiguredValue]:
    given = {"ATRIUM_HOME": str(home), **variables}
    return {each.name: each for each in configured_values(given, read_environment(given))}


def test_every_variable_that_is_read_is_on_the_page() -> None:
    read = {
        name
        for file in (SETTINGS / "environment.py", SETTINGS / "observability.py", SETTINGS / "adapters.py")
        for name in re.findall(r'"((?:ATRIUM|OTEL)_[A-Z_]+)"', file.read_text())
    }
    # The traces' own address only stands in for the general one.
    assert read - set(VARIABLES) - {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} == set()


def test_each_value_names_its_origin(tmp_path: Path) -> None:
    found = values(tmp_path, PORT="9000", ATRIUM_PUBLIC_URL="https://atrium.example")

    assert (found["PORT"].value, found["PORT"].origin) == ("9000", "environment")
    assert (found["HOST"].value, found["HOST"].origin) == ("127.0.0.1", "default")
    assert (found["ATRIUM_DEBUG"].value, found["ATRIUM_DEBUG"].origin) == ("0", "default")
    assert found["ATRIUM_KEYRING"].origin == "file"
    assert found["ATRIUM_KEYRING"].file == str(tmp_path / "keyring")
    assert found["ATRIUM_SECRET_KEY"].is_set
    assert not found["ATRIUM_METRICS_TOKEN"].is_set
    assert found["ATRIUM_ALLOWED_HOSTS"].value == "atrium.example, 127.0.0.1, localhost, [::1]"


def test_no_secret_is_told(tmp_path: Path) -> None:
    found = values(tmp_path, **FULL)

    told = " ".join(f"{each.value} {each.file}" for each in found.values())
    assert "pw-" not in told
    assert "cHct" not in told
    assert "ACCESS" not in told
    assert "ada" not in told
    assert found["ATRIUM_DATABASE_URL"].value == "postgres://…@db.example/atrium"
    assert found["ATRIUM_STORAGE_URL"].value == "s3://…@s3.example:9000/bucket/files"
    assert found["ATRIUM_WEAVIATE_URL"].value == "http://weaviate.example:8080"
    for name in SECRETS:
        assert found[name].secret
        assert found[name].is_set
        assert found[name].value == ""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://u:p@q@h:1/0?password=x", "redis://…@h:1/0"),
        ("unix:///run/redis.sock?password=x", "unix:///run/redis.sock"),
        ("file:///srv/files", "file:///srv/files"),
    ],
)
def test_addresses_lose_their_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
