"""The house keeps its shape: folders, floors, sizes, classified rows."""

import ast
import configparser
import platform
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
from django.apps import apps
from django.db import models

from substrate.models import TenantOwned

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
OURS = sorted(Path(package).name for package in PACKAGES)

# Rows that belong to the platform and not to a tenant, each with its reason.
GLOBAL_MODELS = {
    "substrate.Change": "the change log is read by every process; it holds ids, never content",
    "substrate.PlatformAct": "what operators did to what all tenants share",
    "substrate.PlatformChain": "where the chains of these acts stand",
    "substrate.ServerProcess": "the processes serve all tenants",
    "tenants.Tenant": "the tenants themselves",
    "tenants.TenantDeletion": "the proof that a tenant is gone outlives it",
    "tenants.Session": "found by its key before any tenant is known; operators have sessions without a membership",
    "tenants.User": "a person may be a member of several tenants",
    "tenants.PlatformHour": "sums over all tenants, for operators; they outlive tenants",
    "inference.Model": "models are shared by all tenants",
    "inference.Pool": "pools are shared by all tenants",
    "inference.PoolSource": "pools are shared by all tenants",
    "inference.Replica": "replicas are shared by all tenants",
    "inference.ModelGrant": "which tenants may use a model is the platform's to say, and not theirs to see",
    "routing.ChoiceDefault": "what the platform says for all tenants",
    "routing.PoolScaling": "pools are shared by all tenants",
    "routing.ScalingDecision": "what was decided of pools, which all tenants share",
    "routing.StartedReplica": "replicas are shared by all tenants",
    "routing.ScalingTurn": "which process decides about all pools, or follows their sources",
    "inference.PriceChange": "prices are the same for all tenants",
}


def source_files() -> list[Path]:
    """Our own Python files, migrations and tests left out."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    files += [path for folder in ("deploy", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    return [path for path in files if "migrations" not in path.parts]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def percentile(sizes: list[int], share: float) -> int:
    return sorted(sizes)[int(len(sizes) * share)]


def test_platform_folder_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not (ROOT / "platform" / "platform.py").exists()
    assert platform.python_implementation() == "CPython"
    code = "import platform; print(platform.machine())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip()


def test_layers_name_every_package_that_the_wheel_ships() -> None:
    laws = configparser.ConfigParser()
    laws.read(ROOT / ".importlinter")
    layers = laws["importlinter:contract:floors"]["layers"].split()
    roots = laws["importlinter"]["root_packages"].split()
    folders = {
        path.parent.name for path in [*ROOT.glob("*/__init__.py"), *ROOT.glob("platform/*/__init__.py")]
    }
    assert sorted(layers) == sorted(roots) == OURS == sorted(folders)


def test_files_are_small() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in source_files()}
    assert {str(path): size for path, size in sizes.items() if size > 600} == {}
    assert percentile(list(sizes.values()), 0.95) <= 350


def test_functions_are_small() -> None:
    sizes: dict[str, int] = {}
    for path in source_files():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                sizes[f"{path.relative_to(ROOT)}:{node.name}:{node.lineno}"] = (
                    (node.end_lineno or 0) - node.lineno + 1
                )
    assert {name: size for name, size in sizes.items() if size > 80} == {}
    assert percentile(list(sizes.values()), 0.95) <= 35


def test_no_imports_inside_functions() -> None:
    """`AppConfig.ready` and Celery's tasks may: they run before, or decide when, Django is set up."""
    allowed = {"platform/config/celery.py"}
    found = []
    for path in source_files():
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name == "ready":
                continue
            inner = [each for each in ast.walk(node) if isinstance(each, ast.Import | ast.ImportFrom)]
            if inner and str(path.relative_to(ROOT)) not in allowed:
                found.append(f"{path.relative_to(ROOT)}:{inner[0].lineno}")
    assert found == []


def test_the_data_plane_never_enters_django() -> None:
    """Settings it may read; Django's handler, views and rows it may not know."""
    forbidden = ("django.db", "django.http", "django.views", "django.core.handlers", "rest_framework")
    found = []
    for path in (ROOT / "platform" / "gateway").rglob("*.py"):
        for node in ast.walk(parsed(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {name}" for name in names if name.startswith(forbidden)]
    assert found == []


def test_every_module_class_and_public_function_says_what_it_promises() -> None:
    silent = []
    for path in source_files():
        tree = parsed(path)
        if ast.get_docstring(tree) is None and path.read_text().strip():
            silent.append(str(path.relative_to(ROOT)))
        for node in tree.body:
            public = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if public and not node.name.startswith("_") and ast.get_docstring(node) is None:
                silent.append(f"{path.relative_to(ROOT)}:{node.name}")
    assert silent == []


def own_models() -> list[type[models.Model]]:
    return [model for model in apps.get_models() if model._meta.app_label in OURS]


def test_every_model_is_of_a_tenant_or_on_the_reviewed_list() -> None:
    unclassified = [
        model._meta.label
        for model in own_models()
        if not issubclass(model, TenantOwned) and model._meta.label not in GLOBAL_MODELS
    ]
    assert unclassified == []
    labels = {model._meta.label for model in own_models()}
    assert set(GLOBAL_MODELS) <= labels


def owned_models() -> list[type[TenantOwned]]:
    return [model for model in own_models() if issubclass(model, TenantOwned)]


@pytest.mark.parametrize("model", owned_models(), ids=lambda model: model._meta.label)
def test_every_row_of_a_tenant_is_found_by_its_tenant(model: type[TenantOwned]) -> None:
    leading = [list(index.fields)[:1] for index in model._meta.indexes]
    leading += [
        list(constraint.fields)[:1]
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint)
    ]
    tenant = model._meta.get_field("tenant")
    assert not tenant.null
    assert ["tenant"] in leading or tenant.db_index
    assert model._meta.base_manager_name == "objects"
