"""What a tenant says of which model answers: its rules, its dial, its chains, its trials of another model.

It is one document, replaced as a whole: an order of rules has no half-changed state. Documents are read strictly, so
that a word with a typing error is refused when it is saved and never ignored when it should count.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from inference.types import MODEL_ID_LENGTH
from routing.examples import PLAIN, Bank, Examples

MOST_RULES = 100
MOST_CHAINS = 100
MOST_CANARIES = 20
MOST_SHADOWS = 20
MIN_HELD_TOKENS, MAX_HELD_TOKENS = 4, 64
MOST_CACHING_KEYS = 200
MOST_IN_LIST = 50
LONGEST_CHAIN = 3
RULE_NAME_LENGTH = 100
MOST_TOKENS = 100_000_000

Name = Annotated[str, Meta(min_length=1, max_length=RULE_NAME_LENGTH, pattern=PLAIN)]
ModelId = Annotated[str, Meta(min_length=1, max_length=MODEL_ID_LENGTH, pattern=PLAIN)]
Word = Annotated[str, Meta(min_length=1, max_length=MODEL_ID_LENGTH, pattern=PLAIN)]
Words = Annotated[tuple[Word, ...], Meta(max_length=MOST_IN_LIST)]
ModelIds = Annotated[tuple[ModelId, ...], Meta(max_length=MOST_IN_LIST)]
Weekday = Annotated[int, Meta(ge=0, le=6)]
# Empty, or a time of day.
DayTime = Annotated[str, Meta(pattern=r"^(?:[01][0-9]:[0-5][0-9]|2[0-3]:[0-5][0-9])?\Z")]
TokenCount = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Share = Annotated[int, Meta(ge=1, le=99)]
Part = Annotated[int, Meta(ge=1, le=100)]


class Use(StrEnum):
    """What a rule decides: a tier, or models by name in their order."""

    LIGHT = "light"
    HEAVY = "heavy"
    MODELS = "models"


class Task(StrEnum):
    """What kind of work a text asks for, as far as its words show."""

    CODE = "code"
    MATH = "math"
    TRANSLATION = "translation"
    SUMMARY = "summary"
    EXTRACTION = "extraction"
    WRITING = "writing"
    QUESTION = "question"
    OTHER = "other"


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """One rule for calls of `auto`: all of its conditions must hold; one that is empty holds always.

    `assistants` are slugs, `groups` ids, `days` 0 (Monday) to 6. From `from_time` until `until_time` of the tenant's
    calendar, over midnight when the first is later. Tokens are of the whole prompt, estimated, both bounds included; 0 is
    no upper bound. With `strict` no other model may answer than those that the rule names.
    """

    name: Name
    use: Use
    models: ModelIds = ()
    strict: bool = False
    enabled: bool = True
    assistants: Words = ()
    groups: Words = ()
    tasks: Annotated[tuple[Task, ...], Meta(max_length=len(Task))] = ()
    days: Annotated[tuple[Weekday, ...], Meta(max_length=7)] = ()
    from_time: DayTime = ""
    until_time: DayTime = ""
    min_tokens: TokenCount = 0
    max_tokens: TokenCount = 0


class Chain(Struct, frozen=True, forbid_unknown_fields=True):
    """Who answers in place of `model`, in this order: when none of its replicas can, or when the prompt is too long."""

    model: ModelId
    then: Annotated[tuple[ModelId, ...], Meta(min_length=1, max_length=LONGEST_CHAIN)]


class Canary(Struct, frozen=True, forbid_unknown_fields=True):
    """`percent` of the conversations of `model` are answered by `to`; a conversation stays where it is."""

    model: ModelId
    to: ModelId
    percent: Share


class Shadow(Struct, frozen=True, forbid_unknown_fields=True):
    """`percent` of the calls that `model` has answered are asked of `to` as well, to compare both: nobody is shown what it
    says.
    """

    model: ModelId
    to: ModelId
    percent: Part


class CacheUse(StrEnum):
    """What becomes of answers that could be given again: of calls that ask for it or that are the same each time (`asked`),
    of every call whose model allows it (`always`), of none, an assistant's neither (`never`).
    """

    ASKED = "asked"
    ALWAYS = "always"
    NEVER = "never"


class KeyCaching(Struct, frozen=True, forbid_unknown_fields=True):
    """What is said for the calls of one key, by its id."""

    key: Word
    use: CacheUse


class Caching(Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of answers that could be given again: for the tenant's calls, and for those of single keys before it."""

    use: CacheUse = CacheUse.ASKED
    keys: Annotated[tuple[KeyCaching, ...], Meta(max_length=MOST_CACHING_KEYS)] = ()


class Cascade(Struct, frozen=True, forbid_unknown_fields=True):
    """A light model answers `auto` first; when it is not sure of the first `tokens` tokens, a heavy one answers instead.

    Not sure is below a confidence of `below_percent` (the geometric mean of the tokens' probabilities); or, where
    `escalate_percent` is given, the least sure so many percent of the tenant's own calls.
    """

    tokens: Annotated[int, Meta(ge=MIN_HELD_TOKENS, le=MAX_HELD_TOKENS)] = 16
    below_percent: Share = 50
    escalate_percent: Share | None = None


