"""Where the processes of one server keep their series, so that any of them can answer for all.

`prometheus_client` decides at its import whether series live in files, so this must be said before: by settings, from
the program that runs. Each master process (gunicorn's, or the one server or worker) has a folder of its own below
`ATRIUM_HOME/metrics`, named by its process id and start, which its children share; folders of the dead are removed.
Imports nothing of Prometheus.
"""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import parent_process
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_FOLDER = re.compile(r"(?:server|worker)-(\d+)-(\d+)")
_LIVE = re.compile(r"gauge_live[a-z]*_(\d+)\.db")
_COMMANDS = {"serve": "server", "run_worker": "worker"}


def share_series(home: Path, program: Sequence[str], variables: Mapping[str, str]) -> Path | None:
    """The folder of this server's series, made if need be; None for commands and tests, which nobody asks for any.

    A folder that `variables` name is kept: it is the parent's, or the operator's own.
    """
    named = variables.get(VARIABLE)
    if named:
        folder = Path(named)
    else:
        kind, master = _family(program)
        if not kind:
            return None
        folder = home / "metrics" / f"{kind}-{master}-{_started(master)}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _family(program: Sequence[str]) -> tuple[str, int]:
    """(server, worker or nothing; the master's process id) of the program `program`, which is `sys.argv`."""
    if not program:
        return "", 0
    names = {Path(program[0]).stem, Path(program[0]).parent.name}
    if "gunicorn" in names:
        # Settings are read by the workers, which the master forked.
        return "server", os.getppid()
    if "uvicorn" in names:
        return "server", os.getpid() if parent_process() is None else os.getppid()
    if "celery" in names:
        return "worker", os.getpid()
    command = program[1] if len(program) > 1 else ""
    return _COMMANDS.get(command, ""), os.getpid()


def tidy(folder: Path) -> None:
    """Remove the folders of servers that are no more, beside `folder`."""
    if not folder.is_dir():
        return
    for other in folder.parent.iterdir():
        match = _FOLDER.fullmatch(other.name)
        if match and other != folder and _started(int(match[1])) != int(match[2]):
            shutil.rmtree(other, ignore_errors=True)


def forget_dead(folder: Path) -> None:
    """Remove what processes that are no more said of themselves; what they counted stays."""
    for path in folder.glob("gauge_live*.db"):
        match = _LIVE.fullmatch(path.name)
        if match and not _is_alive(int(match[1])):
            with suppress(FileNotFoundError):
                path.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> int:
    """When the process started, in ticks since the machine did; 0 when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[19])
