"""What Runs and answers stand on in tests: real services, an engine that follows a script."""

from dataclasses import dataclass, field

from fakes.engines import RememberingSpool, ScriptedEngine, model_spec, replica_spec

from assistants.adapters.memory_run_log import MemoryRunLog
from assistants.ports import RunLog
from assistants.services.runner import Runner
from inference.directory import ModelDirectory
from kernel.backends import backends
from routing.adapters.memory_scheduler import MemoryScheduler
from tenants.models import Tenant
from tenants.types import Principal


@dataclass
class Desk:
    """Who asks, and the fakes behind the answer."""

    tenant: Tenant
    principal: Principal
    engine: ScriptedEngine = field(default_factory=ScriptedEngine)
    spool: RememberingSpool = field(default_factory=RememberingSpool)
    run_log: RunLog = field(default_factory=MemoryRunLog)
    runner: Runner = field(default_factory=Runner)

    def be_process(self) -> None:
        """Put the fakes in place for the running loop."""
        directory = ModelDirectory()
        backends.replace("engine.scripted", self.engine)
        backends.replace("usage_spool", self.spool)
        backends.replace("scheduler", MemoryScheduler(queue_limit=50))
        backends.replace("model_directory", directory)
        backends.replace("run_log", self.run_log)
        backends.replace("runner", self.runner)
        directory.show((model_spec("tiny", replica_spec("r1", max_concurrency=50)),))

    def last_messages(self) -> list[dict[str, str]]:
        """The messages that the engine was last asked with."""
        messages: list[dict[str, str]] = self.engine.calls[-1][1].body["messages"]
        return messages
