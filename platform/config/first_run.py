"""The first run: built-in models, and a demo tenant that knows Atrium's own documentation.

What it made is written once to `first-run.json` (readable by the owner alone) and printed.
"""

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import transaction

from assistants.services import create_assistant
from inference.services import ensure_built_in_models, ensure_configured_embeddings
from kernel.errors import NotFound
from knowledge.services import create_knowledge_base, ingest_paths
from tenants.services import authenticate_key_now, create_tenant, create_user, find_tenant, issue_api_key
from tenants.types import Role

TENANT = "demo"
# Left by a restore: what came out of a backup had its first run elsewhere.
RESTORED = "restored.json"
ADMIN = "admin@atrium.example"
ASSISTANT = "guide"
KNOWLEDGE_BASE = "Atrium documentation"
SUGGESTIONS = (
    "How do I connect a vLLM server?",
    "Which file formats can I upload?",
    "How are tenants isolated?",
    "What is a Run?",
)
INSTRUCTIONS = (
    "You are the guide to this installation of Atrium. Answer questions about running and using it from the "
    "documentation you are given. Be brief, give commands as they are written there, and cite what you use."
)


def prepare_models() -> None:
    """Built-in models, and the embeddings endpoint that the environment names. Safe to run at every start."""
    ensure_built_in_models()
    ensure_configured_embeddings()


def prepare_first_run(*, say: Callable[[str], object], folder: Path | None = None) -> None:
    """Make the demo tenant unless this installation has had its first run; tell the person by `say`.

    `folder` is where the file goes, ATRIUM_HOME when none is given.
    """
    home: Path = folder or settings.ATRIUM.home
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = home / "first-run.json"
    if path.exists() or (settings.ATRIUM.home / RESTORED).exists() or _demo_exists():
        return
    password = secrets.token_urlsafe(12)
    with transaction.atomic():
        told = _make_demo(password)
        # Written before the transaction ends: a demo tenant whose password nobody knows would be of no use.
        _write_private(path, json.dumps(told, indent=2) + "\n")
    say("First run: a demo tenant was made. This is printed once, and kept in " + str(path))
    say(json.dumps(told, indent=2))


def _demo_exists() -> bool:
    try:
        find_tenant(slug=TENANT)
    except NotFound:
        return False
    return True


def _make_demo(password: str) -> dict[str, str]:
    environment = settings.ATRIUM
    tenant = create_tenant(slug=TENANT, name="Demo", is_demo=True)
    admin = create_user(email=ADMIN, tenant_slug=TENANT, role=Role.OWNER, password=password, is_operator=True)
    issued = issue_api_key(
        tenant_id=tenant.id, name="first run", role=Role.OWNER, user_id=admin.member.user_id
    )
    principal = authenticate_key_now(issued.key)
    knowledge_base = create_knowledge_base(
        principal=principal, name=KNOWLEDGE_BASE, description="How to run and use Atrium."
    )
    create_assistant(
        principal=principal,
        slug=ASSISTANT,
        name="Atrium guide",
        description="Answers questions about this installation from its own documentation.",
        instructions=INSTRUCTIONS,
        model="auto",
        knowledge_base_ids=[knowledge_base.id],
        suggestions=SUGGESTIONS,
    )
    guides = documentation()
    if guides:
        ingest_paths(principal=principal, knowledge_base=KNOWLEDGE_BASE, paths=guides)
    url = environment.public_url or f"http://{environment.host}:{environment.port}"
    return {
        "url": f"{url}/",
        "admin_email": ADMIN,
        "admin_password": password,
        "tenant": TENANT,
        "api_key": issued.key,
    }


def documentation() -> list[Path]:
    """The guides in the project's own `docs/`; none where they were not installed.

    Records of decisions and tables of measurements are left out: who asks how something is done would be shown them.
    """
    return sorted((Path(__file__).resolve().parents[2] / "docs").glob("*.md"))


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
