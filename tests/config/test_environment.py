"""The environment: defaults, each variable's message, profiles, refused mixtures, the secrets kept at home."""

import base64
import multiprocessing
import stat
from pathlib import Path

import pytest

from config.settings.adapters import backend_specs
from config.settings.database import databases
from config.settings.environment import Environment, SettingError, read_environment

RING = "1:" + base64.b64encode(b"k" * 32).decode()
POSTGRES = "postgres://atrium:secret@127.0.0.1:5432/atrium"
SMALL = {"ATRIUM_DATABASE_URL": POSTGRES, "ATRIUM_KEYRING": RING}
FULL = SMALL | {
    "ATRIUM_REDIS_URL": "redis://127.0.0.1:6379/0",
    "ATRIUM_WEAVIATE_URL": "http://127.0.0.1:8080",
    "ATRIUM_SECRET_KEY": "s" * 32,
}


def read(home: Path, **variables: str) -> Environment:
    return read_environment({"ATRIUM_HOME": str(home), **variables})


def test_nothing_set_is_the_embedded_profile_on_loopback(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert (found.profile, found.role, found.host, found.port, found.workers) == (
        "embedded",
        "all",
        "127.0.0.1",
        8000,
        1,
    )
    assert not found.debug
    assert not found.secure
    assert found.home == tmp_path


def test_name_servers_are_addresses_with_ports(tmp_path: Path) -> None:
    assert read(tmp_path).name_servers == ()
    found = read(tmp_path, ATRIUM_NAME_SERVERS="10.0.0.2, 127.0.0.1:8600,[::1],[::1]:8600").name_servers
    assert found == (("10.0.0.2", 53), ("127.0.0.1", 8600), ("::1", 53), ("::1", 8600))


@pytest.mark.parametrize(
    ("variables", "profile"), [({}, "embedded"), (SMALL, "small"), (FULL, "full")], ids=["none", "pg", "all"]
)
def test_the_profile_follows_from_the_parts(tmp_path: Path, variables: dict[str, str], profile: str) -> None:
    assert read(tmp_path, **variables).profile == profile


REFUSED = [
    ({"ATRIUM_REDIS_URL": FULL["ATRIUM_REDIS_URL"]}, "ATRIUM_REDIS_URL"),
    ({"ATRIUM_WEAVIATE_URL": FULL["ATRIUM_WEAVIATE_URL"]}, "ATRIUM_WEAVIATE_URL"),
    (SMALL | {"ATRIUM_REDIS_URL": FULL["ATRIUM_REDIS_URL"]}, "ATRIUM_DATABASE_URL"),
    (SMALL | {"ATRIUM_WEAVIATE_URL": FULL["ATRIUM_WEAVIATE_URL"]}, "ATRIUM_WEAVIATE_URL"),
    ({"WORKERS": "2"}, "WORKERS"),
    (SMALL | {"WORKERS": "2"}, "WORKERS"),
    ({"ATRIUM_ROLE": "gateway"}, "ATRIUM_ROLE"),
    (SMALL | {"ATRIUM_ROLE": "control"}, "ATRIUM_ROLE"),
    ({"ATRIUM_DATABASE_URL": POSTGRES}, "ATRIUM_KEYRING"),
    ({name: value for name, value in FULL.items() if name != "ATRIUM_SECRET_KEY"}, "ATRIUM_SECRET_KEY"),
    ({name: value for name, value in FULL.items() if name != "ATRIUM_KEYRING"}, "ATRIUM_KEYRING"),
]


@pytest.mark.parametrize(
    ("variables", "named"), REFUSED, ids=lambda each: each if isinstance(each, str) else ""
)
def test_an_unsupported_mixture_is_refused(tmp_path: Path, variables: dict[str, str], named: str) -> None:
    with pytest.raises(SettingError, match=named) as raised:
        read(tmp_path, **variables)
    assert "\n" not in str(raised.value)
    assert "expected" in str(raised.value) or "needs" in str(raised.value) or "only" in str(raised.value)


@pytest.mark.parametrize("role", ["all", "gateway", "control", "worker"])
def test_the_full_profile_runs_planes_apart(tmp_path: Path, role: str) -> None:
    found = read(tmp_path, **FULL, ATRIUM_ROLE=role, WORKERS="4")
    assert (found.role, found.workers) == (role, 4)


WRONG = [
    ("ATRIUM_ROLE", "boss", "all, gateway, control, worker"),
    ("ATRIUM_DEBUG", "perhaps", "1 or 0"),
    ("ATRIUM_DATABASE_URL", "mysql://host/name", "sqlite:// or postgres://"),
    ("ATRIUM_DATABASE_URL", "postgres:///name", "with a host"),
    ("ATRIUM_DATABASE_URL", "postgres://host:port/name", "cannot be read"),
    ("ATRIUM_REDIS_URL", "http://host", "redis://"),
    ("ATRIUM_CACHE_REDIS_URL", "memcached://host", "redis://"),
    ("ATRIUM_WEAVIATE_URL", "host:8080", "http://"),
    ("ATRIUM_WEAVIATE_GRPC_PORT", "0", "from 1 to 65535"),
    ("ATRIUM_STORAGE_URL", "ftp://host/", "file:// or s3://"),
    ("ATRIUM_EMBEDDINGS_URL", "ws://host", "http:// or https://"),
    ("ATRIUM_EMBEDDINGS_URL", "http://host/v1", "ATRIUM_EMBEDDINGS_MODEL"),
    ("ATRIUM_PUBLIC_URL", "atrium.example.org", "http:// or https://"),
    ("ATRIUM_PUBLIC_URL", "https://example.org/atrium", "scheme and host alone"),
    ("ATRIUM_ALLOWED_HOSTS", "https://example.org/", "host names"),
    ("ATRIUM_ALLOWED_HOSTS", "*", "host names"),
    ("ATRIUM_ALLOWED_ORIGINS", "example.org", "origins like"),
    ("ATRIUM_ALLOWED_ORIGINS", "https://example.org/chat", "origins like"),
    ("ATRIUM_TRUSTED_PROXIES", "proxy.example.org", "addresses or networks"),
    ("ATRIUM_NAME_SERVERS", "ns.example.org", "addresses like"),
    ("ATRIUM_NAME_SERVERS", "10.0.0.2:70000", "addresses like"),
    ("ATRIUM_EMAIL_URL", "imap://host", "smtp://"),
    ("ATRIUM_SECRET_KEY", "short", "at least 32 characters"),
    ("ATRIUM_KEYRING", "secret", "base64 of 32 bytes"),
    ("ATRIUM_KEYRING", "0:" + RING[2:], "base64 of 32 bytes"),
    ("ATRIUM_KEYRING", "1:" + base64.b64encode(b"k" * 31).decode(), "base64 of 32 bytes"),
    ("PORT", "http", "from 1 to 65535"),
    ("PORT", "65536", "from 1 to 65535"),
    ("PORT", "-1", "from 1 to 65535"),
    ("PORT", "٨٠", "from 1 to 65535"),
    ("WORKERS", "0", "from 1 to 256"),
]


@pytest.mark.parametrize(
    ("name", "value", "expects"), WRONG, ids=[f"{name}={value}" for name, value, _ in WRONG]
)
def test_a_wrong_value_is_one_line_that_names_the_variable(
    tmp_path: Path, name: str, value: str, expects: str
) -> None:
    with pytest.raises(SettingError) as raised:
        read(tmp_path, **{name: value})
    message = str(raised.value)
    assert name.removesuffix("_URL") in message
    assert expects in message
    assert "\n" not in message


def test_messages_about_secrets_do_not_show_them(tmp_path: Path) -> None:
    for name, value in (
        ("ATRIUM_SECRET_KEY", "tooshort-hush"),
        ("ATRIUM_KEYRING", "1:hush"),
        ("ATRIUM_DATABASE_URL", "mysql://user:hush@host/name"),
        ("ATRIUM_REDIS_URL", "http://user:hush@host"),
    ):
        with pytest.raises(SettingError) as raised:
            read(tmp_path, **{name: value})
        assert "hush" not in str(raised.value)


def test_secrets_stay_out_of_the_repr(tmp_path: Path) -> None:
    shown = repr(read(tmp_path, **FULL | {"ATRIUM_SECRET_KEY": "hush" * 8, "ATRIUM_METRICS_TOKEN": "hush"}))
    assert "hush" not in shown
    assert "secret@" not in shown


def test_hosts_and_origins_are_gathered(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        ATRIUM_PUBLIC_URL="https://atrium.example.org/",
        ATRIUM_ALLOWED_HOSTS="chat.example.org, atrium.example.org",
        ATRIUM_ALLOWED_ORIGINS="https://portal.example.org/",
        HOST="0.0.0.0",
    )
    assert found.secure
    assert found.allowed_hosts == (
        "chat.example.org",
        "atrium.example.org",
        "localhost",
        "127.0.0.1",
        "[::1]",
    )
    assert found.allowed_origins == ("https://portal.example.org", "https://atrium.example.org")


def test_the_cache_has_its_own_redis_or_the_same(tmp_path: Path) -> None:
    assert read(tmp_path, **FULL).cache_redis_url == FULL["ATRIUM_REDIS_URL"]
    apart = read(tmp_path, **FULL, ATRIUM_CACHE_REDIS_URL="redis://127.0.0.1:6380/1")
    assert apart.cache_redis_url == "redis://127.0.0.1:6380/1"


def test_made_secrets_are_kept_for_the_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    first, second = read(home), read(home)
    assert first.secret_key == second.secret_key
    assert first.keyring == second.keyring
    assert len(first.secret_key) >= 32
    assert len(first.keyring[1]) == 32
    for name in ("secret-key", "keyring"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    assert {path.name for path in home.iterdir()} == {"secret-key", "keyring"}


def test_given_secrets_leave_no_files(tmp_path: Path) -> None:
    read(tmp_path, ATRIUM_SECRET_KEY="s" * 32, ATRIUM_KEYRING=RING)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_secret_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "secret-key").write_text("")
    with pytest.raises(SettingError, match="secret-key"):
        read(tmp_path)


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="ATRIUM_HOME"):
        read(tmp_path / "file")


