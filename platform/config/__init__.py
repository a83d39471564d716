"""The composition root: settings, servers' entries, what runs where. It knows everyone; nobody imports it."""

import os

# Before anything imports numpy, which reads it once. Threads of a linear algebra library wait for each other actively:
# beside our own threads, on shared cores, an embedding took ten times as long with two of them as with one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
