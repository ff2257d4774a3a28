"""Pictures of the page for the documents: ``python -m tests.services.ui.screenshots URL OUTDIR``.

URL is a running server's; the pictures are light and dark at a desk, and light on a phone.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from tests.services.ui.browser import chromium, prefer, programs, set_viewport

QUESTIONS = (
    "Two hours on hold and nobody picked up. Never again.",
    "The train leaves at 8:15 from platform 2.",
    "Just watched the sunrise with my best friend. What a wonderful morning 😊",
)
# Name to width, height, colour scheme and whether it is a phone.
PICTURES = {
    "page-light": (1180, 1120, "light", False),
    "page-dark": (1180, 1120, "dark", False),
    "page-phone": (390, 844, "light", True),
}


def ask(driver: Chrome, question: str) -> None:
    """Type *question* and wait for its answer."""
    box = driver.find_element(By.ID, "input")
    # The driver's keyboard knows no characters beyond 16 bits.
    driver.execute_script(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
        box,
        question,
    )
    box.send_keys(Keys.ENTER)
    WebDriverWait(driver, 20).until(
        lambda _: driver.execute_script(
            "return document.querySelector('#result blockquote')?.textContent === arguments[0]"
            " || document.querySelector('.fault') !== null",
            question,
        )
    )


def take(driver: Chrome, file: Path, *, whole: bool) -> None:
    """Write a picture of the page, all of it or what is in view."""
    parameters = {"format": "png", "captureBeyondViewport": whole}
    picture = driver.execute_cdp_cmd("Page.captureScreenshot", parameters)
    file.write_bytes(base64.b64decode(picture["data"]))


def main(url: str, folder: Path) -> None:
    """Take all pictures of the server at *url* and put them into *folder*."""
    found = programs()
    if found is None:
        sys.exit("Chromium is missing (Debian: apt-get install chromium chromium-driver)")
    folder.mkdir(parents=True, exist_ok=True)
    with chromium(found) as driver:
        for name, (width, height, scheme, phone) in PICTURES.items():
            set_viewport(driver, width, height, phone=phone)
            prefer(driver, scheme=scheme, motion="reduce")
            driver.get(url)
            driver.execute_script("sessionStorage.clear()")
            driver.get(url)
            for question in QUESTIONS:
                ask(driver, question)
            driver.execute_script("scrollTo(0, 0)")
            take(driver, folder / f"{name}.png", whole=phone)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tests.services.ui.screenshots URL OUTDIR")
    main(sys.argv[1], Path(sys.argv[2]))