def _read_secrets(home: str) -> tuple[str, bytes]:
    found = read_environment({"ATRIUM_HOME": home})
    return found.secret_key, found.keyring[1]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        for number in range(8):
            got = pool.map(_read_secrets, [str(tmp_path / str(number))] * 4, chunksize=1)
            assert len(set(got)) == 1


def test_several_versions_make_one_ring(tmp_path: Path) -> None:
    two = base64.b64encode(b"n" * 32).decode()
    assert read(tmp_path, ATRIUM_KEYRING=f"{RING}, 2:{two}").keyring == {1: b"k" * 32, 2: b"n" * 32}


def test_postgresql_runs_as_the_bound_role_with_a_pool(tmp_path: Path) -> None:
    url = "postgresql://at%40rium:p%2Fw@db.example.org:6432/house?sslmode=require"
    database = databases(read(tmp_path, **SMALL | {"ATRIUM_DATABASE_URL": url}))["default"]
    assert (database["USER"], database["PASSWORD"], database["HOST"], database["PORT"], database["NAME"]) == (
        "at@rium",
        "p/w",
        "db.example.org",
        "6432",
        "house",
    )
    assert "role=atrium_app" in database["OPTIONS"]["options"]
    assert database["OPTIONS"]["sslmode"] == "require"
    # What waits for a database that is away; how soon it is noticed that it is back.
    pool = database["OPTIONS"]["pool"]
    assert (pool["timeout"], pool["reconnect_timeout"]) == (5, 2)


