"""`register_engine --pool P --model ID --url URL […]`."""

from typing import Any

from django.core.management.base import CommandParser

from inference.services import register_engine
from inference.types import ModelKind, Tier
from substrate.commands import AtriumCommand


class Command(AtriumCommand):
    """Put an engine into service."""

    help = "Register one engine as a replica of a model in a pool; the same pool, model and URL again changes it."

    def add_own_arguments(self, parser: CommandParser) -> None:
        """Where it is, what it serves, what that costs."""
        parser.add_argument("--pool", required=True)
        parser.add_argument("--model", required=True, metavar="ID", help="the id that callers use")
        parser.add_argument("--url", required=True, help="the OpenAI base URL, ending in /v1")
        parser.add_argument(
            "--served-name", metavar="S", help="what the engine calls the model (default: its id)"
        )
        parser.add_argument("--kind", choices=[each.value for each in ModelKind], help="default: chat")
        parser.add_argument("--api-key", metavar="K", help="the engine's own key, stored encrypted")
        parser.add_argument("--max-concurrency", type=int, metavar="N", help="calls at once, default 64")
        parser.add_argument("--context", type=int, metavar="N", help="the model's context in tokens")
        parser.add_argument("--region", metavar="R")
        parser.add_argument("--tier", choices=[each.value for each in Tier], help="default: light")
        parser.add_argument("--input-price", metavar="X", help="per million tokens")
        parser.add_argument("--output-price", metavar="X", help="per million tokens")
        parser.add_argument(
            "--dimensions", type=int, metavar="N", help="length of an embedding model's vectors"
        )
        parser.add_argument(
            "--plain-openai",
            action="store_true",
            help="the engine is no vLLM: do not send cache_salt and priority",
        )

    def act(self, **options: Any) -> dict[str, Any]:
        """Register it."""
        kind, tier = options["kind"], options["tier"]
        replica = register_engine(
            pool=options["pool"],
            model=options["model"],
            url=options["url"],
            served_name=options["served_name"],
            kind=ModelKind(kind) if kind else None,
            api_key=options["api_key"],
            max_concurrency=options["max_concurrency"],
            context_length=options["context"],
            region=options["region"],
            tier=Tier(tier) if tier else None,
            input_price=options["input_price"],
            output_price=options["output_price"],
            dimensions=options["dimensions"],
            vllm=not options["plain_openai"],
        )
        return {
            "id": str(replica.id),
            "pool": replica.pool,
            "model": replica.model,
            "url": replica.url,
            "max_concurrency": replica.max_concurrency,
        }

    def say(self, outcome: dict[str, Any]) -> str:
        """One line."""
        return f"{outcome['url']} serves {outcome['model']} in pool {outcome['pool']}."
