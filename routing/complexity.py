"""How hard a call is, by the words that ask for it: a score from 0 to 1, and the kind of work. Pure, and quick.

The score is a logistic regression over features that do not know any subject: cues of reasoning, comparing, designing,
calculating, constraints and steps on one side, of looking up, translating, correcting and listing on the other, in
English and German, beside length and form. Its weights are trained by `benchmarks/complexity/train.py`, which tells how
well they do on kinds of work that were not in the training (docs/benchmarks/choice.md). Only what is asked counts:
of a long text the short blocks at its beginning and its end, since what lies between is as a rule material.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from operator import mul
from pathlib import Path
from typing import Any

from routing.choice_types import Task

BLOCK, EDGE = 300, 150
# Code is looked for beyond what asks.
CODE_CHARS = 800
STEM = 5
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+")
_SENTENCE = re.compile(r"[.!?;:]\s|\n")
# What is counted in place of being parsed: a few C loops over the text.
_CODE = ("{", "}", "()", ");", "```", "==", "=>", "\n  ", "import ", "def ")
_MATH = ("=", "^", "√", "∑", "∫", "≤", "≥", "+", "%", "\\frac")

# Cues by group. A word counts where it stands here whole, or where its first five letters do (marked by a hyphen).
CUES: Mapping[str, str] = {
    "prove": "prove proof deriv- induc- theor- lemma show- rigor- bewei- herle- zeige- induk- satz",
    "compare": "compa- contr- evalu- asses- trade- weigh pros cons versus advan- drawb- recom- "
    "criti- argue argum- debat- vergl- bewer- abwäg- vorte- nacht- empfe- disku- erört- wider- gegen-",
    "design": "desig- archi- plan plans strat- roadm- migra- schem- propo- syste- entwi- entwu- konze- plane "
    "planu- ablau- scala- skali- toler- fallb- rollo-",
    "build": "imple- refac- debug- algor- funct- progr- concu- threa- race deadl- compl- optim- schre- "
    "unit test- query class code funkt- bug- error- excep- perfo- laufz- neben-",
    "cause": "why cause- expla- reaso- analy- inves- diagn- root warum wieso weshalb erklä- ursac- unter- hinte- "
    "impli- conse- folge- auswi- under- inter- mecha- effec- influ- relat-",
    "quantify": "calcu- solve- equat- proba- minim- maxim- integ- berec- löse gleic- wahrs- expec- erwar- "
    "formu- rate total perce- proze- inter- estim- schät- avera- durch- cost- koste-",
    "constrain": "if given assum- suppo- such must const- without unles- excep- while least most only "
    "falls wenn angen- gegeb- muss müsse- darf ohne außer minde- höchs- nebenb- bedin- never exactl-",
    "steps": "step steps justi- thoro- detai- every each consi- first then final- begrü- schri- ausfü- jeden "
    "jeder berüc- zuers- dann schli- order seque- depen-",
    "write": "essay repor- artic- chapt- story novel memo white- polic- gutac- aufsa- beric- artik- gesch- kapit- "
    "leitf- guide propo- essay speech rede plead- draft- verfa- comprehens-",
    "simple": "trans- übers- summa- zusam- list liste extra- find spell- corre- rewri- forma- conve- capit- short- "
    "brief- kurz kürze- korri- recht- umfor- class- label senti- tag count zähle remov- entfe- repla- erset- "
    "sort sorti- rephr- parap- umsch- title betre- subje- keywo- stich- fix tidy",
    "lookup": "who when where which what name names defin- capit- wer wann wo welch- welche- was heißt mean- "
    "meani- synon- bedeu- abbre- abkür- nenne city stadt land count- year jahr date datum how wie",
    "chat": "hello hi hey thank- thanks hallo danke bitte please morni- morge- joke witz greet-",
}
GROUPS = tuple(CUES)
FORM = (
    "length",
    "material",
    "sentences",
    "questions",
    "numbers",
    "code",
    "math",
    "first_simple",
    "first_lookup",
    "long_words",
)
FEATURES = (*GROUPS, *FORM)


def _lexicon() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for number, words in enumerate(CUES.values()):
        for word in dict.fromkeys(words.split()):
            # A longer word is reached by its beginning alone.
            key = word.rstrip("-")[:STEM] + "-" if word.endswith("-") else word
            if number not in found.get(key, ()):
                found[key] = (*found.get(key, ()), number)
    return found


_LEXICON = _lexicon()
_NOWHERE: tuple[int, ...] = ()
_SIMPLE, _LOOKUP = GROUPS.index("simple"), GROUPS.index("lookup")


def asked_part(text: str) -> str:
    """The part of a text that asks: a short one whole, of a longer one the short blocks it begins and ends with.

    Where it has none (one long block), its beginning and its end.
    """
    if len(text) <= BLOCK:
        return text
    stripped = text.strip()
    first, _, rest = stripped.partition("\n")
    last = rest.rpartition("\n")[2]
    parts = [part for part in (first, last) if 0 < len(part) <= BLOCK]
    if parts:
        return "\n".join(parts)
    return f"{stripped[:EDGE]}\n{stripped[-EDGE:]}"


def features_of(text: str) -> list[float]:
    """The features of a text, in the order of FEATURES, each about 0 to 1."""
    part = asked_part(text)
    counts = [0] * len(GROUPS)
    words = _WORD.findall(part.lower())
    first: set[int] = set()
    found = _LEXICON
    for place, word in enumerate(words):
        groups = found.get(word) or found.get(word[:STEM] + "-", _NOWHERE)
        for group in groups:
            counts[group] += 1
            if place < 3:
                first.add(group)
    total = len(words) or 1
    return [
        *(min(count, 4) / 4 for count in counts),
        math.log2(1 + len(part)) / 10,
        min(1.0, math.log2(1 + max(0, len(text) - len(part))) / 15),
        min(len(_SENTENCE.findall(part)), 12) / 12,
        min(part.count("?"), 3) / 3,
        min(len(_NUMBER.findall(part)), 8) / 8,
        min(sum(map(text[:CODE_CHARS].count, _CODE)), 6) / 6,
        min(sum(map(part.count, _MATH)), 4) / 4,
        float(_SIMPLE in first),
        float(_LOOKUP in first),
        sum(len(word) > 8 for word in words) / total,
    ]


class Model:
    """A trained regression: its weights, and the scores that calls in general have."""

    __slots__ = ("bias", "quantiles", "weights")

    def __init__(self, stored: Mapping[str, Any]) -> None:
        """Of the file that the training writes. Raises ValueError where it is of other features."""
        weights: Mapping[str, float] = stored["weights"]
        if set(weights) != set(FEATURES):
            raise ValueError("the weights are of other features than these: train them anew")
        self.weights = tuple(float(weights[name]) for name in FEATURES)
        self.bias = float(stored["bias"])
        self.quantiles: Sequence[float] = tuple(float(each) for each in stored["quantiles"])

    def score(self, text: str, evidence: float = 0.0) -> float:
        """How complex the text's work is, from 0 to 1; `evidence` in logits is what is known of it beside its words."""
        found = self.bias + evidence + sum(map(mul, self.weights, features_of(text)))
        return 1 / (1 + math.exp(-found))


