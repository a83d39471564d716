"""Programs from outside: the distribution's packages and Go modules."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from local_services.failures import ServiceFailed
from local_services.service import Place, run


def ensure_packages(place: Place, wanted: Sequence[tuple[str, Callable[[], bool]]]) -> None:
    """Install the packages whose programs are missing. Raises ServiceFailed with what to type."""
    missing = [package for package, present in wanted if not present()]
    if not missing:
        return
    names = " ".join(missing)
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise ServiceFailed(
            f"missing: {names}; install them (Debian, Ubuntu: sudo apt-get install {names}) and repeat"
        )
    log = place.log("packages")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with place.progress.step("packages", f"apt-get install {names}"):
        run([apt, "update", "-q"], what="apt-get update", log=log, environment=environment)
        run(
            [apt, "install", "-y", "-q", "--no-install-recommends", *missing],
            what=f"apt-get install {names}",
            log=log,
            environment=environment,
        )
    still = [package for package, present in wanted if not present()]
    if still:
        raise ServiceFailed(f"installed {' '.join(still)}, but its programs are still not to be found")


def go_program(place: Place, service: str, module: str, version: str) -> Path:
    """The path of a Go program of exactly this version, built when it is missing. Raises ServiceFailed."""
    program = module.rsplit("/", 1)[1]
    target = place.folder("bin") / f"{program}-{version}"
    if target.exists():
        return target
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
    if go is None:
        raise ServiceFailed("needs Go 1.26 or newer (https://go.dev/dl/), which is not in PATH")
    building = place.folder(f"bin/.building-{program}")
    environment = {**os.environ, "GOBIN": str(building), "GOFLAGS": ""}
    # Without a home Go does not know where its caches are.
    if not environment.get("HOME"):
        environment["HOME"] = str(place.folder("home"))
    with place.progress.step(service, f"go install {module}@v{version}"):
        run(
            [go, "install", f"{module}@v{version}"],
            what="go install",
            log=place.log(service),
            environment=environment,
        )
    (building / program).rename(target)
    shutil.rmtree(building)
    return target
