"""Memory of a server that is loaded: whole huge pages of its own memory, and nothing of anybody else's."""

import subprocess
import sys
from pathlib import Path

import pytest

from config.memory import HUGE_PAGE, whole_huge_pages

MAPS = """\
55ce1e7ab000-55ce1e7ac000 r-xp 00001000 fe:00 18500                      /usr/bin/python3
55ce20000000-55ce20900000 rw-p 00000000 00:00 0                          [heap]
7f0000100000-7f0000900000 rw-p 00000000 00:00 0 
7f0001000000-7f0001800000 rw-s 00000000 00:01 77                         /dev/shm/series
7f0002000000-7f0002800000 rw-p 00000000 fe:00 99                         /var/lib/series.db
7f0003100000-7f0003300000 rw-p 00000000 00:00 0 
7f0004000000-7f0004800000 r--p 00000000 00:00 0 
7ffc00000000-7ffc00800000 rw-p 00000000 00:00 0                          [stack]
"""


def test_only_whole_huge_pages_of_own_memory_are_asked_for() -> None:
    assert list(whole_huge_pages(MAPS)) == [
        (0x55CE20000000, 4 * HUGE_PAGE),
        (0x7F0000200000, 3 * HUGE_PAGE),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for on Linux alone")
def test_a_process_settles_and_what_it_holds_is_whole() -> None:
    code = (
        "import gc; from config.memory import settle_memory;"
        "held = [str(number) for number in range(400_000)]; settle_memory();"
        "assert held == [str(number) for number in range(400_000)]; assert gc.get_freeze_count() > 1_000"
    )
    path = f"{Path(__file__).parents[2] / 'platform'}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "huge_pages" in done.stdout + done.stderr