STORED = Path(__file__).with_name("complexity_weights.json")


def load_model() -> Model:
    """The model that comes with Atrium."""
    return Model(json.loads(STORED.read_text(encoding="utf-8")))


_TASKS: tuple[tuple[Task, "re.Pattern[str]"], ...] = tuple(
    (task, re.compile(pattern, re.IGNORECASE))
    for task, pattern in (
        (Task.TRANSLATION, r"\b(translat\w*|übersetz\w*)"),
        (Task.SUMMARY, r"\b(summar\w+|tl;?dr|zusammenfass\w*|fass\w* .{0,60}zusammen|key points|kernpunkte)"),
        (
            Task.EXTRACTION,
            r"\b(extract\w*|extrahier\w*|classif\w+|klassifizier\w*|label\w*|sentiment|lies .{0,40}aus)",
        ),
        (
            Task.MATH,
            r"\b(prove|proof|calculat\w+|solve|equation|integral|probability|beweis\w*|berechn\w*|löse)\b",
        ),
        (
            Task.CODE,
            r"```|\b(code|python|javascript|typescript|sql|function|bug|refactor\w*|regex|stack trace|api|"
            r"funktion|programm\w*|skript|script|unit tests?)\b",
        ),
        (
            Task.WRITING,
            r"\b(write|draft|essay|article|letter|e-?mail|report|schreib\w*|verfass\w*|entwirf|brief|bericht)\b",
        ),
        (
            Task.QUESTION,
            r"\?|^\s*(who|what|when|where|which|why|how|wer|was|wann|wo|welche\w?|warum|wieso|wie)\b",
        ),
    )
)


def task_of(text: str) -> Task:
    """The kind of work that the text asks for: the first of the table whose words it has."""
    part = asked_part(text)
    return next((task for task, pattern in _TASKS if pattern.search(part)), Task.OTHER)


def question_text(question: str, messages: object) -> str:
    """What is asked: the `question` where somebody has told it apart, else the text of the last message of a user."""
    if question:
        return question
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return ""
    for message in reversed(messages):
        if isinstance(message, Mapping) and message.get("role") == "user":
            return text_of(message.get("content"))
    return ""


def text_of(content: object) -> str:
    """The text of a message's content, which may come in parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""
