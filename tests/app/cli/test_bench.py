"""``augury bench``: servers that are there, servers that are started, and wrong uses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.app.cli.conftest import RunCli
from tests.bench.servers import answer, echo, serving

QUICK = ("-d", "500ms", "--warm-up", "100ms", "--timeout", "3s")


def test_closed_loop_of_a_server(cli: RunCli) -> None:
    """The table tells percentiles and the generator's own part; what runs is told first."""
    with serving() as server:
        run = cli("bench", server.url, "-c", 4, *QUICK)
    assert run.code == 0, run.err
    for word in ("m on http://127.0.0.1", "closed loop, 4 connections", "p99.9", "generator"):
        assert word in run.out


def test_json_goes_alone_to_standard_output(cli: RunCli) -> None:
    """So that it can be piped; it holds all settings, and no secret."""
    with serving() as server:
        options = ("--rate", 200, "--slo", "500ms", "--seed", 7, "-H", "X-Key: geheim", *QUICK)
        run = cli("bench", server.url, *options, "--json", "-")
    told = json.loads(run.out)
    assert told["kind"] == "open"
    assert told["settings"]["seed"] == 7
    assert told["settings"]["deadline"] == "X-Request-Timeout: 0.5"
    assert told["levels"][0]["ok"] > 0
    assert "geheim" not in run.out
    assert b"X-Key: geheim" in server.headers[-1]


def test_sweep_writes_report_and_json(cli: RunCli) -> None:
    """One line for each rate while it runs; the highest that holds at the end."""
    with serving() as server:
        files = ("--json", "a.json", "--html", "a.html")
        run = cli("bench", server.url, "--rates", "50,100", "--slo", "2s", *QUICK, *files)
    assert run.code == 0, run.err
    assert "in time" in run.err
    assert "with 99 % of all answered within" in run.out
    told = json.loads(Path("a.json").read_text())
    assert [one["rate_rps"] for one in told["levels"]] == [50, 100]
    assert Path("a.html").read_text().count("<svg") == 3 + 2 * 3


def test_wrong_answers_are_a_failure(cli: RunCli) -> None:
    """Exit code 1 and their number; with --echo each answer must be its own request's."""

    async def same(number: int, path: str, body: bytes) -> bytes | None:
        return await echo(number, path, body and b'{"rows":[{"x":[1,2]}]}')

    with serving(same) as server:
        run = cli("bench", server.url, "--unique", 100, "--echo", "y=x", *QUICK)
        assert run.code == 1
        assert "answers were wrong" in run.err
        Path("rows.jsonl").write_text('{"x": [3, 4]}\n')
        Path("right.jsonl").write_text('{"y": [1, 2]}\n')
        assert (
            cli("bench", server.url, "-i", "rows.jsonl", "--expect", "right.jsonl", *QUICK).code
            == 0
        )


def test_nothing_answered_is_a_failure(cli: RunCli) -> None:
    """Refusals only: the numbers are shown, the exit code is 1."""

    async def no(number: int, path: str, body: bytes) -> bytes | None:
        return answer({"code": "overloaded"}, 429) if body else await echo(number, path, body)

    with serving(no) as server:
        run = cli("bench", server.url, *QUICK)
    assert run.code == 1
    assert "refused: 429 overloaded" in run.out
    assert "nothing was answered" in run.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--sweep",), "--slo"),
        (("--rates", "1,2"), "--slo"),
        (("--rates", "1,x", "--slo", "1s"), "--rates"),
        (("--rates", "0", "--slo", "1s"), "--rates"),
        (("--rate", "0"), "--rate"),
        (("--rate", "5", "-c", "3"), "--connections"),
        (("--rate", "5", "--sweep", "--slo", "1s"), "--rate"),
        (("--slo", "soon"), "soon"),
        (("--slo", "20s"), "--timeout"),
        (("--duration", "0"), "--duration"),
        (("--unique", "5", "--input", "none.txt"), "none.txt"),
        (("--expect", "pyproject.toml"), "--expect"),
        (("--echo", "y"), "--echo"),
        (("--header", "x"), "--header"),
        (("--cpus", "4000"), "--cpus"),
        (("--dialect", "soap"), "soap"),
        (("--server-cpus", "0"), "--server-cpus"),
        (("--cache",), "--cache"),
    ],
)
def test_wrong_uses_name_the_option(cli: RunCli, options: tuple[str, ...], told: str) -> None:
    """Before anything is sent."""
    run = cli("bench", "http://127.0.0.1:1", *options)
    assert run.code in (1, 2)
    assert told in run.errors


def test_failures_are_one_line(cli: RunCli) -> None:
    """No server, no such model, no row."""
    run = cli("bench", "http://127.0.0.1:1")
    assert (run.code, run.err) == (1, "augury: no answer from 127.0.0.1:1: Connection refused\n")
    run = cli("bench", "nosuch")
    assert run.code == 1
    assert "no model 'nosuch'; here are: tweet-sentiment" in run.err
    Path("empty.txt").touch()
    with serving() as server:
        run = cli("bench", server.url, "-i", "empty.txt")
    assert (run.code, run.err) == (1, "augury: empty.txt holds no row\n")


@pytest.mark.e2e
def test_a_model_gets_a_server_of_its_own(cli: RunCli, repository: Path) -> None:
    """Started on a free port with its cache off, measured with its CPU time and memory, and stopped."""
    options = ("--unique", 500, "--echo", "y=x", "--json", "a.json", *QUICK)
    run = cli("bench", "identity", "--repository", repository, *options)
    assert run.code == 0, run.err
    assert "starting a server for identity 1, its cache off" in run.err
    told = json.loads(Path("a.json").read_text())
    (level,) = told["levels"]
    assert level["ok"] == level["requests"] > 10
    assert told["settings"]["server"]["AUGURY_CACHE_BYTES"] == "0"
    assert level["server"]["cpu_s"] >= 0
    assert level["server"]["rss_peak_bytes"] > 20 << 20
    (pid,) = level["server"]["pids"]
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.e2e
def test_ctrl_c_shows_what_was_measured() -> None:
    """In the middle of a long run: the table, and exit code 130; no worker is left."""
    with serving() as server:
        command = [
            *(sys.executable, "-c", "from augury.app.cli import main; main()"),
            *("bench", server.url, "--rate", "100", "-d", "60s", "--warm-up", "0s"),
        ]
        # Where tests run in the background, Ctrl-C is ignored by those who inherit it.
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads here that hold locks
            start_new_session=True,
        )
        until_s = time.monotonic() + 40
        while server.requests < 60 and time.monotonic() < until_s:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=40)
    assert process.returncode == 130, err
    assert "interrupted; this was measured so far" in out
    assert "open loop, 100 requests/s" in out
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
