"""System checks: every adapter that settings name imports, and has its port's methods and parameter names."""

import inspect
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error

from kernel.backends import import_object


def check_backends(*, app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """One error for each backend that cannot be imported or does not fit its port."""
    problems: list[CheckMessage] = []
    for name, spec in settings.BACKENDS.items():
        try:
            port, adapter = import_object(spec.port), import_object(spec.backend)
        except (ImportError, AttributeError) as error:
            problems.append(Error(f"BACKENDS[{name!r}]: {error}", id="atrium.E001"))
            continue
        problems += [
            Error(f"BACKENDS[{name!r}]: {spec.backend} {problem}", id="atrium.E002")
            for problem in misfits(port, adapter)
        ]
    return problems


def misfits(port: type, adapter: type) -> list[str]:
    """What `adapter` lacks to be a `port`: methods, or parameters of the same names; and async where the port is."""
    problems = []
    for name, promised in inspect.getmembers(port, inspect.isfunction):
        if name.startswith("_"):
            continue
        given = inspect.getattr_static(adapter, name, None)
        if not inspect.isfunction(given):
            problems.append(f"has no method {name}()")
            continue
        wanted = [parameter.name for parameter in inspect.signature(promised).parameters.values()]
        offered = list(inspect.signature(given).parameters.values())
        required = [p.name for p in offered[: len(wanted)]]
        extra = [
            p.name for p in offered[len(wanted) :] if p.default is p.empty and p.kind is not p.VAR_KEYWORD
        ]
        if required != wanted or extra:
            problems.append(
                f"has {name}({', '.join(p.name for p in offered)}), the port ({', '.join(wanted)})"
            )
        elif inspect.iscoroutinefunction(promised) != inspect.iscoroutinefunction(given):
            problems.append(f"has {name}() async where the port has it plain, or the other way round")
    return problems


def check_job_handlers(*, app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """One error for each handler of jobs, or background coroutine, that cannot be imported or is not async."""
    paths = [path for pair in settings.JOB_HANDLERS.values() for path in pair]
    paths += [path for group in settings.BACKGROUND.values() for path in group]
    problems: list[CheckMessage] = []
    for path in paths:
        try:
            found = import_object(path)
        except (ImportError, AttributeError) as error:
            problems.append(Error(f"{path}: {error}", id="atrium.E003"))
            continue
        if not inspect.iscoroutinefunction(found):
            problems.append(Error(f"{path} is not an async function", id="atrium.E004"))
    return problems
