"""What seeing costs a request: its trail with the hops of a plain call, and their folding into shared series.

`.venv/bin/python benchmarks/hops.py`; a single process, no server, so that nothing else is in the figure.
"""

import gc
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
os.environ.setdefault("ATRIUM_HOME", tempfile.mkdtemp(prefix="atrium-hops-"))
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="atrium-series-"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django  # noqa: E402 - the paths and variables come first

django.setup()

from config.seeing.folding import fold  # noqa: E402
from kernel.hops import Trail, note_hop, on_trail  # noqa: E402

REQUESTS = 40_000
BATCH = 512


def one_request() -> Trail:
    """The trail of a plain streamed call."""
    trail = Trail("v1", "0" * 32, "0" * 32)
    trail.route, trail.stream = "/v1/chat/completions", True
    with on_trail(trail):
        trail.note("authenticate", time.perf_counter())
        trail.note("validate", time.perf_counter())
        note_hop("queue", trail.began, {"pool": "main", "outcome": "ok"})
        place = {"model": "m", "pool": "main", "replica": "r", "outcome": "ok", "span": "0" * 16}
        note_hop("attempt", trail.began, place)
        note_hop("stream", trail.began, {"chunks": 33, "longest_gap_ms": 1.0, "model": "m"})
        used = {"model": "m", "pool": "main", "prompt_tokens": 9, "completion_tokens": 32, "cost_nano": 5}
        note_hop("settle", trail.began, used)
    trail.first_byte = trail.ended = time.perf_counter()
    trail.status = 200
    return trail


def main() -> None:
    """Print microseconds of processor time a request: on its way, and afterwards."""
    # As the server has it: `config.lifespan`.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    noting = folding = 0.0
    for _ in range(REQUESTS // BATCH):
        began = time.process_time()
        trails = [one_request() for _ in range(BATCH)]
        noted = time.process_time()
        fold(trails, [])
        noting += noted - began
        folding += time.process_time() - noted
    count = REQUESTS // BATCH * BATCH / 1e6
    print(f"noting {noting / count:.1f} µs, folding {folding / count:.1f} µs a request")


if __name__ == "__main__":
    main()
