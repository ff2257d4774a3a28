"""Load from `wrk`: a fixed number of connections, each sending its next request at once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

# Each connection's requests come from one list of bodies, each body once, in order.
_SCRIPT = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local at = %d
request = function()
  at = at + 1
  return wrk.format("POST", "%s", {["content-type"] = "application/json"}, bodies[(at - 1) %% #bodies + 1])
end
done = function(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%d %%d %%f %%f %%f\\n", summary.requests, summary.duration,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of load met; times in milliseconds."""

    requests: int
    per_s: float
    bad_answers: int
    broken: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def post(
    url: str,
    path: str,
    bodies: list[object],
    *,
    connections: int,
    seconds: float,
    skip: int = 0,
    cores: str | None = None,
) -> Load:
    """Send *bodies* in turn to *path*, beginning with the one at *skip*; wrk stays on *cores*."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing; on Debian: apt-get install wrk")
    with TemporaryDirectory() as folder:
        lines = Path(folder, "bodies.jsonl")
        lines.write_text("\n".join(json.dumps(body) for body in bodies) + "\n", encoding="utf-8")
        script = Path(folder, "load.lua")
        script.write_text(_SCRIPT % (lines, skip, path), encoding="utf-8")
        out = subprocess.run(
            [
                *(("taskset", "-c", cores) if cores else ()),
                "wrk",
                "-t1",
                f"-c{connections}",
                f"-d{seconds:.0f}s",
                "--timeout",
                "30s",
                "-s",
                str(script),
                url,
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    match = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\S+) (\S+) (\S+)", out)
    if match is None:
        raise SystemExit(f"wrk said: {out}")
    count, micros, bad, broken = map(int, match.groups()[:4])
    p50, p99, most = (float(value) / 1e3 for value in match.groups()[4:])
    return Load(count, count / (micros / 1e6), bad, broken, p50, p99, most)
