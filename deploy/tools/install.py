"""`make tools`: what the tests of deploy/ need beside Python: helm, and the schemas of Compose, KEDA and the Prometheus
operator, by the Go module proxy. Done once, into `$ATRIUM_HOME/tools`; needs Go.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "services"))

from local_services.failures import ServiceFailed  # noqa: E402 - found by the line above
from local_services.packages import go_program  # noqa: E402
from local_services.progress import Progress  # noqa: E402
from local_services.service import LONGEST_S, Place  # noqa: E402
from local_services.state import StateFile  # noqa: E402

HELM = ("helm.sh/helm/v3/cmd/helm", "3.22.0")
# Module, version, file within it.
SCHEMAS = (
    ("github.com/compose-spec/compose-go/v2", "2.16.2", "schema/compose-spec.json"),
    ("github.com/kedacore/keda/v2", "2.21.0", "config/crd/bases/keda.sh_scaledobjects.yaml"),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "0.85.0",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
)


def schema(place: Place, module: str, version: str, file: str) -> Path:
    """The file of a module, copied here when it is missing. Raises ServiceFailed."""
    target = place.folder("schemas") / Path(file).name
    if target.exists():
        return target
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
    if go is None:
        raise ServiceFailed("needs Go 1.26 or newer (https://go.dev/dl/), which is not in PATH")
    with place.progress.step("schemas", f"{module}@v{version}"):
        try:
            done = subprocess.run(
                [go, "mod", "download", "-json", f"{module}@v{version}"],
                cwd=place.folder("schemas"),
                env={**os.environ, "GOFLAGS": ""},
                capture_output=True,
                text=True,
                check=False,
                timeout=LONGEST_S,
            )
        except subprocess.TimeoutExpired:
            raise ServiceFailed(f"go mod download {module}@v{version} did not end in {LONGEST_S} s") from None
        if done.returncode != 0:
            raise ServiceFailed(f"go mod download {module}@v{version}: {done.stdout}{done.stderr}")
        shutil.copyfile(Path(json.loads(done.stdout)["Dir"]) / file, target)
        target.chmod(0o644)
    return target


def main() -> int:
    """Bring what is missing; say where it is."""
    root = Path(os.environ.get("ATRIUM_HOME") or ROOT / "var").resolve() / "tools"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = Place(root=root, state=StateFile(root / "state.json"), progress=Progress())
    try:
        for each in SCHEMAS:
            schema(place, *each)
        module, version = HELM
        print(f"tools: {go_program(place, 'helm', module, version)}, {root / 'schemas'}")
    except ServiceFailed as failure:
        print(f"tools: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
