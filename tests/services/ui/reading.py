"""What tests read from a page: elements, texts, the console, and how well colours stand out."""

from __future__ import annotations

import re
from typing import Any, cast

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait


def find(page: Chrome, selector: str) -> WebElement:
    """The element, as soon as it is there."""
    return WebDriverWait(page, 10).until(lambda _: page.find_element(By.CSS_SELECTOR, selector))


def text(page: Chrome, selector: str) -> str:
    """Its text as it was set; what the driver calls visible text lacks what is just fading in."""
    find(page, selector)
    # In one step: between two, the page may have put another element there.
    script = "return document.querySelector(arguments[0])?.textContent ?? ''"
    return str(page.execute_script(script, selector)).strip()


def console(page: Chrome) -> list[dict[str, Any]]:
    """What the console has said since it was asked last."""
    return cast(list[dict[str, Any]], page.get_log("browser"))  # type: ignore[no-untyped-call]


def brightness(page: Chrome, selector: str, name: str) -> float:
    """Relative luminance (WCAG 2.2) of a computed colour."""
    colour = find(page, selector).value_of_css_property(name)
    # rgb(0, 104, 165), or, where colours were mixed, color(srgb 0 0.41 0.65).
    numbers = [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]
    parts = numbers if colour.startswith("color") else [number / 255 for number in numbers]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(page: Chrome, front: str, back: str, name: str = "color") -> float:
    pair = sorted((brightness(page, front, name), brightness(page, back, "background-color")))
    return (pair[1] + 0.05) / (pair[0] + 0.05)
