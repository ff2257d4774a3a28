"""Serving in this process: what signals do."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from augury.app import listen as module
from augury.app.build import open_application
from augury.app.listen import listen
from augury.app.settings import Settings
from augury.core.errors import InvalidSetting, PortInUse
from augury.edge.auth import audit
from augury.edge.listener import bind
from augury.observe.logs import configure_logging
from tests.models import write_identity
from tests.wire import Wire, get


@pytest.fixture(autouse=True)
def leaving(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Exit codes that the process would have ended with; its logging is put back."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(module, "configure_logging", lambda **_: None)
    monkeypatch.chdir(tmp_path)
    logging.getLogger().setLevel(logging.INFO)
    return codes


@asynccontextmanager
async def listening(
    tmp_path: Path, **settings: Any
) -> AsyncIterator[tuple[int, asyncio.Task[None]]]:
    """The port and the task of a server that answers."""
    write_identity(tmp_path / "models")
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()
    chosen = Settings(
        http_port=port, store="memory://", drain_grace_s=0, model_control="none", **settings
    )
    switch_interval_s = sys.getswitchinterval()
    task = asyncio.create_task(listen(chosen, tmp_path / "models", (), time.monotonic()))
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    async with await Wire.open("127.0.0.1", port) as wire:
                        assert (await wire.ask(get("/livez"))).status == 200
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
        yield port, task
    finally:
        sys.setswitchinterval(switch_interval_s)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_drains(tmp_path: Path, leaving: list[int], number: int) -> None:
    """It returns when all is closed; signals mean what they meant before."""
    before = signal.getsignal(number)
    async with listening(tmp_path) as (port, task):
        os.kill(os.getpid(), number)
        await asyncio.wait_for(task, 30)
        assert leaving == []
        assert signal.getsignal(number) in (before, signal.SIG_DFL, signal.default_int_handler)
        with pytest.raises(ConnectionRefusedError):
            await Wire.open("127.0.0.1", port)


async def test_the_second_signal_ends_the_process(tmp_path: Path, leaving: list[int]) -> None:
    """Whatever is under way."""
    async with listening(tmp_path) as (port, task):
        async with await Wire.open("127.0.0.1", port) as wire:
            await wire.send(b"GET / HTTP/1.1\r\nHost:")
            await asyncio.sleep(0.1)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.5)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.1)
            assert leaving == [128 + signal.SIGTERM]
        await asyncio.wait_for(task, 30)


async def test_a_signal_before_it_serves_ends_the_process(
    tmp_path: Path, leaving: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has been accepted, so there is nothing to wait for."""
    loading = asyncio.Event()

    @asynccontextmanager
    async def slowly(*_: Any) -> AsyncIterator[None]:
        loading.set()
        await asyncio.sleep(60)
        yield

    monkeypatch.setattr(module, "open_application", slowly)
    task = asyncio.create_task(listen(Settings(http_port=0), tmp_path, (), time.monotonic()))
    await loading.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(0.05)
    assert leaving == [130]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_model_that_does_not_finish_is_left(
    tmp_path: Path, leaving: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code cannot be interrupted; the process does not wait for ever."""
    monkeypatch.setattr(module, "_CLOSE_S", 0.1)

    @asynccontextmanager
    async def stuck(*arguments: Any) -> AsyncIterator[Any]:
        async with open_application(*arguments) as application:
            yield application
            await asyncio.sleep(0.5)

    monkeypatch.setattr(module, "open_application", stuck)
    async with listening(tmp_path) as (_, task):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 30)
        assert leaving == [1]


async def test_a_port_in_use_is_told_before_models_are_loaded(tmp_path: Path) -> None:
    """The folder does not even have to be there."""
    listener = bind("127.0.0.1", 0)
    try:
        settings = Settings(http_port=listener.getsockname()[1])
        with pytest.raises(PortInUse):
            await listen(settings, tmp_path / "none", (), time.monotonic())
    finally:
        listener.close()


async def test_a_folder_that_is_not_there_closes_the_port(tmp_path: Path) -> None:
    """Nothing stays open when the start fails."""
    with pytest.raises(InvalidSetting, match="no folder"):
        await listen(Settings(http_port=0), tmp_path / "none", (), time.monotonic())


async def test_models_that_fail_are_told_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not ready is not called ready."""
    (tmp_path / "models" / "broken" / "1").mkdir(parents=True)
    (tmp_path / "models" / "broken" / "1" / "model.onnx").write_bytes(b"nonsense")
    caplog.set_level(logging.INFO)
    async with listening(tmp_path) as (port, task):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 30)
    assert "listening, but not ready" in caplog.text
    assert f"http://127.0.0.1:{port}" in caplog.text


@pytest.mark.parametrize("level", ["info", "warning", "error"])
async def test_the_audit_log_is_heard_at_any_level(
    tmp_path: Path,
    level: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who wants fewer lines does not want fewer of these."""
    root = logging.getLogger()
    before = list(root.handlers)
    monkeypatch.setattr(module, "configure_logging", configure_logging)
    try:
        async with listening(tmp_path, log_level=level) as (port, task):
            async with await Wire.open("127.0.0.1", port) as wire:
                answer = await wire.ask(get("/api/models", "Authorization: Bearer wrong"))
                assert answer.status == 401
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(task, 30)
    finally:
        for handler in set(root.handlers) - set(before):
            root.removeHandler(handler)
            handler.close()
        logging.getLogger(audit.LOGGER).setLevel(logging.NOTSET)
        root.setLevel(logging.INFO)
    log = capsys.readouterr().err
    assert "login failed" in log
    assert ("stopped" in log) == (level == "info")
