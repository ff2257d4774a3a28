"""Cross-site requests and DNS rebinding."""

from __future__ import annotations

import pytest

from augury.core.errors import NotAllowed
from augury.edge.auth.browsers import Browsers, Misdirected

LOCAL = Browsers(on_loopback=True)


@pytest.mark.parametrize(
    "host",
    [
        None,
        b"localhost",
        b"localhost:8000",
        b"LOCALHOST:1",
        b"localhost.",
        b"augury.localhost:8000",
        b"127.0.0.1",
        b"127.0.0.1:8000",
        b"127.8.9.1:8000",
        b"[::1]",
        b"[::1]:8000",
        b"[::ffff:127.0.0.1]:8000",
    ],
)
def test_names_of_this_machine(host: bytes | None) -> None:
    """All ways of writing loopback pass, and a request without the header is no browser's."""
    LOCAL.check_host(host)
    LOCAL.check_host(host)  # remembered


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"evil.example",
        b"evil.example:8000",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"evil-localhost",
        b"0.0.0.0:8000",
        b"0:8000",
        b"[::]:8000",
        b"192.168.1.1",
        b"169.254.169.254",
        b"127.1:8000",
        b"2130706433",
        b"localhost:8000:1",
        b"localhost:x",
        b"localhost/",
        b"user@localhost",
        b"localhost\x00",
        b"localhost evil",
        b"\xff\xfe",
        b"[::1",
        b"::1",
        b"[fe80::1%25eth0]",
        b"a" * 5000,
    ],
)
def test_any_other_host_is_refused_on_loopback(host: bytes) -> None:
    """A page whose name was made to point here gets nothing."""
    with pytest.raises(Misdirected) as refused:
        LOCAL.check_host(host)
    assert refused.value.status == 421
    assert "allowed_hosts" in refused.value.message
    assert len(refused.value.message) < 300


def test_listed_hosts_pass() -> None:
    """With a port, only with that port."""
    browsers = Browsers(on_loopback=True, allowed_hosts=("Augury.example", "b.example:8443"))
    for host in (b"augury.example", b"augury.example:443", b"b.example:8443"):
        browsers.check_host(host)
    for host in (b"b.example", b"c.example"):
        with pytest.raises(Misdirected):
            browsers.check_host(host)


def test_elsewhere_any_host_passes() -> None:
    """Balancers ask by address; and there nothing is open to a page that sends no credential."""
    Browsers(on_loopback=False).check_host(b"10.0.0.7:8000")


def test_remembered_hosts_are_bounded() -> None:
    """A client that invents hosts fills nothing."""
    for number in range(1000):
        LOCAL.check_host(f"127.0.0.1:{number}".encode())
    assert len(LOCAL._known) <= 256


OWN = b"localhost:8000"


@pytest.mark.parametrize(
    ("site", "origin", "host"),
    [
        (None, None, OWN),
        (b"same-origin", b"http://localhost:8000", OWN),
        (b"none", None, OWN),
        (None, b"http://localhost:8000", OWN),
        (None, b"http://LOCALHOST:8000", OWN),
        (None, b"https://augury.example", b"augury.example"),
        (None, b"http://augury.example", b"augury.example:80"),
        (None, b"http://[::1]:8000", b"[::1]:8000"),
    ],
)
def test_our_own_pages_may(site: bytes | None, origin: bytes | None, host: bytes) -> None:
    """So may programs, which send neither header."""
    LOCAL.check_page(site, origin, host)


@pytest.mark.parametrize(
    ("site", "origin", "host"),
    [
        (b"cross-site", None, OWN),
        (b"cross-site", b"http://localhost:8000", OWN),
        (b"same-site", b"http://localhost:3000", OWN),
        (b"nonsense", None, OWN),
        (None, b"https://evil.example", OWN),
        (None, b"null", OWN),
        (None, b"", OWN),
        (None, b"http://localhost:3000", OWN),
        (None, b"http://127.0.0.1:8000", OWN),
        (None, b"http://localhost:8000.evil.example", OWN),
        (None, b"http://localhost", OWN),
        (None, b"ftp://localhost:8000", OWN),
        (None, b"http://localhost:8000", None),
        (None, b"\xff", OWN),
    ],
)
def test_pages_of_others_may_not(
    site: bytes | None, origin: bytes | None, host: bytes | None
) -> None:
    """Another port of this machine is another origin."""
    with pytest.raises(NotAllowed, match="page of another origin"):
        LOCAL.check_page(site, origin, host)


def test_the_page_of_a_listed_host_may() -> None:
    """A proxy that changes the host is named in allowed_hosts."""
    browsers = Browsers(on_loopback=True, allowed_hosts=("augury.example",))
    browsers.check_page(None, b"https://augury.example", OWN)
    browsers.check_page(b"cross-site", b"https://augury.example", OWN)
    with pytest.raises(NotAllowed):
        browsers.check_page(b"cross-site", b"https://evil.example", OWN)
