"""The listening socket."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time

import pytest

from augury.core.errors import InvalidSetting, PortInUse
from augury.edge.listener import bind, refuse_newcomers


def test_a_free_port() -> None:
    """Port 0 is chosen by the system, on loopback only where that was asked for."""
    with contextlib.closing(bind("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        with socket.create_connection((host, port), timeout=5):
            pass


@pytest.mark.parametrize("host", ["localhost", "::1", "0.0.0.0", "::"])
def test_other_hosts(host: str) -> None:
    """Names, IPv6 and all addresses."""
    try:
        listener = bind(host, 0)
    except InvalidSetting:
        pytest.skip(f"this machine has no {host}")
    with contextlib.closing(listener):
        assert listener.getsockname()[1] > 0


def test_a_port_in_use_is_named() -> None:
    """The message names port, host and option."""
    with contextlib.closing(bind("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortInUse, match=f"port {port} on 127.0.0.1 is in use.*--http-port"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    "host", ["no.such.host.invalid", "256.1.1.1", "a b", "\0", "x" * 300, "é" * 64, "192.0.2.1", ""]
)
def test_a_host_that_is_not_ours(host: str) -> None:
    """A host that this machine is not, or that is none, is a setting's fault; never all addresses."""
    with pytest.raises(InvalidSetting):
        bind(host, 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen anywhere")
def test_a_privileged_port() -> None:
    """The message says that privileges lack."""
    with pytest.raises(InvalidSetting, match="above 1023"):
        bind("127.0.0.1", 1)


def test_a_privileged_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for root, by pretending."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(InvalidSetting, match="port 80 needs privileges"):
        bind("127.0.0.1", 80)


@pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")
def test_newcomers_are_refused_and_the_others_are_not() -> None:
    """Whoever was connected before can still be accepted; nobody else gets into the queue."""
    with contextlib.closing(bind("127.0.0.1", 0)) as listener, contextlib.ExitStack() as clients:
        address = listener.getsockname()
        for _ in range(3):
            clients.enter_context(socket.create_connection(address, timeout=5))
        time.sleep(0.05)
        refuse_newcomers(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=0.3)
        for _ in range(3):
            accepted, _ = listener.accept()
            accepted.close()
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_without_the_filter_the_backlog_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no such filter, it goes on with what there is."""
    with contextlib.closing(bind("127.0.0.1", 0)) as listener:

        def refuse(*_: object) -> None:
            raise OSError(92, "Protocol not available")

        asked: list[int] = []
        monkeypatch.setattr(socket.socket, "setsockopt", refuse)
        monkeypatch.setattr(socket.socket, "listen", lambda _, backlog: asked.append(backlog))
        refuse_newcomers(listener)
        assert asked == [0]
