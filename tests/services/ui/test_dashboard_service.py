"""The view of the service in a real browser, over a real server under a little load."""

from __future__ import annotations

import csv
import io
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.services.ui.dashboard import Dashboard

pytestmark = pytest.mark.browser

CHARTS = (
    "requests",
    "latency",
    "queue-wait",
    "queue",
    "batches",
    "cache",
    "features",
    "cpu",
    "memory",
)


@contextmanager
def load(url: str) -> Iterator[None]:
    """Requests, good and bad, until the block ends."""
    enough = threading.Event()

    def ask() -> None:
        number = 0
        while not enough.wait(0.05):
            number += 1
            texts = [f"a good day, number {number % 7}", "awful"] if number % 3 else []
            request = urllib.request.Request(
                f"{url}/v1/sentiment",
                json.dumps({"texts": texts}).encode(),
                {"content-type": "application/json"},
            )
            try:
                urllib.request.urlopen(request, timeout=10).close()
            except urllib.error.HTTPError as refused:
                refused.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@pytest.fixture(scope="module")
def loaded(filled: str) -> Iterator[str]:
    with load(filled):
        yield filled


def rows_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def test_every_chart_has_its_numbers(dashboard: Dashboard, loaded: str) -> None:
    """Requests, refusals, latencies, batches, lookups, processor and memory, all of this very load."""
    assert dashboard.url == loaded
    dashboard.open("#service")
    for chart in CHARTS:
        dashboard.drawn(chart)
    dashboard.wait_for_text("#panel-latency .summary", "Half within")
    dashboard.wait_for_text("#panel-batches .summary", "on average")
    columns, *rows = rows_of(dashboard.download("requests", "CSV")[1])
    assert columns == ["time", "answered", "refused (4xx)", "failed (5xx)"]
    last = [float(value) for value in rows[-1][1:]]
    assert last[0] > last[1] > 0
    assert last[2] == 0
    quantiles = [row for row in rows_of(dashboard.download("latency", "CSV")[1])[1:] if row[1]]
    assert all(0 < float(row[1]) <= float(row[2]) <= float(row[3]) for row in quantiles)
    cache = rows_of(dashboard.download("cache", "CSV")[1])
    assert float(cache[-1][1]) > 0
    assert float(rows_of(dashboard.download("memory", "CSV")[1])[-1][1]) > 50
    assert dashboard.texts(".models tbody th") == ["tweet-sentiment"]
    assert "ready" in dashboard.text(".models tbody")
    assert dashboard.texts(".tile .name")[0] == "Requests"
    assert dashboard.texts(".tile .value")[0].endswith("/s")


def test_it_goes_on_by_itself(dashboard: Dashboard, loaded: str) -> None:
    """New samples come without a reload; nothing but the state is said aloud."""
    assert dashboard.url == loaded
    dashboard.open("#service")
    dashboard.drawn("requests")
    dashboard.wait_for_text("#live-words", "Live")
    before = len(rows_of(dashboard.download("requests", "CSV")[1]))
    dashboard.wait(lambda: len(rows_of(dashboard.download("requests", "CSV")[1])) > before)
    said = dashboard.js(
        "return [...document.querySelectorAll('[role=status], [aria-live]')]"
        ".map(e => e.textContent).filter(Boolean)"
    )
    assert said == ["Live"]


def test_lines_are_read_with_the_keys(dashboard: Dashboard, loaded: str) -> None:
    """The last sample first, then the ones before; Escape ends it."""
    assert dashboard.url == loaded
    dashboard.open("#service")
    dashboard.drawn("latency")
    dashboard.js("document.querySelector('#panel-latency .plot').focus()")
    ActionChains(dashboard.driver).send_keys(Keys.ARROW_LEFT).perform()
    said = dashboard.text("#panel-latency [role=status]")
    assert said.count("(p") == 3
    assert dashboard.one("#panel-latency .readout").is_displayed()
    ActionChains(dashboard.driver).send_keys(Keys.HOME).perform()
    ActionChains(dashboard.driver).send_keys(Keys.ESCAPE).perform()
    assert not dashboard.one("#panel-latency .readout").is_displayed()


def test_a_day_or_a_quarter_of_an_hour(dashboard: Dashboard, loaded: str) -> None:
    """The long range begins empty, and says so; going back brings the short one."""
    assert dashboard.url == loaded
    dashboard.open("#service")
    dashboard.drawn("requests")
    short, long = dashboard.all(".section .segments button")
    long.click()
    assert long.get_attribute("aria-pressed") == "true"
    dashboard.wait(lambda: not dashboard.all(".panel[aria-busy]"))
    assert (
        "No sample yet" in dashboard.text("#panel-requests")
        or len(rows_of(dashboard.download("requests", "CSV")[1])) < 10
    )
    short.click()
    dashboard.wait(lambda: dashboard.one("#panel-requests canvas").is_displayed())


def test_a_table_that_keeps_up(dashboard: Dashboard, loaded: str) -> None:
    """As a table the samples go on, with units, and the place that is read stays."""
    assert dashboard.url == loaded
    dashboard.open("#service")
    dashboard.drawn("memory")
    button = dashboard.one("#panel-memory .tools button")
    button.click()
    rows = len(dashboard.all("#panel-memory tbody tr"))
    assert rows >= 1
    assert dashboard.texts("#panel-memory tbody td")[-1].endswith("MiB")
    dashboard.wait(lambda: len(dashboard.all("#panel-memory tbody tr")) > rows)
    assert button.get_attribute("aria-pressed") == "true"


def test_pictures_of_lines(dashboard: Dashboard, loaded: str) -> None:
    """PNG works for lines as for bars."""
    assert dashboard.url == loaded
    dashboard.open("#service", scheme="dark")
    name, content = dashboard.download("requests", "PNG")
    assert name == "augury-requests.png"
    assert content.startswith(b"\x89PNG")
    assert len(content) > 5000
