"""``augury bench``: servers that are there, servers that are started, and wrong uses."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from augury.bench.measure.processes import descendants
from tests.app.cli.conftest import RunCli
from tests.bench.servers import answer, echo, serving

T = TypeVar("T")
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
    assert b"Cache-Control: no-store" in server.headers[-1]
    assert (told["settings"]["rows_from"], told["settings"]["no_store"]) == ("made up", True)


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
        (("--pid", "999999999"), "no process 999999999"),
        (("--format", "txt"), "--format"),
        (("--header", "X: 日本"), "X holds '日'"),
        (("--json", "none/a.json"), "cannot write 'none/a.json'"),
        (("--html", "none/a.html"), "cannot write 'none/a.html'"),
    ],
)
def test_wrong_uses_name_the_option(cli: RunCli, options: tuple[str, ...], told: str) -> None:
    """Before anything is sent."""
    run = cli("bench", "http://127.0.0.1:1", *options)
    assert run.code in (1, 2)
    assert told in run.errors


def test_a_time_without_unit_is_asked_about(cli: RunCli) -> None:
    """50 are seconds, and rarely meant: both commands say so."""
    hint = "--slo 50 is 50 seconds; did you mean 50ms?"
    assert hint in cli("bench", "http://127.0.0.1:1", "--slo", "50").errors
    assert hint in cli("tune", "nosuch", "--slo", "50").errors
    assert "did you mean" not in cli("bench", "http://127.0.0.1:1", "--slo", "50ms").errors


def test_a_report_is_kept_until_there_is_another(cli: RunCli) -> None:
    """A run that fails leaves what was there, and no empty file."""
    Path("old.json").write_text("old")
    run = cli("bench", "http://127.0.0.1:1", "--json", "old.json", "--html", "new.html")
    assert run.code == 1
    assert Path("old.json").read_text() == "old"
    assert not Path("new.html").exists()
    with serving() as server:
        assert cli("bench", server.url, *QUICK, "--json", "old.json").code == 0
    assert json.loads(Path("old.json").read_text())["kind"] == "closed"


def test_secrets_of_a_url_are_nowhere(cli: RunCli) -> None:
    """A password is refused, values of a query are left out; both reports and the terminal."""
    run = cli("bench", "http://me:geheim@127.0.0.1:1/p")
    assert run.code == 1
    assert "-H 'Authorization" in run.err
    assert "geheim" not in run.err

    async def any_path(number: int, path: str, body: bytes) -> bytes | None:
        return answer({}, 200 if path == "/p?key=geheim" else 400)

    Path("rows.jsonl").write_text("{}\n")
    files = ("--json", "a.json", "--html", "a.html")
    with serving(any_path) as server:
        run = cli("bench", server.url + "/p?key=geheim", "-i", "rows.jsonl", *QUICK, *files)
        assert run.code == 0, run.err
        wrong = cli("bench", server.url + "/q?key=geheim", "-i", "rows.jsonl", *QUICK)
    assert "POST /q?key=… is answered with 400" in wrong.err
    everything = run.out + run.err + wrong.err + Path("a.json").read_text()
    assert "geheim" not in everything + Path("a.html").read_text()
    assert "/p?key=…" in run.out


def test_a_path_that_is_no_ascii(cli: RunCli) -> None:
    """It goes in per cent, as a browser sends it."""

    async def any_path(number: int, path: str, body: bytes) -> bytes | None:
        return answer({}, 200 if path == "/%E6%97%A5" else 400)

    Path("rows.jsonl").write_text("{}\n")
    with serving(any_path) as server:
        assert cli("bench", server.url + "/日", "-i", "rows.jsonl", *QUICK).code == 0


def test_a_server_that_dies_loses_no_sweep(cli: RunCli) -> None:
    """Levels that were over are shown and written, then why it ended; exit code 1."""
    with serving() as server:

        async def dies(number: int, path: str, body: bytes) -> bytes | None:
            if number > 60:
                server.stop()
            return await echo(number, path, body)

        server.answering = dies
        options = ("--rates", "100,200,300", "--slo", "1s", *QUICK, "--json", "a.json")
        run = cli("bench", server.url, *options)
    assert run.code == 1
    assert "no answer from" in run.err
    assert "ended early: no answer from" in run.out
    told = json.loads(Path("a.json").read_text())
    assert "no answer from" in told["sweep"]["failure"]
    assert len(told["levels"]) >= 1


def test_what_a_server_says_cannot_paint(cli: RunCli) -> None:
    """Escape sequences in codes and details are left out on their way to the terminal."""

    async def paints(number: int, path: str, body: bytes) -> bytes | None:
        if body and server.requests > 3:
            return answer({"code": "red\x1b[31m\x07"}, 500)
        return await echo(number, path, body)

    with serving(paints) as server:
        run = cli("bench", server.url, *QUICK)
        again = cli("bench", server.url, "--unique", 5, *QUICK)
    assert "failed: 500 red[31m" in run.out
    assert "\x1b[31m" not in run.out + again.err
    assert "\x07" not in run.out + again.err


def test_rows_from_standard_input(cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON lines, or what --format says."""
    for options, text in (((), '{"x": [1, 2]}\n'), (("-f", "csv", "--column", "a"), "a,b\n1,2\n")):
        reader, writer = os.pipe()
        os.write(writer, text.encode())
        os.close(writer)
        with serving() as server, os.fdopen(reader) as file:
            monkeypatch.setattr(sys, "stdin", file)
            run = cli("bench", server.url, "-i", "-", *options, *QUICK)
        assert run.code == 0, run.err
        assert "1 request of the file" in run.out


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
def test_a_model_gets_a_server_of_its_own(
    cli: RunCli, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started on a free port with its cache off, measured with its CPU time and memory, and stopped."""
    for name in [one for one in os.environ if one.startswith("AUGURY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AUGURY_DRAIN_TIMEOUT_S", "5")
    options = ("--unique", 500, "--echo", "y=x", "--json", "a.json", *QUICK)
    run = cli("bench", "identity", "--repository", repository, *options)
    assert run.code == 0, run.err
    assert "starting a server for identity 1, its cache off" in run.err
    told = json.loads(Path("a.json").read_text())
    (level,) = told["levels"]
    assert level["ok"] == level["requests"] > 10
    assert told["settings"]["server"]["AUGURY_CACHE_BYTES"] == "0"
    assert told["settings"]["server"]["inherited"] == ["AUGURY_DRAIN_TIMEOUT_S"]
    assert "it also has AUGURY_DRAIN_TIMEOUT_S of the environment" in run.err
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


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_a_started_server_never_outlives_the_measurement(
    tmp_path: Path, repository: Path, number: signal.Signals
) -> None:
    """Whether the terminal is closed, or the process ended in any way: the server ends too."""
    # Whoever started the tests may have closed terminals ignored (nohup), which children inherit.
    begin = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"
    command = [
        *(sys.executable, "-c", f"{begin}; from augury.app.cli import main; main()"),
        *("bench", "identity", "--repository", str(repository), "-d", "60s"),
    ]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        server = _wait_for(lambda: _server_of(process.pid), 60)
        assert server is not None
        time.sleep(0.5)
        process.send_signal(number)
        process.wait(30)
        assert _wait_for(lambda: not Path(f"/proc/{server}").exists(), 20)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _server_of(pid: int) -> int | None:
    """The server that process *pid* has started, once it answers."""
    for child in descendants([pid]):
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if child != pid and b"--http-port" in words:
            port = int(words[words.index(b"--http-port") + 1])
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return child
    return None


def _wait_for(condition: Callable[[], T], limit_s: float) -> T:
    until_s = time.monotonic() + limit_s
    while not (found := condition()) and time.monotonic() < until_s:
        time.sleep(0.05)
    return found
