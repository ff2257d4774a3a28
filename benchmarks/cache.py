"""Remembered answers through HTTP with keep-alive: from the process, and from Redis.

One core for the server, another for wrk and a real redis-server.  The bare ASGI handler of `overhead`
runs on the same core in the same rounds: it is the most that Python's HTTP side gives here.  Three cases:

    one text      the same request again and again, remembered in the process
    many texts    2,000 requests in turn, remembered in the process
    from Redis    the same, asked of a process that remembers nothing itself: what another process has
                  computed comes out of Redis, every time

    python -m benchmarks.cache [--rounds 5] [--seconds 3]
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import msgspec

from augury.app.build import TWEET_MODEL
from benchmarks import load
from benchmarks.overhead import bare, on_core
from benchmarks.server import Running, serving

SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 32
TEXTS = 2_000
PATH = f"/api/models/{TWEET_MODEL}/predict"
BARS = {"one text": 20_000, "many texts": 20_000, "from Redis": 8_000}


@contextmanager
def redis(folder: str, port: int) -> Iterator[str]:
    """A redis-server that keeps nothing on disk; its URL."""
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir"]
    process = subprocess.Popen([*command, folder], stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def fill(server: Running, bodies: list[object]) -> None:
    """Ask for every row once."""
    rows = [row for body in bodies for row in body["rows"]]  # type: ignore[index]
    for start in range(0, len(rows), 200):
        request = urllib.request.Request(
            server.url + PATH, msgspec.json.encode({"rows": rows[start : start + 200]})
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert b'"error"' not in answer.read()


def lookups(server: Running) -> dict[tuple[str, str], int]:
    """Rows looked up so far: level and result to their number."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    pattern = r'augury_cache_lookups_total\{level="(\w+)",model="[^"]+",result="(\w+)"\} (\S+)'
    return {(level, result): int(float(n)) for level, result, n in re.findall(pattern, text)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    args = parser.parse_args()
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("this benchmark needs two cores, one of them for the load")
    many: list[object] = [
        {"rows": [{"text": f"Tweet number {number}, good night 😊"}]} for number in range(TEXTS)
    ]
    rates: dict[str, list[float]] = {"bare": [], **{name: [] for name in BARS}}
    with (
        TemporaryDirectory() as folder,
        on_core(LOAD_CORE),
        redis(folder, 18190) as url,
        on_core(SERVER_CORE),
        bare(18191) as bare_url,
        serving(port=18192, store=url) as remembering,
        serving(port=18193, store=url, AUGURY_CACHE_BYTES="0") as forgetting,
        on_core(LOAD_CORE),
    ):
        fill(remembering, many)
        time.sleep(1)  # what was computed is written behind
        before = {server.url: lookups(server) for server in (remembering, forgetting)}
        cases = {
            "bare": (bare_url, "/", many),
            "one text": (remembering.url, PATH, many[:1]),
            "many texts": (remembering.url, PATH, many),
            "from Redis": (forgetting.url, PATH, many),
        }
        for _ in range(args.rounds):
            for name, (server_url, path, bodies) in cases.items():
                run = load.post(
                    server_url, path, bodies, connections=CONNECTIONS, seconds=args.seconds
                )
                if run.bad_answers or run.broken:
                    raise SystemExit(f"{name}: {run.bad_answers} bad, {run.broken} broken")
                rates[name].append(run.per_s)
        expect(remembering, before, {("process", "hit")})
        expect(forgetting, before, {("process", "miss"), ("process", "shared"), ("store", "hit")})
    print(f"bare ASGI handler: {statistics.median(rates['bare']):6.0f} requests/s")
    for name, bar in BARS.items():
        ratios = [one / other for one, other in zip(rates[name], rates["bare"], strict=True)]
        print(
            f"{name:10}: {statistics.median(rates[name]):6.0f} hits/s (bar {bar}), "
            f"{statistics.median(ratios):.2f} of the bare handler "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
    print(f"medians of {args.rounds} rounds")


def expect(
    server: Running, before: dict[str, dict[tuple[str, str], int]], kinds: set[tuple[str, str]]
) -> None:
    """Stop unless all lookups of the rounds were of these *kinds*."""
    after = lookups(server)
    others = {
        kind: count - before[server.url].get(kind, 0)
        for kind, count in after.items()
        if kind not in kinds and count != before[server.url].get(kind, 0)
    }
    if others:
        raise SystemExit(f"not what was to be measured: {others}")


if __name__ == "__main__":
    main()
