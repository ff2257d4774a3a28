"""A headless Chromium that keeps to itself: a profile of its own, no talk with the outside."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en-GB"),
)


def programs() -> tuple[str, str] | None:
    """Paths of Chromium and its driver; ``None`` when one is missing."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (chromium, driver) if chromium and driver else None


def programs_or_skip() -> tuple[str, str]:
    """The same; without them tests are skipped, in CI they fail."""
    found = programs()
    if found is None:
        message = "Chromium is missing (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def chromium(programs: tuple[str, str]) -> Iterator[Chrome]:
    """A running browser; gone, with its profile, when the block ends."""
    binary, driver_path = programs
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = binary
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chrome(options=options, service=ChromeService(driver_path))
        try:
            yield driver
        finally:
            driver.quit()


def set_viewport(
    driver: Chrome, width: int, height: int, *, phone: bool = False, scale: float = 2
) -> None:
    """Lay the page out at so many CSS pixels, each *scale* pixels wide."""
    metrics: dict[str, Any] = {"width": width, "height": height, "mobile": phone}
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {**metrics, "deviceScaleFactor": scale}
    )


def prefer(driver: Chrome, *, scheme: str = "light", motion: str = "no-preference") -> None:
    """Say what the person prefers."""
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": motion},
    ]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
