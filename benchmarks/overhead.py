"""What the server itself costs: an identity model and a remembered tweet, beside a bare ASGI handler.

The bare handler reads the JSON body and answers it, on the same uvicorn with the same settings: it is the
most that Python's HTTP side gives here.

    python -m benchmarks.overhead [--rounds 5] [--seconds 3]
"""

from __future__ import annotations

import argparse
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
from benchmarks.server import serving

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


def write_identity(repository: Path) -> None:
    """A model that answers its input, FP32 of 4."""
    import onnx
    from onnx import TensorProto, helper

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")
    ]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "identity", ends[:1], ends[1:]
    )
    folder = repository / "identity" / "1"
    folder.mkdir(parents=True)
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
    rng = random.Random(3)
    numbers: list[object] = [
        {"rows": [{"x": [rng.random() for _ in range(4)]}]} for _ in range(50_000)
    ]
    remembered: list[object] = [{"rows": [{"text": "Good night 😊"}]}]
    results: dict[str, list[float]] = {"bare": [], "identity": [], "remembered": []}
    with TemporaryDirectory() as folder:
        write_identity(Path(folder))
        with bare(18090) as bare_url, serving(folder, "--app", "tweets", port=18091) as server:
            targets = {
                "bare": (bare_url, "/", numbers),
                "identity": (server.url, "/api/models/identity/predict", numbers),
                "remembered": (server.url, f"/api/models/{TWEET_MODEL}/predict", remembered),
            }
            for number in range(args.rounds):
                for name, (url, path, bodies) in targets.items():
                    run = load.post(
                        url,
                        path,
                        bodies,
                        connections=32,
                        seconds=args.seconds,
                        skip=number * 50_000 // args.rounds,
                    )
                    if run.bad_answers or run.broken:
                        raise SystemExit(
                            f"{name}: {run.bad_answers} bad answers, {run.broken} broken"
                        )
                    results[name].append(run.per_s)
    for name, rates in results.items():
        print(f"{name:10}: {statistics.median(rates):6.0f} requests/s (median of {args.rounds})")
    for name in ("identity", "remembered"):
        ratio = statistics.median(
            a / b for a, b in zip(results[name], results["bare"], strict=True)
        )
        print(f"ratio {name} / bare ASGI handler: {ratio:.2f}")


if __name__ == "__main__":
    main()
