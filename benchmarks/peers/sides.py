"""Who is measured: how each peer is installed and started, and what it does for a request.

Each lives in a folder of its own below `$ATRIUM_HOME/bench/peers`, with no network address but loopback, an environment
that holds nothing of the caller's, and whatever it would send to its makers switched off.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MASTER_KEY = "sk-bench-of-this-machine"
LITELLM = "1.108.7"
PORTKEY = "1.15.2"
VLLM_ROUTER = "0.1.17"


@dataclass(frozen=True, slots=True)
class Start:
    """Where a peer is to listen, and for whom it is to ask."""

    folder: Path
    port: int
    spare_port: int
    upstream: str  # without the `/v1`


@dataclass(frozen=True, slots=True)
class Does:
    """What a side does for each request, so that whoever does less is not taken for faster alone."""

    key: str
    usage: str
    more: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A gateway of somebody else: pinned packages, the command that serves, headers that a call needs."""

    name: str
    version: str
    licence: str
    python: tuple[str, ...] = ()
    node: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    command: Callable[[Start], list[str]] = lambda start: []
    files: Callable[[Start], dict[str, str]] = lambda start: {}
    variables: Mapping[str, str] = field(default_factory=dict)
    headers: Callable[[Start], dict[str, str]] = lambda start: {}
    key: str = ""
    does: Does = Does("", "", "")

    @property
    def title(self) -> str:
        """Its name and version."""
        return f"{self.name} {self.version}"

    @property
    def folder(self) -> str:
        """The name of the folder it lives in."""
        return self.name.replace(" ", "-").lower()


def _litellm_files(start: Start) -> dict[str, str]:
    # JSON is YAML too.
    model = {"model": "openai/bench", "api_base": f"{start.upstream}/v1", "api_key": "none"}
    settings = {
        "model_list": [{"model_name": "bench", "litellm_params": model}],
        "general_settings": {"master_key": MASTER_KEY},
        "litellm_settings": {"request_timeout": 600, "set_verbose": False, "json_logs": True},
    }
    return {"config.yaml": json.dumps(settings)}


def _litellm_command(start: Start) -> list[str]:
    words = [str(start.folder / "venv/bin/litellm"), "--config", str(start.folder / "config.yaml")]
    words += ["--host", "127.0.0.1", "--port", str(start.port), "--num_workers", "1"]
    return [*words, "--telemetry", "False"]


# It has no option for the address it listens on.
LOOPBACK = """\
const { Server } = require("node:net");
const listen = Server.prototype.listen;
Server.prototype.listen = function (port, ...rest) {
  const told = rest.filter((each) => typeof each === "function");
  return listen.call(this, { port: Number(port), host: "127.0.0.1" }, ...told);
};
"""


def _portkey_command(start: Start) -> list[str]:
    built = start.folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
    before = ["node", "--require", str(start.folder / "loopback.cjs")]
    return [*before, str(built), f"--port={start.port}", "--headless"]


def _portkey_headers(start: Start) -> dict[str, str]:
    return {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{start.upstream}/v1"}


def _vllm_router_command(start: Start) -> list[str]:
    words = [str(start.folder / "venv/bin/vllm-router"), "--worker-urls", start.upstream]
    words += ["--host", "127.0.0.1", "--port", str(start.port), "--policy", "round_robin"]
    words += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(start.spare_port)]
    return [*words, "--log-level", "warning"]


PEERS = (
    Peer(
        name="LiteLLM",
        version=LITELLM,
        licence="MIT",
        python=(f"litellm[proxy]=={LITELLM}",),
        command=_litellm_command,
        files=_litellm_files,
        variables={
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            # Lists that it would fetch from its makers at each start.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
            "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
            "LITELLM_LOCAL_BLOG_POSTS": "True",
            "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
        },
        key=MASTER_KEY,
        does=Does(
            key="compares one master key; keys of its own need its database, which is not there",
            usage="none that outlives the process: cost is worked out for a header and callbacks",
            more="router with retries, cooldowns; answers parsed and written anew",
        ),
    ),
    Peer(
        name="Portkey gateway",
        version=PORTKEY,
        licence="MIT",
        node={"@portkey-ai/gateway": PORTKEY},
        # With the one that npm chooses by itself every stream ends in "Something went wrong".
        overrides={"@hono/node-server": "1.13.8"},
        command=_portkey_command,
        files=lambda start: {"loopback.cjs": LOOPBACK},
        variables={"NODE_ENV": "production"},
        headers=_portkey_headers,
        does=Does(
            key="none: whoever reaches it may call; it hands the caller's key on",
            usage="none",
            more="checks the address it is sent to, retries when a call asks for it; answers parsed and written anew",
        ),
    ),
    Peer(
        name="vLLM Router",
        version=VLLM_ROUTER,
        licence="Apache-2.0",
        python=(f"vllm-router=={VLLM_ROUTER}",),
        command=_vllm_router_command,
        does=Does(
            key="none",
            usage="none; counters for Prometheus",
            more="chooses a replica (round robin), retries, circuit breaker; answers passed on as they come",
        ),
    ),
)

ATRIUM_DOES = Does(
    key="a tenant's key by its keyed hash, its role, the tenant's state, the right to this model",
    usage="a record with tokens and price in a file before the last byte of the answer, in the ledger soon after",
    more="fair queue, replica and slot, retry and continuation, metrics, the request's way, access log; no limits set",
)

# What was looked for and is not among the peers, with what was found on the way.
ABSENT = {
    "Bifrost": "its npm package only fetches a program from its makers' own host, and its Go modules were not served "
    "by the index",
    "vLLM production-stack router": "not on the package index under a name of its own; `vllm-router` there is the "
    "vLLM project's other router, in Rust, which is measured",
}
