"""The full profile on one machine, over `make services`: `python deploy/production/run.py`.

Gateways, control, a Celery worker and beat apart, behind nginx on HOST:PORT (default 127.0.0.1:8000), in the
foreground until Ctrl-C or SIGTERM. WORKERS says how many gateways (default 2). See README.md beside this file.
"""

import sys
from pathlib import Path

# What starts processes and reads the environment file is shared with the services.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "services"))

from local_production.supervisor import main

if __name__ == "__main__":
    sys.exit(main())
