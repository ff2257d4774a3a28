"""One log for everything in the process."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from augury.core.errors import InvalidSetting
from augury.observe import logs
from augury.observe.logs import configure_logging, get_logger


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Give the process its logging back."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in list(root.handlers):
        if handler.name in (logs._CONSOLE_HANDLER, logs._FILE_HANDLER):
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)
    logs._redactor.log_content = False
    structlog.contextvars.clear_contextvars()


def _events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """An event is one line of JSON: its words, its fields, when, where and how grave."""
    configure_logging(format="json", level="info", file=None)
    get_logger("augury.test").info("model loaded", model="sentiment", version=3, odd="a\nb")

    (event,) = _events(capsys.readouterr().err)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "model loaded",
        "model": "sentiment",
        "version": 3,
        "odd": "a\nb",
        "level": "info",
        "logger": "augury.test",
    }


def test_console_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """For people: words and fields, no colours where nobody sees them."""
    configure_logging(format="console", level="info", file=None)
    get_logger("augury.test").warning("model loaded", model="sentiment", version=3)

    line = capsys.readouterr().err
    assert "model loaded" in line
    assert "model=sentiment version=3" in line
    assert "[warning" in line
    assert "\x1b" not in line


def test_a_terminal_has_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal there are colours."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logging(format="console", level="info", file=None)
    get_logger("augury.test").info("hello")

    assert "\x1b[" in terminal.getvalue()


def test_the_terminal_cannot_be_rewritten(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters and newlines that a client sends reach no terminal."""
    configure_logging(format="console", level="info", file=None)
    get_logger("augury.test").info("ev\x1b[2Jent\nfake event", path="\x1b]0;x\x07", c1="\x9b2J")

    out = capsys.readouterr().err
    assert not set(out) & {"\x1b", "\x07", "\x9b"}
    assert len(out.splitlines()) == 1


