"""One vLLM replica in virtual time: continuous batching, chunked prefill, a finite prefix cache, preemption.

An iteration takes `base + per_sequence · decoding + per_token · prompt tokens of its chunk`, plus `per_prompt` for each
prompt that it begins: the law W + H·n that vLLM's own fleet simulator and llm-d's use, with their figures for an 8B
model on an H100 (30 ms + 0.25 ms a token until the first token, 12 ms between tokens). As in vLLM a prompt is read in
chunks beside the sequences that decode, cached blocks are kept until others need their room (least recently used goes
first), and when a decoding sequence finds no block, the sequence admitted last starts anew.

Iterations that differ in nothing are taken in one step of at most `MOST_ITERATIONS`, which an arrival cuts short at the
iteration's end.
"""

import json
import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.routing.virtual import Timeline

BLOCK = 64
MOST_ITERATIONS = 8


@dataclass(frozen=True, slots=True)
class Profile:
    """What a replica can do. Times in seconds, blocks of `BLOCK` tokens."""

    base: float = 0.0118
    per_sequence: float = 0.0002
    per_token: float = 0.00025
    per_prompt: float = 0.018
    sequences: int = 64
    chunk: int = 2048
    blocks: int = 4000

    def times(self, factor: float) -> "Profile":
        """The same replica, `factor` times slower."""
        return replace(
            self,
            base=self.base * factor,
            per_sequence=self.per_sequence * factor,
            per_token=self.per_token * factor,
            per_prompt=self.per_prompt * factor,
        )

    @property
    def prefill_tps(self) -> float:
        """Tokens of prompts that it reads in a second when it does nothing else."""
        return 1 / (self.per_token + self.base / self.chunk)


def _calibrated() -> Profile:
    """A real engine's times, as `calibrate.py` measured them."""
    found = json.loads(Path(__file__).with_name("calibrated.json").read_text())["profile"]
    return Profile(**{name: found[name] for name in ("base", "per_sequence", "per_token", "per_prompt")})


PROFILES = {
    "h100": Profile(),
    "half": Profile().times(2),
    "double": Profile().times(0.5),
    "cpu": _calibrated(),
}


@dataclass(slots=True, eq=False)
class Request:
    """A request as a client sends it, and what became of it. Times in virtual seconds.

    `blocks` are the chained hashes of the prompt's whole blocks; `answer_blocks` those that its answer adds, which a
    next turn would find. `home` is the same for all turns of a conversation. `wait` is the longest wait in a queue.
    `rejected` says why it was refused.
    """

    id: int
    tenant: str
    user: str
    klass: str
    arrival: float
    blocks: tuple[int, ...]
    prompt_tokens: int
    output_tokens: int
    answer_blocks: tuple[int, ...] = ()
    home: int = 0
    weight: int = 1
    wait: float = 60.0
    first: float = math.nan
    end: float = math.nan
    started: float = math.nan
    replica: str = ""
    cached_tokens: int = 0
    rejected: str = ""

    @property
    def ttft(self) -> float:
        """Seconds from the arrival to the first token."""
        return self.first - self.arrival

    @property
    def tpot(self) -> float:
        """Seconds between two tokens, on average."""
        return (self.end - self.first) / max(1, self.output_tokens - 1)


@dataclass(slots=True, eq=False)
class Sequence:
    """A request inside a replica."""

    request: Request
    on_tokens: Callable[[int], None]
    on_end: Callable[[bool], None]
    unread: int = 0
    written: int = 0
    held: list[int] = field(default_factory=list)
    own: int = 0


