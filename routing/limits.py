"""How long calls may wait and try. Seconds."""

from collections.abc import Mapping

from tenants.types import PriorityClass

# The longest wait for a slot, over all attempts of a call.
QUEUE_WAIT_S: Mapping[PriorityClass, float] = {
    PriorityClass.CRITICAL: 60.0,
    PriorityClass.INTERACTIVE: 60.0,
    PriorityClass.STANDARD: 60.0,
    PriorityClass.BATCH: 300.0,
}
# Of one model, and of all that may answer a call.
MOST_ATTEMPTS = 3
MOST_ATTEMPTS_OF_ALL = 6
# No further attempt begins this long after the first.
RETRY_WITHIN_S = 60.0
# A stream's first byte is its first token; an answer that is not streamed comes whole.
FIRST_TOKEN_S = 120.0
WHOLE_ANSWER_S = 600.0
BETWEEN_CHUNKS_S = 60.0
# A stream that is silent so long is given up where another replica could continue it.
SILENT_S = 20.0
RETRY_AFTER_S = 2.0
# Charges go to the scheduler in portions of so many tokens.
CHARGE_TOKENS = 64
CHARS_PER_TOKEN = 4
# What an answer is reckoned with before it is there: where the caller names no length, and at most.
UNNAMED_ANSWER_TOKENS = 1_024
LONGEST_ANSWER_TOKENS = 16_384


# Copies of calls, which nobody waits for: in one process at once, the wait for a slot, until the first byte of a stream
# (that wait included), and altogether.
MOST_COPIES = 8
COPY_QUEUE_S = 10.0
COPY_FIRST_S = 30.0
COPY_ANSWER_S = 180.0


def estimate_tokens(chars: int) -> int:
    """Tokens of a text of `chars` characters, where nobody has counted: a quarter, rounded up."""
    return -(-chars // CHARS_PER_TOKEN)


def estimate_answer(asked: int, prompt_tokens: int, context_length: int) -> int:
    """Tokens that an answer is reckoned with: what was asked for (0: nothing was), what the model can, or the cap."""
    answer = asked or UNNAMED_ANSWER_TOKENS
    if answer > LONGEST_ANSWER_TOKENS:
        answer = LONGEST_ANSWER_TOKENS
    if context_length and answer > context_length - prompt_tokens:
        answer = max(0, context_length - prompt_tokens)
    return answer
