"""Pictures of the pages for the documents: ``python -m tests.services.ui.screenshots URL OUTDIR [NAME]``.

URL is a running server's; the pictures are light and dark at a desk, and light on a phone.  With NAME
only those whose names begin so are taken: "page" or "dashboard".  The dashboard's want a server that
remembers ``crowd.tweets()`` and is under some load.
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
from tests.services.ui.crowd import FIRST_AUTHOR_ID

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
# Name to address, width, colour scheme and whether it is a phone.
DASHBOARDS = {
    f"dashboard-{name}-{scheme}": (address, 1280, scheme, False)
    for name, address in {
        "tweets": "#tweets",
        "author": f"#tweets/author/{FIRST_AUTHOR_ID + 1}",
        "topic": "#tweets/topic/%23commute",
        "service": "#service",
    }.items()
    for scheme in ("light", "dark")
} | {"dashboard-phone": ("#tweets", 390, "light", True)}


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


def take_pages(driver: Chrome, url: str, folder: Path, begin: str) -> None:
    """The page at ``/``, with some questions asked."""
    for name, (width, height, scheme, phone) in PICTURES.items():
        if not name.startswith(begin):
            continue
        set_viewport(driver, width, height, phone=phone)
        prefer(driver, scheme=scheme, motion="reduce")
        driver.get(url)
        driver.execute_script("sessionStorage.clear()")
        driver.get(url)
        for question in QUESTIONS:
            ask(driver, question)
        driver.execute_script("scrollTo(0, 0)")
        take(driver, folder / f"{name}.png", whole=phone)


def take_dashboards(driver: Chrome, url: str, folder: Path, begin: str) -> None:
    """The dashboard's views, whole; as high as they are."""
    for name, (address, width, scheme, phone) in DASHBOARDS.items():
        if not name.startswith(begin):
            continue
        scale = 1.5 if phone else 1.25
        prefer(driver, scheme=scheme, motion="reduce")
        set_viewport(driver, width, 900, phone=phone, scale=scale)
        driver.get("about:blank")
        driver.get(f"{url}/ui{address}")
        WebDriverWait(driver, 20).until(
            lambda _: driver.execute_script(
                "return document.querySelector('.panel canvas') !== null"
                " && document.querySelector('[aria-busy], .skeleton') === null"
            )
        )
        if not phone:  # a chart is drawn for the size that it has
            height = driver.execute_script("return document.documentElement.scrollHeight")
            set_viewport(driver, width, height, scale=scale)
        driver.execute_async_script("setTimeout(arguments[0], 700)")
        take(driver, folder / f"{name}.png", whole=False)
        shrink(folder / f"{name}.png")


def shrink(file: Path) -> None:
    """Keep 256 colours of a picture: a third of the bytes."""
    from PIL import Image

    with Image.open(file) as picture:
        few = picture.convert("RGB").quantize(
            256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
    few.save(file, optimize=True)


def main(url: str, folder: Path, begin: str = "") -> None:
    """Take the pictures of the server at *url* whose names *begin* so, and put them into *folder*."""
    found = programs()
    if found is None:
        sys.exit("Chromium is missing (Debian: apt-get install chromium chromium-driver)")
    folder.mkdir(parents=True, exist_ok=True)
    with chromium(found) as driver:
        take_pages(driver, url, folder, begin)
        take_dashboards(driver, url, folder, begin)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python -m tests.services.ui.screenshots URL OUTDIR [NAME]")
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
