"""All benchmarks that need nothing but this project and wrk, one after another (`make bench`)."""

from __future__ import annotations

import subprocess
import sys

for name in ("start", "overhead", "cache", "tight_loop"):
    print(f"== {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
