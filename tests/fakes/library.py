"""A tenant with its knowledge over real services, and a worker that runs when a test says so."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fakes.embedding import Trouble

from kernel.backends import backends
from knowledge.services import create_knowledge_base, create_text_document, get_document
from knowledge.types import DocumentView, KnowledgeBaseView, NewDocument
from substrate.crossing import system_scope
from substrate.jobs import claim_job, run_job
from substrate.models import Job
from substrate.units import run_unit
from tenants.models import Tenant
from tenants.types import Principal


@dataclass
class Library:
    """A tenant with its knowledge, and a worker that runs when told."""

    tenant: Tenant
    principal: Principal
    files: Path
    trouble: Trouble = field(default_factory=Trouble)

    def base(self, name: str = "Manuals", **given: Any) -> KnowledgeBaseView:
        """Make a knowledge base."""
        return create_knowledge_base(principal=self.principal, name=name, **given)

    def text(self, base: KnowledgeBaseView, text: str, title: str = "Note", **given: Any) -> DocumentView:
        """Hand in a text."""
        new = NewDocument(title=title, **given)
        return create_text_document(
            principal=self.principal, knowledge_base_id=base.id, new=new, text=text
        ).document

    def blobs(self) -> list[Path]:
        """The files in the blob store."""
        return [path for path in self.files.rglob("*") if path.is_file()]

    def document(self, document: DocumentView) -> DocumentView:
        """The document as it stands now."""
        return get_document(principal=self.principal, document_id=document.id)

    def work(self, *, at_most: int = 100, later: bool = True) -> int:
        """Run the jobs that are due, retries included when `later`; returns how many attempts were made."""
        return asyncio.run(_work(at_most, later=later))


async def _work(at_most: int, *, later: bool) -> int:
    made = 0
    try:
        while made < at_most:
            if later:
                await run_unit(_hurry)
            job = await run_unit(claim_job, owner="test")
            if job is None:
                break
            await run_job(job)
            made += 1
    finally:
        await backends.close()
    return made


def _hurry() -> None:
    with system_scope("tests"):
        Job.objects.filter(state=Job.State.QUEUED).update(run_after=datetime.now(UTC) - timedelta(seconds=1))
