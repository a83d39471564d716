"""What a parser process gives up before it touches a stranger's file: memory, time, files, network, its parent."""

import ctypes
import os
import resource
import signal

MEMORY_BYTES = 1024 * 1024 * 1024
CPU_SECONDS = 60
OPEN_FILES = 64
_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def confine(
    *, memory_bytes: int = MEMORY_BYTES, cpu_seconds: int = CPU_SECONDS, parent: int | None = None
) -> bool:
    """Set hard limits on this process: address space, CPU time, open files, no written files, no core dump.

    It dies with its parent, whose process id is `parent`. Where the kernel lets an unprivileged process do so it also leaves the network; returns
    whether it did.
    """
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # At the soft CPU limit comes SIGXCPU, which tells why; at the hard one a bare SIGKILL.
        above = value + 2 if limit == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else value
        resource.setrlimit(limit, (value, above))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        # It was gone before we asked to be told.
        os.kill(os.getpid(), signal.SIGKILL)
    return bool(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)
