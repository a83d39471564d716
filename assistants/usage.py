"""Usage of a model call, as events, stored messages and the REST API show it. Pure."""

from inference.types import TokenUsage


def usage_object(usage: TokenUsage) -> dict[str, int]:
    """Prompt, completion and total tokens, named as OpenAI names them."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
