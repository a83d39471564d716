"""What processes share outside of the database carries its tenant, or is reviewed here to hold nothing of any.

Every key of Redis and of the cache that the code writes is in this table, with what keeps tenants apart in it. A new
one fails the test until somebody has thought about it.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("assistants", "knowledge", "inference", "routing", "tenants", "platform")

# The beginning of each key and channel of Redis.
REDIS = {
    "atrium:limits:{": "the tenant is the hash tag",
    "atrium:limits:generation": "a random number",
    "atrium:alike:{": "the tenant is the hash tag; shelves within it are hashes made with its id",
    "atrium:answers": "the tenant stands in the key, and the rest is a hash made with its id",
    "atrium:usage": "each entry names its tenant, and is booked in that tenant's scope",
    "atrium:usage:mark": "of the whole stream: random, and nobody's",
    "atrium:run:{": "a random id; who follows or stops a Run is asked for its owner in the database first",
    "atrium:run-stops": "ids of Runs",
    "atrium:run-grown:": "ids of Runs",
    "atrium:sched:{": "a pool is shared; each ticket in its queue names its tenant",
    "atrium:sched:grants:": "ids of tickets, to the process that holds them",
    "atrium:sightings": "speeds of engines, by their ids: engines are shared",
    "atrium:changes": "an empty nudge: what changed is read from the database",
}
# Modules that use Django's cache.
CACHE = {
    "tenants/services/saml_sign_in.py": "a random name, kept with the provider's id, which is compared",
    "tenants/services/figures.py": "sums over all tenants, for operators alone",
    "tenants/lockout.py": "hashes of addresses: accounts are of the platform",
    "platform/console/home/health.py": "whether parts answer",
}
# Arguments of Celery's messages.
TASKS = {"platform/substrate/adapters/celery_jobs.py": "the job's id; its tenant stands in its row"}


def sources() -> Iterator[tuple[str, str]]:
    for root in ROOTS:
        for path in sorted((ROOT / root).rglob("*.py")):
            if "migrations" not in path.parts:
                yield str(path.relative_to(ROOT)), path.read_text()


def strings(text: str) -> Iterator[str]:
    """Every text in the code; of an f-string its beginning, up to and with a brace that is meant."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield node.value if isinstance(node.value, str) else node.value.decode("latin-1")


def test_every_key_of_redis_is_reviewed() -> None:
    found = set()
    for _, text in sources():
        for each in strings(text):
            found |= set(re.findall(r"(?<!urn:)(?<!\w)atrium:[a-z][a-z:-]*\{?", each))
    # An error's name and a message of the command line are no keys.
    assert found - {"atrium:error:"} == set(REDIS)


def test_everything_that_uses_the_cache_is_reviewed() -> None:
    found = {
        path for path, text in sources() if re.search(r"from django\.core\.cache import .*\bcaches?\b", text)
    }
    assert found == set(CACHE)


def test_messages_of_the_broker_hold_ids_of_jobs_alone() -> None:
    found = {path: re.findall(r"args=(\[.*?\])", text) for path, text in sources() if "send_task(" in text}
    assert found == {path: ["[str(job_id)]"] for path in TASKS}