class PolicyPart(StrEnum):
    """What the platform may say for tenants that say nothing themselves. Each is the name of a field of `Policy`."""

    RULES = "rules"
    HEAVY_PERCENT = "heavy_percent"
    CASCADE = "cascade"
    EXAMPLES = "examples"


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """All of it. `heavy_percent` is the share of the `auto` calls that no rule decides which a heavy model answers, the
    most complex ones; None: the light tier first, always. `auto_models` are those that `auto` may choose (empty: all).

    A part that says nothing is as the platform's default says, but for those that `declines` names.
    """

    rules: Annotated[tuple[Rule, ...], Meta(max_length=MOST_RULES)] = ()
    heavy_percent: Percent | None = None
    auto_models: ModelIds = ()
    chains: Annotated[tuple[Chain, ...], Meta(max_length=MOST_CHAINS)] = ()
    canaries: Annotated[tuple[Canary, ...], Meta(max_length=MOST_CANARIES)] = ()
    caching: Caching = Caching()
    cascade: Cascade | None = None
    shadows: Annotated[tuple[Shadow, ...], Meta(max_length=MOST_SHADOWS)] = ()
    examples: Examples = Examples()
    declines: Annotated[tuple[PolicyPart, ...], Meta(max_length=len(PolicyPart))] = ()

    @property
    def empty(self) -> bool:
        """Whether it says nothing."""
        return self == NOTHING_SAID

    def chain_of(self, model: str) -> Sequence[str]:
        """Who answers in place of the model."""
        return next((chain.then for chain in self.chains if chain.model == model), ())

    def canary_of(self, model: str) -> Canary | None:
        """The trial of another model in its place."""
        return next((canary for canary in self.canaries if canary.model == model), None)


NOTHING_SAID = Policy()


def inherited_parts(own: Policy, default: Policy) -> tuple[PolicyPart, ...]:
    """The parts in which the platform's default holds for a tenant that says `own`."""
    return tuple(
        part
        for part in PolicyPart
        if part not in own.declines
        and getattr(own, part) == getattr(NOTHING_SAID, part)
        and getattr(default, part) != getattr(NOTHING_SAID, part)
    )


def with_inherited(own: Policy, default: Policy) -> Policy:
    """What holds for a tenant that says `own`."""
    return replace(own, **{part.value: getattr(default, part) for part in inherited_parts(own, default)})


class CachingInForce(Struct, frozen=True):
    """What holds for one caller, and who said it: `key`, `tenant`, or `nobody`."""

    use: CacheUse = CacheUse.ASKED
    said_by: str = "nobody"

    @property
    def declined(self) -> bool:
        """Whether none is given again."""
        return self.use is CacheUse.NEVER


USUAL_CACHING = CachingInForce()


def caching_for(policy: Policy | None, api_key_id: uuid.UUID | None) -> CachingInForce:
    """What holds for a caller with this key (None: a session): what is said of the key, else of the tenant."""
    if policy is None:
        return USUAL_CACHING
    caching = policy.caching
    if caching.keys and api_key_id is not None:
        name = str(api_key_id)
        for each in caching.keys:
            if each.key == name:
                return CachingInForce(each.use, "key")
    return USUAL_CACHING if caching.use is CacheUse.ASKED else CachingInForce(caching.use, "tenant")


class TenantPolicy(Struct, frozen=True):
    """What holds for a tenant, with the calendar that its times are of.

    `inherited` are the parts that the platform has said; `bank` the examples in force with their vectors, where they have any.
    """

    policy: Policy
    timezone: str
    inherited: tuple[PolicyPart, ...] = ()
    bank: Bank | None = None


class PolicyView(Struct, frozen=True):
    """A policy as its administrators see it; `updated_at` is None before it was ever set.

    `platform` is what holds where it says nothing. `examples_in_use` is whether the examples in force (its own, else the
    platform's) are vectors of the embedder that the installation has.
    """

    policy: Policy
    updated_at: datetime | None
    version: str
    platform: Policy = NOTHING_SAID
    examples_in_use: bool = False


def read_policy(document: object) -> Policy:
    """The policy that a document says. Raises msgspec.ValidationError, which names the place."""
    return msgspec.convert(document, Policy)


def read_stored(document: object) -> Policy:
    """The policy of a document that was stored, perhaps by a later version: what this one does not know is left out.

    Of a list the whole entry is: a rule without one of its conditions would hold for more. Raises as `read_policy`.
    """
    return msgspec.convert(_known(document, _SHAPE), Policy)


_SHAPE = msgspec.inspect.type_info(Policy)


def _known(document: object, shape: msgspec.inspect.Type) -> object:
    if isinstance(shape, msgspec.inspect.UnionType):
        shape = next((each for each in shape.types if isinstance(each, msgspec.inspect.StructType)), shape)
    if isinstance(shape, msgspec.inspect.StructType) and isinstance(document, Mapping):
        return {
            field.name: _known(document[field.name], field.type)
            for field in shape.fields
            if field.name in document
        }
    if isinstance(shape, msgspec.inspect.VarTupleType) and isinstance(document, list):
        return [_known(each, shape.item_type) for each in document if not _says_more(each, shape.item_type)]
    return document


def _says_more(entry: object, shape: msgspec.inspect.Type) -> bool:
    if not isinstance(shape, msgspec.inspect.StructType) or not isinstance(entry, Mapping):
        return False
    return not entry.keys() <= {field.name for field in shape.fields}


def written_policy(policy: Policy) -> dict[str, object]:
    """The policy as JSON. What came with a later version is left out while it says nothing: earlier ones refuse it."""
    found: dict[str, object] = msgspec.to_builtins(policy)
    for name in ("shadows", "examples", "declines"):
        if not getattr(policy, name):
            del found[name]
    return found
