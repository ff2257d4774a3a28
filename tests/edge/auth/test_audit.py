"""The audit log."""

from __future__ import annotations

import json
import logging
import multiprocessing
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import Unavailable
from augury.edge.auth.audit import KEPT_FILES, Actor, Audit, AuditFile

ADA = Actor("user:ada", "192.0.2.7", "req-1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Not there yet, nor is its folder."""
    return tmp_path / "log" / "audit.jsonl"


@pytest.fixture
def audit(file: Path, clock: ManualClock) -> Iterator[Audit]:
    """Writes to *file*."""
    made = Audit(clock, file=file, max_bytes=100_000)
    yield made
    made.close()


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_a_call_is_two_lines(audit: Audit, file: Path) -> None:
    """Who, from where, what, when; and, under the same name, what came of it."""
    call = await audit.begin(ADA, "DELETE /v1/authors/{id}", {"id": "42"})
    assert len(lines(file)) == 1
    await audit.end(ADA, "DELETE /v1/authors/{id}", call, 204)
    begun, ended = lines(file)
    assert begun == {
        "at": "2026-11-18T11:06:40.000Z",
        "event": "call begun",
        "caller": "user:ada",
        "address": "192.0.2.7",
        "request_id": "req-1",
        "action": "DELETE /v1/authors/{id}",
        "targets": {"id": "42"},
        "call": call,
    }
    assert (ended["event"], ended["call"], ended["status"]) == ("call ended", call, 204)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_it_is_told_to_the_log_as_well(
    audit: Audit, caplog: pytest.LogCaptureFixture
) -> None:
    """The logger is called augury.audit."""
    caplog.set_level(logging.INFO)
    await audit.begin(ADA, "POST /v1/clear", {})
    [record] = [one for one in caplog.records if one.name == "augury.audit"]
    assert "user:ada" in record.getMessage()


async def test_nothing_may_begin_that_cannot_be_written(tmp_path: Path, clock: ManualClock) -> None:
    """503; what has ended is not undone by it."""
    (tmp_path / "folder").write_text("a file is in the way")
    audit = Audit(clock, file=tmp_path / "folder" / "audit", max_bytes=100_000)
    with pytest.raises(Unavailable, match="nothing may be changed") as refused:
        await audit.begin(ADA, "POST /v1/clear", {})
    assert refused.value.retry_after_s
    await audit.end(ADA, "POST /v1/clear", "x", 200)
    await audit.refused(ADA, "POST /v1/clear", {}, 403)
    audit.close()


@pytest.mark.parametrize("path", ["", ".", "/", "a\0b"])
async def test_a_path_that_names_no_file(path: str, clock: ManualClock) -> None:
    """Refused like any other that cannot be written."""
    audit = Audit(clock, file=Path(path), max_bytes=100_000)
    with pytest.raises(Unavailable, match="nothing may be changed"):
        await audit.begin(ADA, "POST /v1/clear", {})
    await audit.end(ADA, "POST /v1/clear", "x", 200)
    await audit.login_failed("192.0.2.7", "key")
    audit.close()


async def test_a_full_disk_leaves_no_half_line(clock: ManualClock) -> None:
    """A device that is always full."""
    audit = Audit(clock, file=Path("/dev/full"), max_bytes=100_000)
    audit._file = _BesideDevice(Path("/dev/full"), 100_000)
    with pytest.raises(Unavailable, match="No space left"):
        await audit.begin(ADA, "POST /v1/clear", {})
    audit.close()


class _BesideDevice(AuditFile):
    """Has no lock file beside a device."""

    def _locked(self) -> Any:
        import contextlib

        return contextlib.nullcontext()


async def test_what_strangers_cause_is_bounded(audit: Audit, file: Path) -> None:
    """Ten from one address, then one in six seconds; those left out are counted."""
    for _ in range(500):
        await audit.login_failed("192.0.2.66", "password")
    await audit.begin(ADA, "POST /v1/clear", {})
    written = lines(file)
    assert len(written) == 11
    assert written[-1]["left_out_before"] == 490
    assert written[0]["caller"] == "nobody"


async def test_many_addresses_are_bounded_together(audit: Audit, file: Path) -> None:
    """Nor do a thousand strangers fill the disk."""
    for number in range(1000):
        await audit.login_failed(f"10.0.{number // 250}.{number % 250}", "token")
    assert len(lines(file)) == 100


async def test_neither_secrets_nor_line_breaks_get_in(audit: Audit, file: Path) -> None:
    """Whatever a client writes into a path or a request id."""
    key = "aug_0123456789ab_" + "x" * 43
    nasty = Actor("user:ada", "192.0.2.7", f'a"\n{{"event": "forged"}} {key}')
    await audit.begin(nasty, "DELETE /v1/authors/{id}", {"id": f"\n\x1b[31m{key}" + "y" * 5000})
    [line] = lines(file)
    assert key not in file.read_text()
    assert line["event"] == "call begun"
    assert len(file.read_bytes()) < 2000


def test_files_are_set_aside_and_bounded(file: Path) -> None:
    """Five older ones are kept; each line is in one file, whole."""
    log = AuditFile(file, max_bytes=1000)
    for number in range(200):
        log.append(json.dumps({"n": number, "pad": "x" * 80}).encode() + b"\n")
    names = sorted(path.name for path in file.parent.iterdir())
    older = [f"{file.name}.{n}" for n in range(1, KEPT_FILES + 1)]
    assert names == sorted([file.name, f"{file.name}.lock", *older])
    numbers: list[int] = []
    for name in [*reversed(older), file.name]:
        path = file.with_name(name)
        assert path.stat().st_size <= 1000
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        numbers += [line["n"] for line in lines(path)]
    assert numbers == list(range(numbers[0], 200))


def _append(path: str, name: int) -> None:
    log = AuditFile(Path(path), max_bytes=10_000)
    for number in range(100):
        log.append(json.dumps({"from": name, "n": number, "pad": "x" * 50}).encode() + b"\n")


def test_two_processes_share_a_file(file: Path) -> None:
    """No line is lost or torn while both write and set aside."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append, args=(str(file), name)) for name in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    found = [
        (line["from"], line["n"])
        for path in file.parent.glob(f"{file.name}*")
        if not path.name.endswith(".lock")
        for line in lines(path)
    ]
    assert sorted(found) == [(name, number) for name in (1, 2) for number in range(100)]