def test_postgresql_needs_a_database(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="database's name"):
        databases(read(tmp_path, **SMALL | {"ATRIUM_DATABASE_URL": "postgres://host/"}))


def test_sqlite_lives_at_home_or_where_it_is_told(tmp_path: Path) -> None:
    assert databases(read(tmp_path))["default"]["NAME"] == str(tmp_path / "atrium.sqlite3")
    there = read(tmp_path, ATRIUM_DATABASE_URL="sqlite:///srv/atrium.sqlite3")
    assert databases(there)["default"]["NAME"] == "/srv/atrium.sqlite3"


def test_each_profile_names_the_same_backends(tmp_path: Path) -> None:
    embedded, full = backend_specs(read(tmp_path)), backend_specs(read(tmp_path, **FULL))
    assert embedded.keys() == full.keys()
    assert {name: spec.port for name, spec in embedded.items()} == {
        name: spec.port for name, spec in full.items()
    }
    assert backend_specs(read(tmp_path, **SMALL)) == embedded


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (
            "s3://key:s%2Fecret@127.0.0.1:9000/bucket/deep/er?region=eu&insecure=1",
            {
                "endpoint": "http://127.0.0.1:9000",
                "bucket": "bucket",
                "region": "eu",
                "access_key": "key",
                "secret_key": "s/ecret",
                "prefix": "deep/er/",
            },
        ),
        (
            "s3://key:secret@s3.example.org/bucket",
            {
                "endpoint": "https://s3.example.org",
                "bucket": "bucket",
                "region": "us-east-1",
                "access_key": "key",
                "secret_key": "secret",
                "prefix": "",
            },
        ),
        ("file:///srv/my%20files", {"root": "/srv/my files"}),
    ],
)
def test_where_blobs_go(tmp_path: Path, url: str, options: dict[str, str]) -> None:
    assert dict(backend_specs(read(tmp_path, ATRIUM_STORAGE_URL=url))["blob_store"].options) == options


@pytest.mark.parametrize("url", ["s3://key:secret@host/", "s3://host/bucket", "s3://key@host/bucket"])
def test_an_incomplete_s3_address_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingError, match="ATRIUM_STORAGE_URL"):
        backend_specs(read(tmp_path, ATRIUM_STORAGE_URL=url))