class Replica:
    """One engine. Requests are submitted; the callbacks of their sequences tell of tokens and of the end."""

    def __init__(self, timeline: Timeline, name: str, profile: Profile) -> None:
        """Empty, with a cold cache."""
        self.timeline = timeline
        self.name = name
        self.profile = profile
        self.waiting: deque[Sequence] = deque()
        self.reading: list[Sequence] = []
        self.decoding: list[Sequence] = []
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.made_tokens = 0
        self.preemptions = 0
        self._idle_blocks: OrderedDict[int, None] = OrderedDict()
        self._used_blocks: dict[int, int] = {}
        self._free = profile.blocks
        self._step = 0
        self._busy = False
        self._span: tuple[float, float, int] | None = None

    @property
    def running(self) -> int:
        """Sequences that are read or decoded."""
        return len(self.reading) + len(self.decoding)

    @property
    def kv_usage(self) -> float:
        """The share of the blocks that sequences hold."""
        return 1 - (self._free + len(self._idle_blocks)) / self.profile.blocks

    def submit(self, sequence: Sequence) -> None:
        """Take a request; it waits inside the engine when the batch is full."""
        sequence.unread = sequence.request.prompt_tokens
        self.waiting.append(sequence)
        if not self._busy:
            self._begin()
        elif self._span is not None:
            self._cut_short()

    def become(self, profile: Profile) -> None:
        """From the next iteration on it is faster or slower."""
        self.profile = profile

    def _begin(self) -> None:
        """Plan the next step, when there is anything to do."""
        self._admit()
        self._busy = bool(self.reading or self.decoding)
        if not self._busy:
            return
        self._step += 1
        step = self._step
        if self.reading:
            chunks, seconds = self._chunks()
            self._span = None
            self.timeline.after(seconds, lambda: self._read(step, chunks))
            return
        seconds = self.profile.base + self.profile.per_sequence * len(self.decoding)
        least = min(each.request.output_tokens - each.written for each in self.decoding)
        count = min(least, MOST_ITERATIONS)
        self._span = (self.timeline.now, seconds, count)
        self.timeline.after(seconds * count, lambda: self._decode(step, count))

    def _cut_short(self) -> None:
        """End the running step of equal iterations with the one under way: somebody waits to be read."""
        if self._span is None or len(self.reading) + len(self.decoding) >= self.profile.sequences:
            return
        began, seconds, count = self._span
        done = min(count, max(1, math.ceil((self.timeline.now - began) / seconds - 1e-9)))
        if done < count:
            self._span = (began, seconds, done)
            self._step += 1
            step = self._step
            self.timeline.at(began + seconds * done, lambda: self._decode(step, done))

    def _admit(self) -> None:
        while self.waiting and self.running < self.profile.sequences:
            sequence = self.waiting[0]
            if not self._take_blocks(sequence):
                return
            self.waiting.popleft()
            sequence.request.started = self.timeline.now
            self.reading.append(sequence)

    def _take_blocks(self, sequence: Sequence) -> bool:
        """Room for the whole prompt, the blocks that are cached shared; False when there is not enough."""
        request = sequence.request
        used, idle = self._used_blocks, self._idle_blocks
        # What was written before a preemption is read again, after the prompt.
        tokens = request.prompt_tokens + sequence.written
        matched = 0
        for block in request.blocks:
            if block not in used and block not in idle:
                break
            matched += 1
        # At least one token is always computed.
        matched = min(matched, (tokens - 1) // BLOCK)
        need = math.ceil(tokens / BLOCK) - matched
        revived = sum(block in idle for block in request.blocks[:matched])
        if need > self._free + len(idle) - revived:
            return False
        for block in request.blocks[:matched]:
            idle.pop(block, None)
            used[block] = used.get(block, 0) + 1
        for block in request.blocks[matched:]:
            if block in idle:
                # Behind a gap a cached block cannot be used, so it is computed again in its own place.
                del idle[block]
                self._free += 1
        self._make_room(need)
        self._free -= need
        sequence.held = list(request.blocks[:matched])
        sequence.own = need
        sequence.unread = tokens - matched * BLOCK
        self.prompt_tokens += tokens
        self.cached_tokens += matched * BLOCK
        request.cached_tokens = matched * BLOCK
        return True

    def _make_room(self, blocks: int) -> None:
        while self._free < blocks:
            self._idle_blocks.popitem(last=False)
            self._free += 1

    def _chunks(self) -> tuple[list[tuple[Sequence, int]], float]:
        """The prompt tokens of the next iteration, and how long it takes."""
        profile = self.profile
        budget = max(1, profile.chunk - len(self.decoding))
        seconds = profile.base + profile.per_sequence * len(self.decoding)
        chunks: list[tuple[Sequence, int]] = []
        for sequence in self.reading:
            if budget <= 0:
                break
            count = min(budget, sequence.unread)
            budget -= count
            chunks.append((sequence, count))
            seconds += count * profile.per_token
            if count == sequence.unread:
                seconds += profile.per_prompt
        return chunks, seconds

    def _read(self, step: int, chunks: list[tuple[Sequence, int]]) -> None:
        """The end of an iteration with prompts in it."""
        if step != self._step:
            return
        self._write(1)
        for sequence, count in chunks:
            if sequence not in self.reading:
                # Preempted for those that decode.
                continue
            sequence.unread -= count
            if sequence.unread == 0:
                self.reading.remove(sequence)
                self.decoding.append(sequence)
                self._share(sequence)
                self._emit(sequence, 1)
        self._begin()

    def _share(self, sequence: Sequence) -> None:
        """Others may use the blocks of a prompt as soon as it was read."""
        for block in sequence.request.blocks[len(sequence.held) :]:
            if block in self._used_blocks or block in self._idle_blocks:
                return
            self._used_blocks[block] = 1
            sequence.held.append(block)
            sequence.own -= 1

    def _decode(self, step: int, count: int) -> None:
        """The end of `count` equal iterations."""
        if step != self._step:
            return
        self._write(count)
        self._begin()

    def _write(self, count: int) -> None:
        for sequence in list(self.decoding):
            if sequence in self.decoding and self._grow(sequence, count):
                self._emit(sequence, count)

    def _grow(self, sequence: Sequence, count: int) -> bool:
        """Room for `count` more tokens; False when the sequence itself had to go."""
        tokens = sequence.request.prompt_tokens + sequence.written + count
        need = math.ceil(tokens / BLOCK) - len(sequence.held) - sequence.own
        while need > self._free + len(self._idle_blocks):
            victim = self.reading[-1] if self.reading else self.decoding[-1]
            self._preempt(victim)
            if victim is sequence:
                return False
        if need > 0:
            self._make_room(need)
            self._free -= need
            sequence.own += need
        return True

    def _preempt(self, sequence: Sequence) -> None:
        (self.reading if sequence in self.reading else self.decoding).remove(sequence)
        self._give_back(sequence, keep=())
        self.waiting.appendleft(sequence)
        self.preemptions += 1

    def _emit(self, sequence: Sequence, count: int) -> None:
        sequence.written += count
        self.made_tokens += count
        request = sequence.request
        if math.isnan(request.first):
            request.first = self.timeline.now
        sequence.on_tokens(count)
        if sequence.written >= request.output_tokens:
            self.decoding.remove(sequence)
            self._give_back(sequence, keep=request.blocks + request.answer_blocks)
            request.end = self.timeline.now
            sequence.on_end(True)

    def _give_back(self, sequence: Sequence, keep: tuple[int, ...]) -> None:
        """Blocks of a sequence that ended: those of `keep` stay cached, its deepest first to go."""
        used, idle = self._used_blocks, self._idle_blocks
        for block in sequence.held:
            used[block] -= 1
            if not used[block]:
                del used[block]
                self._free += 1
        self._free += sequence.own
        cached = keep[: len(sequence.held) + sequence.own] or tuple(sequence.held)
        for block in reversed(cached):
            if block in used:
                continue
            if block in idle:
                idle.move_to_end(block)
            elif self._free:
                self._free -= 1
                idle[block] = None
        sequence.held, sequence.own = [], 0
