"""Real vLLM engines as `make services` runs them."""

from pathlib import Path


def command_of(pid: str) -> tuple[list[str], dict[str, str]]:
    """What a running engine was started with, its port left open; of its environment what engines need."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    command[command.index("--port") + 1] = "{port}"
    lines = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return command, dict(line.split("=", 1) for line in lines if "=" in line)
