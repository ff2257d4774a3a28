"""``rediss://``: the same store, over TLS, with a certificate that is checked."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from augury.core.clock import SystemClock
from augury.core.errors import Unavailable
from augury.stores.registry import open_store
from tests.redis_server import RedisServer, free_port, require_redis

pytestmark = [
    pytest.mark.redis,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for a certificate"),
]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def tls_port(tmp_path: Path, certificate: tuple[Path, Path]) -> Iterator[int]:
    """Where a Redis speaks TLS."""
    require_redis()
    port = free_port()
    server = RedisServer(
        tmp_path / "redis",
        appendonly=False,
        tls_port=str(port),
        tls_cert_file=str(certificate[0]),
        tls_key_file=str(certificate[1]),
        tls_auth_clients="no",
    )
    with server:
        yield port


async def test_it_works_over_tls(tls_port: int, certificate: tuple[Path, Path]) -> None:
    """With the authority that signed the server's certificate, everything is as without TLS."""
    url = f"rediss://localhost:{tls_port}/0?timeout_s=5&tls_ca={quote(str(certificate[0]))}"
    store = await open_store(url, clock=SystemClock(), on_corrupt=lambda *_: None)
    assert store.fault is None
    await store.set("key", b"\x00" * 1024 * 1024)
    assert await store.get("key") == b"\x00" * 1024 * 1024
    await store.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_certificate_that_proves_nothing_is_refused(
    tls_port: int, certificate: tuple[Path, Path], host: str
) -> None:
    """One that nobody known has signed, or that is for another name, is no server of ours."""
    trusted = f"&tls_ca={quote(str(certificate[0]))}" if host == "127.0.0.1" else ""
    url = f"rediss://{host}:{tls_port}/0?timeout_s=5{trusted}"
    store = await open_store(url, clock=SystemClock(), on_corrupt=lambda *_: None)
    with pytest.raises(Unavailable, match="certificate verify failed"):
        await store.get("key")
    await store.close()
