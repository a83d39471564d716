"""Measures real engines for the simulator: seconds of an iteration (W + H · sequences) and of a prompt token.

    PYTHONPATH=.:platform python -m benchmarks.routing.calibrate URL [URL ...]

URLs are OpenAI base URLs of vLLM. Writes `benchmarks/routing/calibrated.json`, which `engine.PROFILES["cpu"]` reads.

A prompt nobody sent before is read in `per_prompt + base + per_token · tokens`: the slope and the intercept over several
lengths, of each the smallest of some tries. With `n` streams at once the pause between tokens is `base + per_sequence · n`.
On a machine that does other work both are slower than the engine is.
"""

import asyncio
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

PROMPTS = (64, 256, 1024, 2048, 3072)
STREAMS = (1, 2, 4, 8, 16)
TRIES = 6
ANSWER = 64
OUT = Path(__file__).with_name("calibrated.json")
TIMEOUT = aiohttp.ClientTimeout(total=120)


async def main(urls: Sequence[str]) -> None:
    """Measure every replica, and write the mean of what was found."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        found = [await _measure(session, url) for url in urls]
        async with session.get(f"{urls[0].removesuffix('/v1')}/version") as answer:
            version = (await answer.json())["version"]
    profile = {
        name: round(statistics.mean(each[name] for each in found), 8)
        for name in ("base", "per_sequence", "per_token", "per_prompt")
    }
    written = {
        "profile": profile,
        "replicas": found,
        "source": {
            "engine": f"vLLM {version}",
            "model": "the tiny model of `make services`",
            "replicas": len(urls),
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "load": round(os.getloadavg()[0], 1),
        },
    }
    OUT.write_text(json.dumps(written, indent=1) + "\n")
    sys.stdout.write(json.dumps(written, indent=1) + "\n")


async def _measure(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    async with session.get(f"{url}/models") as answer:
        model = (await answer.json())["data"][0]["id"]
    await _ask(session, url, model, 64, ANSWER)
    reading = []
    for tokens in PROMPTS:
        reading.append(min([(await _ask(session, url, model, tokens, 1))[0] for _ in range(TRIES)]))
    pauses = []
    for streams in STREAMS:
        rounds = [
            await asyncio.gather(*[_ask(session, url, model, 32, ANSWER) for _ in range(streams)])
            for _ in range(TRIES)
        ]
        pauses.append(min(statistics.mean(pause for _, pause in each) for each in rounds))
    per_token, first = _line(PROMPTS, reading)
    per_sequence, base = _line(STREAMS, pauses)
    return {
        "base": max(base, 1e-5),
        "per_sequence": max(per_sequence, 0.0),
        "per_token": max(per_token, 1e-7),
        "per_prompt": max(first - base, 0.0),
    }


async def _ask(
    session: aiohttp.ClientSession, url: str, model: str, tokens: int, answer: int
) -> tuple[float, float]:
    """Seconds to the first token of a new prompt of so many tokens, and the mean pause between the others."""
    prompt = [random.randrange(100, 250) for _ in range(tokens)]
    body = {
        "model": model, "prompt": prompt, "max_tokens": answer, "ignore_eos": True, "stream": True,
        "temperature": 0,
    }  # fmt: skip
    began = time.perf_counter()
    times: list[float] = []
    async with session.post(f"{url}/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.content:
            if line.startswith(b"data: {"):
                times.append(time.perf_counter())
    # Of the whole answer: several tokens may come in one piece.
    return times[0] - began, (times[-1] - times[0]) / (answer - 1) if answer > 1 else 0.0


def _line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of the line with the least squares."""
    slope, intercept = statistics.linear_regression(xs, ys)
    return slope, intercept


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("Which engines? Give their OpenAI base URLs.")
    asyncio.run(main([each.rstrip("/") for each in sys.argv[1:]]))
