"""A light model beside heavy ones on the same cores, with the shared CPU budget and without it.

The schedulers are driven directly, so that nothing but they and the models is measured: each heavy model has four batches to do at
any time, of tens of milliseconds each, and the light one is asked every 20 ms for a two-hundredth of one.  Each case runs in
turn, ``--rounds`` times.

    python -m benchmarks.fairness [--seconds 4] [--rounds 2] [--heavy 1,3]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from augury.app.build import SWITCH_INTERVAL_S
from augury.batching.budget import CpuBudget
from augury.batching.cost import CostModel
from augury.batching.policies.base import PolicyContext
from augury.batching.policies.registry import make_policy
from augury.batching.scheduler import Scheduler, Work
from augury.core.clock import SystemClock
from augury.observe.metrics import Metrics, VersionMetrics
from augury.packages.manifest import BatchingTable
from augury.runtimes.base import Runtime, RuntimeOptions
from augury.runtimes.registry import RUNTIMES

# Turns of the model's loop: so many times a product of two 64 x 64 matrices.
LIGHT_TURNS, HEAVY_TURNS = 20, 4000
CLIENTS = 4
EVERY_S = 0.02
# Requests that teach the cost model before anything counts.
FIRST = 10


@dataclass
class Case:
    """What one case showed.

    Args:
        heavy: Heavy models.
        budget: Whether they share a CPU budget.
    """

    heavy: int
    budget: bool
    times_s: list[float] = field(default_factory=list)
    batches_per_s: list[float] = field(default_factory=list)

    @property
    def title(self) -> str:
        """In the table."""
        return f"{self.heavy} heavy, {'budget' if self.budget else 'no budget'}"

    def percentile_ms(self, percent: int) -> float:
        """Of the light model's answers."""
        ordered = sorted(self.times_s)
        return 1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def write_loop(folder: Path) -> Path:
    """An ONNX file that computes as long as its row asks for: INT64 ``turns`` in, FP32 ``done`` out."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    matrix = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32) / 8
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "matrix"], ["product"]),
            helper.make_node("Tanh", ["product"], ["next"]),
            helper.make_node("Identity", ["go_on"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [64, 64]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [64, 64]),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["turns"], ["most"], keepdims=0),
            helper.make_node("Loop", ["most", "", "matrix"], ["end"], body=body),
            helper.make_node("ReduceMean", ["end"], ["mean"], keepdims=0),
            helper.make_node("Cast", ["turns"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["numbers", "mean"], ["done"]),
        ],
        "loop",
        [helper.make_tensor_value_info("turns", TensorProto.INT64, ["batch", 1])],
        [helper.make_tensor_value_info("done", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    file = folder / "model.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(file))
    return file


def _scheduler(runtime: Runtime, name: str, cores: int, budget: CpuBudget | None) -> Scheduler:
    cost = CostModel()
    policy = make_policy(PolicyContext(BatchingTable(), 1, cost))
    return Scheduler(
        name, lambda inputs, rows, cancel: (runtime.run(inputs, cancel), {}), policy=policy, cost=cost,
        instances=cores, max_rows=1, max_queue_rows=1000, clock=SystemClock(),
        metrics=VersionMetrics(Metrics(), name, 1), budget=budget,
    )  # fmt: skip


async def _ask(scheduler: Scheduler, turns: int) -> float:
    """One row; how long it took."""
    began = time.perf_counter()
    future = asyncio.get_running_loop().create_future()
    work = Work({"turns": np.array([[turns]], dtype=np.int64)}, 1, future)
    scheduler.submit([work])
    await work.future
    return time.perf_counter() - began


async def measure(case: Case, file: Path, seconds: float) -> None:
    """Run *case* once."""
    cores = len(os.sched_getaffinity(0))
    runtime = RUNTIMES.get("onnx")(file, RuntimeOptions(threads=1, instances=cores))
    budget = CpuBudget(cores, SystemClock()) if case.budget else None
    light = _scheduler(runtime, "light", cores, budget)
    heavy = [_scheduler(runtime, f"heavy-{number}", cores, budget) for number in range(case.heavy)]
    loop = asyncio.get_running_loop()
    for scheduler in (light, *heavy):
        scheduler.start(loop)
    try:
        for _ in range(FIRST):
            await _ask(light, LIGHT_TURNS)
        until = time.monotonic() + seconds
        done = 0

        async def load(scheduler: Scheduler) -> None:
            nonlocal done
            while time.monotonic() < until:
                await _ask(scheduler, HEAVY_TURNS)
                done += 1

        async def look() -> None:
            while time.monotonic() < until:
                await asyncio.sleep(EVERY_S)
                case.times_s.append(await _ask(light, LIGHT_TURNS))

        began = time.monotonic()
        await asyncio.gather(*(load(one) for one in heavy for _ in range(CLIENTS)), look())
        if heavy:
            case.batches_per_s.append(done / (time.monotonic() - began))
    finally:
        for scheduler in (light, *heavy):
            await scheduler.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--heavy", default="1,3", help="numbers of heavy models")
    args = parser.parse_args()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    cases = [Case(0, True)] + [
        Case(int(heavy), budget) for heavy in args.heavy.split(",") for budget in (True, False)
    ]
    with TemporaryDirectory() as folder:
        file = write_loop(Path(folder))
        for _ in range(args.rounds):
            for case in cases:
                asyncio.run(measure(case, file, args.seconds))
    print(f"{'case':20} {'light p50':>10} {'light p99':>10} {'heavy batches/s':>16}")
    for case in cases:
        heavy = f"{statistics.median(case.batches_per_s):.1f}" if case.batches_per_s else "-"
        print(
            f"{case.title:20} {case.percentile_ms(50):7.1f} ms {case.percentile_ms(99):7.1f} ms {heavy:>16}"
        )


if __name__ == "__main__":
    main()
