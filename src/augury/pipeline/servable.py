"""One loaded version: signature, transforms, runtime and the scheduler that feeds it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from augury.batching.budget import CpuBudget
from augury.batching.cost import CostModel
from augury.batching.inline import InlineGate
from augury.batching.merge import gather_outputs
from augury.batching.policies.base import BatchPolicy, PolicyContext
from augury.batching.policies.registry import make_policy
from augury.batching.scheduler import Scheduler, WorkResult
from augury.batching.work import longest_row
from augury.cache.flight import Flights
from augury.cache.key import RowKeys, content_identity, load_identity
from augury.cache.policies.base import Policy
from augury.cache.policies.registry import POLICIES
from augury.core.cancellation import Cancellation
from augury.core.clock import Clock
from augury.core.errors import AuguryError, InvalidPackage, NotFound, RuntimeFailed
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import NUMPY_DTYPES, Array, Columns, text_nbytes, zero_rows
from augury.observe.logs import get_logger
from augury.observe.metrics import Metrics, VersionMetrics
from augury.packages.manifest import InstancesTable
from augury.packages.reader import MANIFEST_NAME, ModelPackage, read_manifest_files
from augury.pipeline.agreement import signature_faults
from augury.pipeline.calibration import calibrate
from augury.pipeline.costs import CostBook, machine_facts
from augury.pipeline.examples import example_columns, run_examples
from augury.pipeline.joining import joins_of
from augury.pipeline.lengths import LengthGuess
from augury.pipeline.remembered import PredictionRows, RowShelf
from augury.pipeline.transforms.base import Batch, TransformContext
from augury.pipeline.transforms.registry import build_transforms
from augury.runtimes.base import RuntimeOptions
from augury.runtimes.registry import RUNTIMES

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Instances:
    """Batches at once, and threads of each."""

    count: int
    threads: int


def choose_instances(table: InstancesTable, cores: int) -> Instances:
    """Fill up what ``[instances]`` leaves open: one thread an instance, one instance a core.

    Two runs of one thread finish more rows a second than one run of two threads, since nothing waits
    for the slower half; see ``docs/decisions/0006-instances.md`` for the measurement.

    >>> choose_instances(InstancesTable(threads=2), cores=8)
    Instances(count=4, threads=2)
    """
    if table.count is not None:
        return Instances(table.count, table.threads or max(1, cores // table.count))
    threads = table.threads or 1
    return Instances(max(1, cores // threads), threads)


class ModelServable:
    """A version that answers.

    Args:
        package: What it is loaded from.
        generation: Distinguishes loads of the same version within this process.
        clock: Monotonic time.
        metrics: Where batches are counted.
        cores: Cores to plan for; default: those that this process may use.
        content: Digest of what decides its answers, where these are shared with other processes;
            ``None``: they are remembered in this one only.
        remembers: Whether this process has room for answers at all.
        budget: Cores that it shares with other models; ``None``: with none.
        hop_s: What a way between threads takes; quicker models are computed on the event loop.
        costs: Where what its batches cost is kept between starts; ``None``: nowhere.

    Raises:
        InvalidPackage: The package cannot be served.
    """

    def __init__(
        self,
        package: ModelPackage,
        generation: int,
        *,
        clock: Clock,
        metrics: Metrics,
        cores: int | None = None,
        content: str | None = None,
        remembers: bool = True,
        budget: CpuBudget | None = None,
        hop_s: float = 0.0,
        costs: CostBook | None = None,
    ) -> None:
        self._package = package
        self._clock = clock
        manifest = package.manifest
        cores = cores or len(os.sched_getaffinity(0))
        self.instances = choose_instances(manifest.instances, cores)
        options = RuntimeOptions(threads=self.instances.threads, instances=self.instances.count)
        self._runtime = RUNTIMES.get(package.runtime)(package.model_file, options)
        self.native = self._runtime.signature
        self.signature: Signature = manifest.signature.signature(self.native)
        context = TransformContext(path=package.path, native=self.native)
        self._before = build_transforms(manifest.preprocess, context, "preprocess")
        self._after = build_transforms(manifest.postprocess, context, "postprocess")
        self._outputs = tuple(spec.name for spec in self.signature.outputs)
        # What is joined to each row before the steps; None for models without [features].
        self.joins = joins_of(manifest, self.native)
        # Nothing is done to the callers' rows before the model.
        self.takes_rows_as_they_come = not self._before and self.joins is None
        self.metrics = VersionMetrics(metrics, package.name, package.version)
        self.version_label = str(package.version)
        self.content = content
        # With no room for an answer anywhere, no keys are made, and nobody waits for another's answer.
        room = remembers and 0 not in (manifest.cache.max_entries, manifest.cache.max_bytes)
        self.caching = manifest.cache.enabled and (room or content is not None)
        self.storing = self.caching and content is not None
        self.keys = RowKeys(
            load_identity(package.name, package.version, generation)
            if content is None
            else content_identity(package.name, package.version, content)
        )
        self.flights: Flights[WorkResult] = Flights()
        self._policy = _policy(package)
        self._shelf: RowShelf | None = None
        self.machine = machine_facts(
            self._runtime.engine,
            instances=self.instances.count,
            threads=self.instances.threads,
            cores=cores,
        )
        self._costs = costs
        self.cost = (costs.read(package, self.machine) if costs else None) or CostModel()
        batching = manifest.batching
        # Seconds for requests that name no deadline.
        self.deadline_s = batching.deadline_s
        max_rows = self._runtime.fixed_rows or batching.max_rows
        self._inline = InlineGate(batching.inline, hop_s, max_rows)
        # What a row's bytes say of its length before it has one.
        self._lengths = LengthGuess()
        self.scheduler = Scheduler(
            f"{package.name}/{package.version}",
            self.run_batch,
            policy=_batch_policy(package, max_rows, self.cost),
            cost=self.cost,
            instances=self.instances.count,
            threads=self.instances.threads,
            max_rows=max_rows,
            max_queue_rows=batching.max_queue_rows,
            clock=clock,
            metrics=self.metrics,
            budget=budget,
            inline=self._inline,
        )

    @property
    def package(self) -> ModelPackage:
        return self._package

    def preprocess(
        self, inputs: Mapping[str, Array], rows: int, parameters: Mapping[str, Any]
    ) -> Batch:
        """Run the steps before the model; rows that they refuse are in ``errors``."""
        columns: Columns = dict(inputs)
        batch = Batch(columns=columns, rows=rows, parameters=parameters)
        for step in self._before:
            step(batch)
        if self.joins is not None:
            self.joins.drop_spent(batch.columns)
        return batch

    def least_length(self, inputs: Mapping[str, Array], rows: int) -> int:
        """The length that *inputs* have at least, before the steps; 0: nobody knows."""
        return self._lengths.least(text_nbytes(inputs)) if rows == 1 and self._before else 0

    def turn_away(
        self, inputs: Mapping[str, Array], rows: int, deadline_s: float | None, priority: int
    ) -> None:
        """Refuse *inputs* that cannot be in time, before the steps, as far as they can be judged there.

        Raises:
            Overloaded: They cannot.
        """
        if deadline_s is not None:
            self.scheduler.turn_away(deadline_s, priority, self.least_length(inputs, rows))

    def preprocess_now(
        self, inputs: Mapping[str, Array], rows: int, parameters: Mapping[str, Any]
    ) -> Batch:
        """As :meth:`preprocess`, on the event loop; what a single row turns out to be is learnt."""
        batch = self.preprocess(inputs, rows, parameters)
        if rows == 1 and self._before and not batch.errors:
            self._lengths.learn(text_nbytes(inputs), longest_row(batch.columns))
        return batch

    def run_batch(
        self, inputs: dict[str, Array], rows: int, cancel: Cancellation | None = None
    ) -> tuple[dict[str, Array], dict[int, AuguryError]]:
        """Compute one merged batch and run the steps after the model; for instance threads."""
        return self._postprocess(self._run(inputs, rows, cancel), rows)

    def _run(
        self, inputs: dict[str, Array], rows: int, cancel: Cancellation | None = None
    ) -> dict[str, Array]:
        """The model file's own outputs."""
        fixed = self._runtime.fixed_rows
        if fixed is None or rows == fixed:
            return self._runtime.run(inputs, cancel)
        parts = []
        for start in range(0, rows, fixed):
            if cancel is not None:
                cancel.check()
            own = range(start, min(start + fixed, rows))
            part = {name: array[start : own.stop] for name, array in inputs.items()}
            whole = {name: _fill_up(array, fixed) for name, array in part.items()}
            raw = self._runtime.run(whole, cancel)
            if any(array.shape[:1] != (fixed,) for array in raw.values()):
                raise RuntimeFailed(f"the model did not answer {fixed} rows for {fixed} rows")
            parts.append((own, {name: array[: len(own)] for name, array in raw.items()}))
        return gather_outputs(parts, rows)

    def _postprocess(
        self, raw: dict[str, Array], rows: int
    ) -> tuple[dict[str, Array], dict[int, AuguryError]]:
        if not self._after:
            return {name: raw[name] for name in self._outputs}, {}
        columns: Columns = dict(raw)
        batch = Batch(columns=columns, rows=rows)
        for step in self._after:
            step(batch)
        return {name: batch.array(name) for name in self._outputs}, batch.errors

    def warm_up(self) -> None:
        """Answer the package's examples, so that the first caller does not pay for first things.

        Raises:
            InvalidPackage: An example fails or answers something else than it says, or the manifest
                and the model file contradict each other.
        """
        manifest, path = self._package.manifest, self._package.path
        files = read_manifest_files(path.parent, self._package.version)
        for contradiction in signature_faults(files, manifest, self.native):
            raise contradiction
        faults = run_examples(self)
        if faults:
            raise InvalidPackage(faults[0], path=str(path.parent / MANIFEST_NAME))
        columns = example_columns(self) if manifest.examples else self._warm_up_on_zeros()
        self._inline.measured(columns, [spec.name for spec in self.native.inputs if _open(spec)])
        if columns is not None:
            lengths = [getattr(step, "max_tokens", None) for step in self._before]
            calibrate(
                self.run_batch,
                columns,
                self.cost,
                self._clock,
                max_rows=self.scheduler.max_rows,
                max_length=max((length for length in lengths if length), default=None),
            )

    def cost_record(self) -> dict[str, Any]:
        """What is known of its costs on this machine; coefficients in seconds."""
        learnt = self.cost.coefficients
        return {
            "known": self.cost.known,
            "a": learnt.a,
            "d": learnt.d,
            "b": learnt.b,
            "c": learnt.c,
            "samples": self.cost.observations,
            "machine": self.machine,
        }

    def shelf_in(self, cache: PredictionRows) -> RowShelf:
        """The place of this version's rows in *cache*, from the first time on the same."""
        if self._shelf is None:
            table = self._package.manifest.cache
            self._shelf = cache.open(
                self._policy,
                max_entries=table.max_entries,
                max_bytes=table.max_bytes,
                watch=self.metrics,
            )
        return self._shelf

    def stored_name(self, key: bytes) -> str:
        """Under which name the row *key* lies in a store."""
        return f"answer:{self._package.name}:{self._package.version}:{key.hex()}"

    def start(self) -> None:
        self.scheduler.start(asyncio.get_running_loop())

    async def close(self) -> None:
        await self.scheduler.close()
        self.metrics.close()
        if self._costs is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(
                None, self._costs.write, self._package, self.machine, self.cost
            )
        self._runtime.close()
        if self._shelf is not None:
            self._shelf.close()

    def _warm_up_on_zeros(self) -> Columns | None:
        """Run one row of zeros, sizes that are open taken as 1.

        Not every model takes these: its failure says nothing.  What it does answer must do for the
        steps after it, though.

        Returns:
            The zeros, if the model took them.

        Raises:
            InvalidPackage: The steps after the model do not fit its outputs.
        """
        zeros = {
            spec.name: zero_rows(
                1, tuple(max(size, 1) for size in spec.shape), NUMPY_DTYPES[spec.datatype]
            )
            for spec in self.native.inputs
        }
        try:
            raw = self._run(zeros, 1)
        except Exception as error:  # noqa: BLE001 - a runtime may raise anything
            _log.info(
                "no warm-up: the model does not take zeros; give it [[examples]]",
                model=self._package.name,
                version=self._package.version,
                reason=str(error),
            )
            return None
        try:
            self._postprocess(raw, 1)
        except AuguryError as error:
            path = self._package.path.parent / MANIFEST_NAME
            raise InvalidPackage(f"[[postprocess]]: {error.message}", path=str(path)) from None
        columns: Columns = dict(zeros)
        return columns


def _policy(package: ModelPackage) -> Policy:
    try:
        return POLICIES.get(package.manifest.cache.policy)()
    except (NotFound, ImportError) as error:
        raise _no_policy(package, "cache", error) from None


def _batch_policy(package: ModelPackage, max_rows: int, cost: CostModel) -> BatchPolicy:
    try:
        return make_policy(PolicyContext(package.manifest.batching, max_rows, cost))
    except (NotFound, ImportError) as error:
        raise _no_policy(package, "batching", error) from None


def _no_policy(package: ModelPackage, table: str, error: Exception) -> InvalidPackage:
    path = package.path.parent / MANIFEST_NAME
    told = error.message if isinstance(error, NotFound) else str(error)
    return InvalidPackage(f"[{table}] policy: {told}", path=str(path))


def _open(spec: TensorSpec) -> bool:
    """Whether callers choose how large a row of it is."""
    return spec.datatype == "BYTES" or -1 in spec.shape


def _fill_up(array: Array, rows: int) -> Array:
    """Grow the batch axis to *rows* with zero rows (empty ones for BYTES)."""
    missing = rows - len(array)
    if not missing:
        return array
    return np.concatenate([array, zero_rows(missing, array.shape[1:], array.dtype)])
