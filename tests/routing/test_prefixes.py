"""Chained hashes of conversations, and what is remembered of where they were read. Pure."""

from typing import Any

import pytest

from routing.prefixes import BLOCK_CHARS, BLOCK_TOKENS, PrefixIndex, preferred, prefix_of

SYSTEM = {"role": "system", "content": "s" * 2 * BLOCK_CHARS}


def chat(*texts: str, **fields: Any) -> dict[str, Any]:
    """A conversation in which user and assistant take turns."""
    roles = ("user", "assistant")
    return {
        "messages": [SYSTEM, *({"role": roles[i % 2], "content": text} for i, text in enumerate(texts))],
        **fields,
    }


def chain(body: dict[str, Any], seed: int = 1) -> tuple[int, ...]:
    found = prefix_of(body, seed)
    assert found is not None
    return found.chain


def shared(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a == b for a, b in zip(one, other, strict=False))


def test_turns_of_a_conversation_share_all_that_was_said_before() -> None:
    first = chat("a" * 300)
    second = chat("a" * 300, "b" * 300, "c" * 300)
    assert shared(chain(first), chain(second)) == len(chain(first))
    assert prefix_of(first, 1).home == prefix_of(second, 1).home  # type: ignore[union-attr]


def test_a_system_prompt_alone_makes_no_conversation() -> None:
    one, other = chat("a" * 300), chat("z" * 300)
    assert shared(chain(one), chain(other)) == 2
    assert prefix_of(one, 1).home != prefix_of(other, 1).home  # type: ignore[union-attr]


def test_a_change_far_ahead_changes_all_that_follows() -> None:
    one, other = chat("a" * 2000), chat("a" * 2000, tools=[{"type": "function"}])
    assert shared(chain(one), chain(other)) == 0


def test_roles_count() -> None:
    one = {"messages": [{"role": "user", "content": "a" * 600}]}
    other = {"messages": [{"role": "system", "content": "a" * 600}]}
    assert shared(chain(one), chain(other)) == 0


def test_tenants_share_nothing() -> None:
    assert shared(chain(chat("a" * 300), 1), chain(chat("a" * 300), 2)) == 0


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "short"}]},
        {"messages": "not a list of messages"},
        {"messages": [17, None]},
        {"prompt": [1, 2, 3]},
        {"input": ["x"]},
    ],
)
def test_what_is_short_or_no_text_has_no_prefix(body: dict[str, Any]) -> None:
    assert prefix_of(body, 1) is None


def test_parts_and_odd_letters_are_text_too() -> None:
    parts = [{"type": "text", "text": "é" * 300}]
    assert prefix_of({"messages": [{"role": "user", "content": parts}]}, 1) is not None
    assert prefix_of({"prompt": "\ud800" * 300}, 1) is not None


def test_the_index_finds_the_longest_beginning() -> None:
    index = PrefixIndex()
    index.note("r1", 0, (1, 2, 3))
    index.note("r2", 0, (1, 2, 3, 4, 5, 6))
    assert index.matched(["r1", "r2", "r3"], [0, 0, 0], (1, 2, 3, 4, 9)) == [3, 4, 0]
    assert index.matched(["r1", "r2"], [0, 0], (9, 2, 3)) == [0, 0]


def test_an_engine_that_began_anew_has_nothing() -> None:
    index = PrefixIndex()
    index.note("r1", 0, (1, 2))
    assert index.matched(["r1"], [1], (1, 2)) == [0]
    index.note("r1", 1, (1, 3))
    assert index.matched(["r1"], [1], (1, 2)) == [1]


def test_ends_are_forgotten_before_beginnings() -> None:
    index = PrefixIndex(kept=4)
    index.note("r1", 0, (1, 2, 3))
    index.note("r1", 0, (7, 8))
    assert index.size("r1") == 4
    assert index.matched(["r1"], [0], (1, 2, 3)) == [2]
    assert index.matched(["r1"], [0], (7, 8)) == [2]
    index.note("r1", 0, tuple(range(100, 120)))
    assert index.size("r1") == 4
    assert index.matched(["r1"], [0], tuple(range(100, 120))) == [4]


def test_no_more_is_remembered_than_the_engine_s_cache_holds() -> None:
    index = PrefixIndex(kept=8)
    index.note("r1", 0, (1, 2, 3), tokens=4 * BLOCK_TOKENS)
    index.note("r1", 0, (7, 8), tokens=4 * BLOCK_TOKENS)
    assert index.matched(["r1"], [0], (1, 2, 3)) == [2]
    index.note("r1", 0, (9, 10, 11))
    assert index.size("r1") == 7, "what it holds is not known"
    index.note("r1", 0, (20,), tokens=100 * BLOCK_TOKENS)
    assert index.size("r1") == 8, "never more than its own bound"


def test_what_waits_to_be_read_drives_nothing_out() -> None:
    index = PrefixIndex()
    index.note("r1", 0, (1, 2, 3), tokens=4 * BLOCK_TOKENS)
    index.expect("r1", 0, [7, 8, 9])
    assert index.matched(["r1"], [0], (1, 2, 3)) == [3]
    assert index.matched(["r1"], [0], (7, 8, 9)) == [3]
    index.note("r1", 0, (7, 8, 9), tokens=4 * BLOCK_TOKENS)
    assert index.matched(["r1"], [0], (1, 2, 3)) == [1]


def test_processes_agree_where_a_conversation_belongs() -> None:
    replicas = [f"r{number}" for number in range(8)]
    homes = [preferred(home, replicas, [0.0] * 8) for home in range(4000)]
    counts = [homes.count(at) for at in range(8)]
    assert min(counts) > 400
    without = [preferred(home, replicas[:7], [0.0] * 7) for home in range(4000)]
    moved = sum(a != b for a, b in zip(homes, without, strict=True))
    assert moved == counts[7]


def test_a_full_home_is_passed_by() -> None:
    replicas = ["r1", "r2", "r3"]
    home = next(home for home in range(100) if preferred(home, replicas, [0.0] * 3) == 0)
    assert preferred(home, replicas, [0.9, 0.3, 0.3]) != 0
    assert preferred(home, replicas, [0.5, 0.5, 0.5]) == 0


def test_who_comes_while_a_new_prompt_waits_follows_it() -> None:
    index = PrefixIndex()
    index.expect("r1", 0, [1, 2, 3])
    assert index.matched(["r1", "r2"], [0, 0], [1, 2, 4]) == [2, 0]
    index.expect_no_more([1, 2, 3])
    assert index.matched(["r1"], [0], [1, 2, 3]) == [0]


def test_what_one_of_those_that_waited_came_to_be_read_stays_known() -> None:
    index = PrefixIndex()
    index.expect("r1", 0, [1, 2, 3])
    index.expect("r1", 0, [1, 2, 5])
    index.note("r1", 0, [1, 2, 3])
    index.expect_no_more([1, 2, 3])
    index.expect_no_more([1, 2, 5])
    assert index.matched(["r1"], [0], [1, 2, 3]) == [3]
    index.expect_no_more([1, 2, 3])
