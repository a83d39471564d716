"""Which answered calls are copied to another model, and what of their answers is needed to compare both.

The call itself pays one look at whether its tenant copies anything. Of a call that is to be copied the text is kept as it
passes, as long as it can be compared; when it has been answered to its end, and settled, the copy begins.
"""

from collections.abc import AsyncIterator

from inference.types import Chunk, Completion
from kernel.backends import backends
from routing.agreement import MOST_CHARS
from routing.eligibility import one_answer
from routing.ports import Copies
from routing.services.accounts import Account
from routing.services.placing import Progress
from routing.types import Answered, ModelCall


class Watched:
    """A call whose answer is to be compared, while it is answered."""

    __slots__ = ("_call", "_chars", "_finish", "_parts", "_to")

    def __init__(self, call: ModelCall, to: str) -> None:
        """Nothing was said yet; the copy goes `to` this model."""
        self._call = call
        self._to = to
        self._parts: list[str] = []
        self._chars = 0
        self._finish = ""

    def take(self, chunk: Chunk) -> None:
        """One more chunk has passed."""
        self._finish = chunk.finish_reason or self._finish
        if self._chars <= MOST_CHARS:
            self._parts.append(chunk.text)
            self._chars += len(chunk.text)

    async def follow(self, chunks: AsyncIterator[Chunk], account: Account) -> AsyncIterator[Chunk]:
        """The chunks as they come; after the last one, whose call is settled by then, the copy begins."""
        async for chunk in chunks:
            self.take(chunk)
            yield chunk
        self._copy(account)

    def answered(self, answer: Completion, account: Account) -> None:
        """It was answered by one answer that came whole, and is settled."""
        self._parts, self._finish = [answer.text], answer.finish_reason or ""
        self._copy(account)

    def _copy(self, account: Account) -> None:
        if account.entry is not None:
            copies: Copies = backends["copies"]
            copies.begin(self._call, self._to, Answered(account.entry, "".join(self._parts), self._finish))


def watch(call: ModelCall, progress: Progress, model: str) -> Watched | None:
    """What is to be seen of the call that `model` answers; None for one that is not copied."""
    if not progress.shadows:
        return None
    shadow = next((each for each in progress.shadows if each.model == model), None)
    if shadow is None or not one_answer(call.surface, call.body):
        return None
    return Watched(call, shadow.to) if progress.memory.chance() * 100 < shadow.percent else None