@pytest.mark.parametrize("format", ["console", "json"])
def test_other_loggers_come_out_alike(format: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """uvicorn's and any library's events are formatted and redacted as ours are."""
    own = logging.StreamHandler(io.StringIO())
    logging.getLogger("uvicorn").addHandler(own)
    configure_logging(format=format, level="info", file=None)
    logging.getLogger("uvicorn.error").info(
        "listening on %s", "x", extra={"color_message": "COLOUR", "token": "hunter2"}
    )
    logging.getLogger("uvicorn.access").info('"GET /x?api_key=%s" %d', "hunter2", 200)
    logging.getLogger("some.library").warning("Authorization: Bearer hunter2")
    logging.getLogger("some.library").debug("too little")

    out = capsys.readouterr().err
    assert len(out.splitlines()) == 3
    assert "listening on x" in out
    assert "uvicorn.access" in out
    assert "hunter2" not in out
    assert "COLOUR" not in out
    assert own not in logging.getLogger("uvicorn").handlers


@pytest.mark.parametrize("format", ["console", "json"])
def test_secrets_and_texts_are_not_logged(
    format: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither stderr nor the file has them, not even in a traceback's last line."""
    file = tmp_path / "augury.log"
    configure_logging(format=format, level="info", file=file)
    log = get_logger("augury.test").bind(password="hunter2")
    structlog.contextvars.bind_contextvars(token="hunter2")
    log.info("got", text="Good night", headers={"authorization": "Bearer hunter2"})
    try:
        raise ValueError("Bearer hunter" + "2")
    except ValueError:
        log.exception("failed")
        logging.getLogger("some.library").exception("failed too")

    for out in (capsys.readouterr().err, file.read_text()):
        assert "hunter2" not in out
        assert "Good night" not in out
        assert "<10 characters>" in out
        assert out.count("ValueError: Bearer ***") == 2


def test_an_early_event_is_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    """What is logged before the log is configured is redacted too."""
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.getLogger("augury.early")
    logger.addHandler(handler)
    get_logger("augury.early").warning("early", password="hunter2", text="Good night")
    logger.removeHandler(handler)

    out = capsys.readouterr().err
    assert "early" in out
    assert "hunter2" not in out
    assert "Good night" not in out


def test_texts_are_logged_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """log_content=True shows them, and the next configuration hides them again."""
    log = get_logger("augury.test")
    configure_logging(format="json", level="info", file=None, log_content=True)
    log.info("got", text="Good night")
    configure_logging(format="json", level="info", file=None)
    log.info("got", text="Good night")

    shown, hidden = _events(capsys.readouterr().err)
    assert shown["text"] == "Good night"
    assert hidden["text"] == "<10 characters>"


def test_the_level_is_obeyed_and_may_change(capsys: pytest.CaptureFixture[str]) -> None:
    """A logger that was used already follows the next configuration."""
    log = get_logger("augury.test")
    for level, want in (("WARNING", 3), ("debug", 5), ("critical", 1)):
        configure_logging(format="json", level=level, file=None)
        log.debug("1")
        log.info("2")
        log.warning("3")
        log.error("4")
        log.critical("5")
        assert len(_events(capsys.readouterr().err)) == want


def test_a_level_that_is_off_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the level no processor runs and no value is looked at."""

    class Untouchable:
        def __str__(self) -> str:
            raise AssertionError

    configure_logging(format="json", level="error", file=None)
    monkeypatch.setattr(
        logs.EventLogger, "_proxy_to_logger", lambda *_args, **_kw: pytest.fail("was processed")
    )
    log = get_logger("augury.test")
    log.debug("x", value=Untouchable())
    log.info("x", value=Untouchable())
    log.warning("x", value=Untouchable())


def test_configuring_again_replaces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each event comes once, however often the log was configured; handlers of others stay."""
    root = logging.getLogger()
    other = logging.NullHandler()
    root.addHandler(other)
    for name in ("a.log", "b.log"):
        configure_logging(format="json", level="info", file=tmp_path / name)
    get_logger("augury.test").info("once")
    root.removeHandler(other)

    assert len(_events(capsys.readouterr().err)) == 1
    assert (tmp_path / "a.log").read_text() == ""
    assert len(_events((tmp_path / "b.log").read_text())) == 1


def test_the_file_has_json_whatever_the_console_has(tmp_path: Path) -> None:
    """The file is for machines; its folders are made, any text can be written to it."""
    file = tmp_path / "logs" / "augury.log"
    configure_logging(format="console", level="info", file=file)
    get_logger("augury.test").info("größer 🐦", half="\ud83d", line="a\u2028b")

    (event,) = _events(file.read_text(encoding="utf-8").replace("\u2028", " "))
    assert event["event"] == "größer 🐦"
    assert event["half"] == "\ud83d"


def test_the_file_is_rotated_at_midnight(tmp_path: Path) -> None:
    """At midnight a new file starts; the days before are kept by date, up to keep_days."""
    file = tmp_path / "augury.log"
    configure_logging(format="json", level="info", file=file, keep_days=2)
    (handler,) = (h for h in logging.getLogger().handlers if isinstance(h, logs._DailyFile))
    assert handler.rolloverAt % 86_400 == 0

    for day in range(4):
        get_logger("augury.test").info(f"day {day}")
        # Days pass: what is due tomorrow was due on a day long ago.
        handler.rolloverAt = 86_400 * (1 + day)
    get_logger("augury.test").info("today")

    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "augury.log",
        "augury.log.1970-01-03",
        "augury.log.1970-01-04",
    ]
    assert [event["event"] for event in _events(file.read_text())] == ["today"]


def test_an_unwritable_file_does_not_stop_the_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be opened is warned of, and stderr goes on."""
    (tmp_path / "file").touch()
    configure_logging(format="json", level="info", file=tmp_path / "file" / "augury.log")
    get_logger("augury.test").info("goes on")

    warned, event = _events(capsys.readouterr().err)
    assert warned["level"] == "warning"
    assert "cannot be written" in warned["event"]
    assert warned["file"] == str(tmp_path / "file" / "augury.log")
    assert event["event"] == "goes on"


def test_a_full_disk_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing that fails later is warned of once, without tracebacks; it is taken up again."""
    file = tmp_path / "augury.log"
    configure_logging(format="json", level="info", file=file)
    (handler,) = (h for h in logging.getLogger().handlers if isinstance(h, logs._DailyFile))

    def full(_line: str) -> int:
        raise OSError(28, "No space left on device")

    log = get_logger("augury.test")
    with monkeypatch.context() as patch:
        patch.setattr(handler, "stream", io.StringIO())
        patch.setattr(handler.stream, "write", full)
        log.info("1")
        log.info("2")
    log.info("3")

    words = [event["event"] for event in _events(capsys.readouterr().err)]
    assert words == ["1", "the log file cannot be written; going on without it", "2", "3"]
    assert [event["event"] for event in _events(file.read_text())] == ["3"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"format": "xml"}, "log format 'xml'; known are: console, json"),
        ({"level": "loud"}, "log level 'loud'; known are: debug, info"),
        ({"keep_days": 0}, "kept for 0 days"),
    ],
)
def test_an_impossible_setting_is_told(arguments: dict[str, Any], why: str) -> None:
    """The message names the value and what is allowed, and nothing is changed."""
    before = list(logging.getLogger().handlers)
    with pytest.raises(InvalidSetting, match=why):
        configure_logging(**{"format": "json", "level": "info", "file": None, **arguments})

    assert logging.getLogger().handlers == before


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_some_loggers_are_heard_at_any_level(
    level: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An audit log is not quiet because the rest is, on stderr and in the file, until told anew."""
    file = tmp_path / "a.log"
    configure_logging(format="json", level=level, file=file, always=("augury.test.audit",))
    get_logger("augury.test.audit").info("call begun")
    get_logger("augury.test.audit").debug("quiet but at debug")
    get_logger("augury.test.other").info("quiet above info")
    want = {"debug": 3, "info": 2}.get(level, 1)
    for text in (capsys.readouterr().err, file.read_text()):
        events = _events(text)
        assert len(events) == want
        assert events[0]["event"] == "call begun"

    configure_logging(format="json", level="warning", file=None)
    get_logger("augury.test.audit").info("call begun")
    assert capsys.readouterr().err == ""
