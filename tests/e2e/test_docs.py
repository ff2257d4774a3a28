"""``/docs`` in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.e2e.server import serving
from tests.models import write_classifier
from tests.services.ui.browser import chromium, programs_or_skip

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.browser,
]

LOADED = "return performance.getEntriesByType('resource').map(entry => entry.name)"


def test_the_page_shows_a_model_s_example_and_asks_no_other_host(tmp_path: Path) -> None:
    """Without the internet the page stands, unfolds an operation and shows what to send."""
    programs = programs_or_skip()
    write_classifier(tmp_path / "models")
    with serving(tmp_path, "models") as server, chromium(programs) as browser:
        browser.get(f"{server.url}/docs")
        wait = WebDriverWait(browser, 30)
        control = ".opblock .opblock-summary-control"
        wait.until(lambda page: page.find_element(By.CSS_SELECTOR, control)).click()
        operation = browser.find_element(By.CSS_SELECTOR, ".opblock")
        wait.until(lambda _: "good night" in operation.text)
        assert "/api/models/mood/predict" in operation.text
        assert all(name.startswith(server.url) for name in browser.execute_script(LOADED))
        assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
        server.stop()
