"""Which replica has read the beginning of a conversation already: chained hashes of its text. Pure.

Every block of 256 characters (about 64 tokens) is hashed together with the hash of all that comes before it, so that
equal hashes mean equal beginnings. The whole conversation counts, role and text of every message and the tools, not
its first message alone, or all who share a system prompt would share one replica. The first seed is the tenant's, as in
the engine's own cache: no tenant's call follows another's.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from xxhash import xxh3_64_intdigest

BLOCK_CHARS = 256
BLOCK_TOKENS = 64
# A megabyte of text; who writes more is matched by so much of it.
MOST_BLOCKS = 4_096
# Of one replica: about a million tokens, more than an engine keeps.
KEPT_BLOCKS = 16_384
_ENCODING = "utf-8", "surrogatepass"


@dataclass(frozen=True, slots=True)
class Prefix:
    """The chain of a prompt. `home` is the same for every turn of a conversation: who has no cache of it goes there."""

    chain: tuple[int, ...]
    home: int


def prefix_of(body: Mapping[str, Any], seed: int) -> Prefix | None:
    """The chain of the prompt in `body`; None when it is shorter than one block, or no text."""
    prompt = body.get("prompt")
    parts = [prompt] if isinstance(prompt, str) else list(_rendered(body))
    raw = "\x1e".join(parts).encode(*_ENCODING)
    count = min(len(raw) // BLOCK_CHARS, MOST_BLOCKS)
    if not count:
        return None
    chain: list[int] = []
    last = seed
    for start in range(0, count * BLOCK_CHARS, BLOCK_CHARS):
        last = xxh3_64_intdigest(raw[start : start + BLOCK_CHARS], last)
        chain.append(last)
    return Prefix(tuple(chain), _home(parts, body, seed))


def _rendered(body: Mapping[str, Any]) -> Iterator[str]:
    """The conversation as text: not what the engine's template makes of it, but equal whenever that is."""
    tools = body.get("tools")
    if tools:
        yield orjson.dumps(tools, default=str).decode()
    messages = body.get("messages")
    for message in messages if isinstance(messages, Sequence) else ():
        if isinstance(message, Mapping):
            content = message.get("content")
            text = content if isinstance(content, str) else orjson.dumps(content, default=str).decode()
            yield f"{message.get('role')}\x1f{text}"


def _home(parts: Sequence[str], body: Mapping[str, Any], seed: int) -> int:
    """A hash up to the first user message: the same in each turn, another for each conversation."""
    if "prompt" in body:
        return xxh3_64_intdigest(parts[0][:BLOCK_CHARS].encode(*_ENCODING), seed)
    last = seed
    for part in parts:
        last = xxh3_64_intdigest(part.encode(*_ENCODING), last)
        if part.startswith("user\x1f"):
            break
    return last


@dataclass(slots=True)
class _Expected:
    """Calls with one beginning that wait for `replica`, and whether any of them has come to be read."""

    replica: str
    count: int = 0
    read: bool = False


class PrefixIndex:
    """What each replica should have in its cache, by what this process sent there: the least used goes first."""

    def __init__(self, *, kept: int = KEPT_BLOCKS) -> None:
        """`kept` blocks of each replica are remembered at most."""
        self._kept = kept
        self._blocks: dict[str, OrderedDict[int, None]] = {}
        self._generations: dict[str, int] = {}
        # By the first block of those that wait.
        self._expected: dict[int, _Expected] = {}

    def matched(self, replicas: Sequence[str], generations: Sequence[int], chain: Sequence[int]) -> list[int]:
        """How many blocks of the chain's beginning each of the replicas has.

        A block is never remembered without those before it, so that the last one there is found by halving. Replicas
        that have read the same system prompt have the same depth: the last depth that was found is tried first.
        """
        found = []
        first, length, guess = chain[0], len(chain), 0
        for replica, generation in zip(replicas, generations, strict=True):
            blocks = self._blocks.get(replica)
            if blocks is None or first not in blocks or self._generations[replica] != generation:
                found.append(0)
                continue
            if guess and chain[guess - 1] in blocks and (guess == length or chain[guess] not in blocks):
                found.append(guess)
                continue
            low, high = 1, length
            while low < high:
                middle = (low + high + 1) // 2
                if chain[middle - 1] in blocks:
                    low = middle
                else:
                    high = middle - 1
            guess = low
            found.append(low)
        return found

    def note(self, replica: str, generation: int, chain: Sequence[int], *, tokens: int = 0) -> None:
        """The replica reads the chain's text now. What its engine had before `generation` is forgotten.

        Its cache holds `tokens`, 0 when that is not known: no more is remembered, for what the engine has driven out is
        found there no longer, and who went there for it would read it anew and drive out something else.
        """
        waiting = self._expected.get(chain[0]) if self._expected else None
        if waiting is not None:
            waiting.read = True
        self._remember(replica, generation, chain, min(self._kept, tokens // BLOCK_TOKENS or self._kept))

    def _remember(self, replica: str, generation: int, chain: Sequence[int], kept: int) -> None:
        blocks = self._blocks.get(replica)
        if blocks is None or self._generations[replica] != generation:
            blocks = self._blocks[replica] = OrderedDict()
            self._generations[replica] = generation
        # The beginning last, so that it is the most recently used: ends are forgotten before beginnings.
        for block in reversed(chain[:kept]):
            blocks[block] = None
            blocks.move_to_end(block)
        while len(blocks) > kept:
            blocks.popitem(last=False)

    def expect(self, replica: str, generation: int, chain: Sequence[int]) -> None:
        """A call waits for the replica to read the chain's text, which nobody has: who comes meanwhile is to follow it.

        Until it is read it drives nothing out.
        """
        self._remember(replica, generation, chain, self._kept)
        waiting = self._expected.setdefault(chain[0], _Expected(replica))
        waiting.count += 1

    def expect_no_more(self, chain: Sequence[int]) -> None:
        """A call of `expect` waits no longer. When none with its beginning was granted a slot, nobody has read it."""
        waiting = self._expected.get(chain[0])
        if waiting is None:
            return
        waiting.count -= 1
        if waiting.count == 0:
            del self._expected[chain[0]]
            blocks = self._blocks.get(waiting.replica)
            if blocks is not None and not waiting.read:
                for block in chain:
                    blocks.pop(block, None)

    def size(self, replica: str) -> int:
        """Blocks that are remembered of the replica."""
        return len(self._blocks.get(replica, ()))

    def keep_only(self, replicas: Sequence[str]) -> None:
        """Forget every replica but these."""
        for replica in self._blocks.keys() - set(replicas):
            del self._blocks[replica], self._generations[replica]


def preferred(home: int, replicas: Sequence[str], loads: Sequence[float], *, most: float = 1.25) -> int:
    """The index of the replica where a conversation without a cache belongs, the same in every process.

    Rendezvous hashing with bounded loads: the replica with the highest hash that is not above `most` times the mean
    load. Loads are shares of slots in use.
    """
    bound = most * (sum(loads) / len(loads)) + 1e-9
    best, highest = 0, -1
    for index, replica in enumerate(replicas):
        if loads[index] <= bound:
            weight = xxh3_64_intdigest(replica.encode(), home)
            if weight > highest:
                best, highest = index, weight
    return best
