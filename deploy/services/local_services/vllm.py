"""vLLM on the CPU, as two replicas of one tiny model, in an environment of its own beside the project's."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local_services.failures import ServiceFailed
from local_services.processes import Launch
from local_services.service import Place, http_get, http_send, plain_environment, run

MODEL = "tiny"
CONTEXT = 4096
_HERE = Path(__file__).resolve().parent.parent
_REQUIREMENTS = _HERE / "vllm-requirements.txt"
_MAKER = _HERE / "make_tiny_model.py"


def _find_uv(place: Place) -> str:
    """uv from PATH, from the project's environment, or installed beside vLLM's."""
    own = place.root / "uv"
    beside = [own / "bin" / "uv", _HERE.parent.parent / ".venv" / "bin" / "uv"]
    for candidate in (shutil.which("uv"), *(str(path) for path in beside if path.exists())):
        if candidate:
            return candidate
    log = place.log("vllm-install")
    run([sys.executable, "-m", "venv", str(own)], what="making a venv for uv", log=log)
    run([str(own / "bin" / "pip"), "install", "-q", "uv"], what="pip install uv", log=log)
    return str(own / "bin" / "uv")


def _fingerprint(paths: Sequence[Path]) -> str:
    """Changes when one of the files does."""
    digest = hashlib.sha256(sys.version.encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _is_current(mark: Path, fingerprint: str) -> bool:
    return mark.exists() and mark.read_text(encoding="ascii") == fingerprint


def install_environment(place: Place) -> None:
    """vLLM's environment, exact versions, about 6 GB (30 s to some minutes by the network)."""
    venv = place.root / "vllm"
    mark, fingerprint = venv / ".atrium", _fingerprint([_REQUIREMENTS])
    if _is_current(mark, fingerprint):
        return
    if sys.version_info[:2] != (3, 11):
        raise ServiceFailed(f"needs Python 3.11, this is {sys.version.split()[0]}")
    shutil.rmtree(venv, ignore_errors=True)
    uv, log = _find_uv(place), place.log("vllm-install")
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
    environment.pop("VIRTUAL_ENV", None)
    with place.progress.step("vllm", "installing vLLM for the CPU (about 6 GB)"):
        run(
            [uv, "venv", "--no-project", "--no-config", "--python", sys.executable, str(venv)],
            what="uv venv",
            log=log,
            environment=environment,
        )
        run(
            [
                *(uv, "pip", "install", "--no-config", "--no-deps", "-r", str(_REQUIREMENTS)),
                *("--python", str(venv / "bin" / "python")),
            ],
            what="uv pip install",
            log=log,
            environment=environment,
        )
    mark.write_text(fingerprint, encoding="ascii")


def make_model(place: Place) -> None:
    """The tiny model."""
    folder = place.root / "model"
    mark, fingerprint = folder / ".atrium", _fingerprint([_MAKER])
    if _is_current(mark, fingerprint):
        return
    shutil.rmtree(folder, ignore_errors=True)
    python = str(place.root / "vllm" / "bin" / "python")
    with place.progress.step("vllm", "making a tiny model"):
        run(
            [python, str(_MAKER), str(folder)],
            what="making the tiny model",
            log=place.log("vllm-install"),
            environment=plain_environment(place, HF_HUB_OFFLINE="1"),
        )
    mark.write_text(fingerprint, encoding="ascii")


@dataclass(frozen=True, slots=True)
class Vllm:
    """One replica: about 3 GB of memory, next to no processor time while idle."""

    name: str
    usual_port: int
    group: str = "vllm"
    ready_seconds: float = 900.0

    @property
    def usual_ports(self) -> Mapping[str, int]:
        """One."""
        return {"main": self.usual_port}

    def install(self, place: Place) -> None:
        """Environment and model, once for all replicas."""
        with place.install_lock:
            install_environment(place)
            make_model(place)

    def launch(self, place: Place) -> Launch:
        """The module, not the `vllm` command, which misses its metadata in this build. One thread each."""
        argv = [str(place.root / "vllm" / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server"]
        argv += ["--model", str(place.root / "model"), "--served-model-name", MODEL]
        argv += ["--host", "127.0.0.1", "--port", str(place.port(self.name)), "--max-model-len", str(CONTEXT)]
        argv += ["--enforce-eager", "--scheduling-policy", "priority", "--enable-prompt-tokens-details"]
        cache = str(place.folder("cache"))
        environment = plain_environment(
            place,
            VLLM_CPU_KVCACHE_SPACE="1",
            VLLM_CPU_OMP_THREADS_BIND="nobind",
            OMP_NUM_THREADS="1",
            HF_HUB_OFFLINE="1",
            VLLM_NO_USAGE_STATS="1",
            DO_NOT_TRACK="1",
            XDG_CACHE_HOME=cache,
            VLLM_CACHE_ROOT=f"{cache}/vllm",
            VLLM_CONFIG_ROOT=f"{cache}/vllm-config",
            HF_HOME=f"{cache}/huggingface",
        )
        return Launch(argv, environment, directory=place.folder("home"), stop_seconds=15.0)

    def _url(self, place: Place) -> str:
        return f"http://127.0.0.1:{place.port(self.name)}"

    def probe(self, place: Place) -> str | None:
        """It calls itself healthy and has completed a real request."""
        if http_get(f"{self._url(place)}/health") is None:
            return None
        body = {"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}
        if http_send(f"{self._url(place)}/v1/chat/completions", json.dumps(body).encode()) is None:
            return None
        version = http_get(f"{self._url(place)}/version")
        return str(json.loads(version)["version"]) if version else None

    def settle(self, place: Place) -> None:
        """Nothing."""

    def environment(self, place: Place) -> dict[str, str]:
        """Merged over the replicas by `merged_environment`."""
        return {"ATRIUM_TEST_VLLM_URLS": f"{self._url(place)}/v1", "ATRIUM_TEST_VLLM_MODEL": MODEL}

    def addresses(self, place: Place) -> Sequence[str]:
        """Loopback only."""
        return [f"{self._url(place)}/v1"]


REPLICAS = (Vllm("vllm-1", 18101), Vllm("vllm-2", 18102))
