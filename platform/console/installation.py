"""What the installation is made of, for the system page: versions, processes, sizes, licences. Never a secret."""

import json
import platform
import shutil
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import django
from django.conf import settings
from django.contrib.staticfiles import finders
from django.db import connection

from kernel.backends import backends
from substrate.ports import ServiceVersions

_UNKNOWN = ("", "UNKNOWN", "Dual License")
# A package may put the whole text of its licence where the name belongs.
_LONGEST_NAME = 100
_ATRIUM = "atrium"


@dataclass(frozen=True, slots=True)
class PartVersion:
    """One part and its version. `state` is ok, or away when it did not answer."""

    part: str
    version: str
    state: str = "ok"


@dataclass(frozen=True, slots=True)
class Licence:
    """A dependency and its licence, as its own metadata says. `kind` is python or npm."""

    name: str
    version: str
    licence: str
    kind: str


def versions() -> list[PartVersion]:
    """Atrium, what runs it, and the services beside it."""
    own = [
        PartVersion("atrium", metadata.version(_ATRIUM)),
        PartVersion("python", platform.python_version()),
        PartVersion("django", django.get_version()),
        PartVersion(_DATABASES[connection.vendor], _database_version()),
    ]
    services: ServiceVersions = backends["service_versions"]
    told = sorted(services.ask().items())
    return own + [PartVersion(part, version, "ok" if version else "away") for part, version in told]


_DATABASES = {"sqlite": "sqlite", "postgresql": "postgresql"}


def _database_version() -> str:
    sql = "SELECT sqlite_version()" if connection.vendor == "sqlite" else "SHOW server_version"
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return str(cursor.fetchone()[0])


def database_bytes() -> int:
    """Size of the database with its indexes, in bytes."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
            return int(cursor.fetchone()[0])
        cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        return int(cursor.fetchone()[0])


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The file system below `path`, in bytes."""

    path: str
    total: int
    free: int


def disk_space() -> DiskSpace:
    """Room on the disk that holds ATRIUM_HOME, as this process sees it."""
    home: Path = settings.ATRIUM.home
    usage = shutil.disk_usage(home if home.exists() else home.anchor)
    return DiskSpace(str(home), usage.total, usage.free)


@cache
def licences() -> tuple[Licence, ...]:
    """Every Python package that is installed, and every npm package that is in the bundle."""
    python = {_python(each) for each in metadata.distributions() if each.metadata["Name"]}
    found = sorted(python, key=lambda each: each.name.lower())
    return tuple(each for each in found if each.name.lower() != _ATRIUM) + tuple(_npm())


def _python(package: metadata.Distribution) -> Licence:
    told = package.metadata
    return Licence(told["Name"], package.version, _licence_of(told), "python")


def _licence_of(told: metadata.PackageMetadata) -> str:
    """By the expression, else by the classifiers, else by the free text."""
    for given in (_field(told, "License-Expression"), _by_classifiers(told), _field(told, "License")):
        first = next(iter(given.strip().splitlines()), "").strip()
        if first not in _UNKNOWN and len(first) <= _LONGEST_NAME:
            return first
    return ""


def _field(told: metadata.PackageMetadata, name: str) -> str:
    return next(iter(told.get_all(name) or []), "")


def _by_classifiers(told: metadata.PackageMetadata) -> str:
    names = [each for each in told.get_all("Classifier") or [] if each.startswith("License ::")]
    short = [each.rpartition(" :: ")[2] for each in names if each.count(" :: ") > 1]
    return ", ".join(dict.fromkeys(short))


def _npm() -> list[Licence]:
    """What the front end's build wrote beside the bundle; nothing where it was not built."""
    collected = Path(settings.STATIC_ROOT) / "web" / "licences.json"
    path = collected if collected.is_file() else Path(finders.find("web/licences.json") or "")
    if not path.is_file():
        return []
    return [
        Licence(each["name"], each["version"], each["licence"], "npm")
        for each in json.loads(path.read_text(encoding="utf-8"))
    ]
