"""What the server itself costs: an identity model and a remembered tweet, beside a bare ASGI handler.

The servers share one core, of which one at a time has something to do; wrk has another.  The bare handler
reads the JSON body and answers it, on the same uvicorn with the same settings: what a web application
without a model gives here.  Each case runs once in each round, and is compared with the bare handler of
its own round, since the speed of a machine changes.

    bare          the handler
    identity      FP32 of 4 in, the same out, each request with other numbers
    uncached      the same model with [cache] enabled = false
    remembered    one tweet, again and again

    python -m benchmarks.overhead [--rounds 5] [--seconds 3]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from augury.app.build import TWEET_MODEL
from benchmarks import load
from benchmarks.server import Running, serving

_BARE = """
import asyncio, msgspec, uvicorn, uvloop
async def app(scope, receive, send):
    message = await receive()
    rows = msgspec.json.decode(message["body"])["rows"] if message.get("body") else []
    body = msgspec.json.encode({"rows": rows})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
uvicorn.run(app, port=PORT, log_config=None, access_log=False, lifespan="off", http="httptools",
            server_header=False, date_header=False, proxy_headers=False)
"""


SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 32


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started in the block runs on *core* alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def bare(port: int) -> Iterator[str]:
    """A uvicorn with nothing behind it."""
    process = subprocess.Popen([sys.executable, "-c", _BARE.replace("PORT", str(port))])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(url, timeout=1).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def write_identity(repository: Path, name: str = "identity", manifest: str = "") -> None:
    """A model that answers its input, FP32 of 4."""
    import onnx
    from onnx import TensorProto, helper

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")
    ]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "identity", ends[:1], ends[1:]
    )
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    if manifest:
        folder.with_name("model.toml").write_text(manifest, encoding="utf-8")
    opset = [helper.make_opsetid("", 17)]
    onnx.save(
        helper.make_model(graph, opset_imports=opset, ir_version=8), str(folder / "model.onnx")
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    args = parser.parse_args()
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("this benchmark needs two cores, one of them for the load")
    rng = random.Random(3)
    numbers: list[object] = [
        {"rows": [{"x": [rng.random() for _ in range(4)]}]} for _ in range(50_000)
    ]
    tweet: list[object] = [{"rows": [{"text": "Good night 😊"}]}]
    with (
        TemporaryDirectory() as folder,
        on_core(SERVER_CORE),
        bare(18090) as bare_url,
        serving_identity(Path(folder)) as server,
        on_core(LOAD_CORE),
    ):
        targets = {
            "bare": (bare_url, "/", numbers),
            "identity": (server.url, "/api/models/identity/predict", numbers),
            "uncached": (server.url, "/api/models/uncached/predict", numbers),
            "remembered": (server.url, f"/api/models/{TWEET_MODEL}/predict", tweet),
        }
        results = measure(targets, args.rounds, args.seconds)
    for name, rates in results.items():
        ratios = [one / other for one, other in zip(rates, results["bare"], strict=True)]
        print(
            f"{name:10}: {statistics.median(rates):6.0f} requests/s, "
            f"{statistics.median(ratios):.2f} of the bare handler "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
    print(f"medians of {args.rounds} rounds, {CONNECTIONS} connections, one core")


@contextmanager
def serving_identity(folder: Path) -> Iterator[Running]:
    """The server with both identity models and the tweets'."""
    write_identity(folder)
    write_identity(folder, "uncached", "[cache]\nenabled = false\n")
    with serving(str(folder), "--app", "tweets", port=18091) as server:
        yield server


def measure(
    targets: dict[str, tuple[str, str, list[object]]], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Requests a second of each target, once in each round."""
    results: dict[str, list[float]] = {name: [] for name in targets}
    for url, path, bodies in targets.values():  # a model's cost is learned from its first requests
        load.post(url, path, bodies[-1000:], connections=CONNECTIONS, seconds=2)
    for number in range(rounds):
        for name, (url, path, bodies) in targets.items():
            skip = number * len(bodies) // rounds  # no round asks what another has asked
            run = load.post(url, path, bodies, connections=CONNECTIONS, seconds=seconds, skip=skip)
            if run.bad_answers or run.broken:
                raise SystemExit(f"{name}: {run.bad_answers} bad answers, {run.broken} broken")
            results[name].append(run.per_s)
    return results


if __name__ == "__main__":
    main()
