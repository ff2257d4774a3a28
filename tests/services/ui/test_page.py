"""The page in a real browser, against a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.services.ui.browser import chromium, prefer, programs_or_skip, set_viewport
from tests.services.ui.reading import brightness, console, contrast, find, text
from tests.services.ui.server import NASTY_ID, TWEET_ID, XSS, running_server

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    programs_or_skip()
    with running_server() as url:
        yield url


@pytest.fixture(scope="module")
def browser(url: str) -> Iterator[Chrome]:
    with chromium(programs_or_skip()) as driver:
        driver.get(url)
        yield driver


@pytest.fixture
def page(browser: Chrome, url: str) -> Iterator[Chrome]:
    """The page, fresh; nothing may be left in the console but what the network says of a refusal."""
    set_viewport(browser, 1180, 900)
    prefer(browser, motion="reduce")
    browser.execute_script("sessionStorage.clear()")
    console(browser)
    browser.get(url)
    yield browser
    said = [entry for entry in console(browser) if "status of 4" not in entry["message"]]
    assert said == []


def box(page: Chrome) -> WebElement:
    return find(page, "#input")


def answer_to(page: Chrome, question: str, *keys: str) -> WebElement:
    """Type *question*, press *keys* (Enter), and wait for its answer or refusal."""
    box(page).clear()
    box(page).send_keys(question, *(keys or (Keys.ENTER,)))
    WebDriverWait(page, 10).until(
        lambda _: page.find_element(By.ID, "form").get_attribute("aria-busy") == "false"
    )
    return find(page, ".answer, .fault")


def test_a_text_shows_its_label_and_bars(page: Chrome) -> None:
    """Label, three scores with percentages that add up, where it came from and how long it took."""
    answer_to(page, "What a good and happy day")
    assert text(page, ".answer h2").lower() == "positive"
    names = [item.text.lower() for item in page.find_elements(By.CSS_SELECTOR, ".bars .name")]
    assert names == ["negative", "neutral", "positive"]
    shares = [
        float(item.text.rstrip("%")) for item in page.find_elements(By.CSS_SELECTOR, ".number")
    ]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    widths = [item.rect["width"] for item in page.find_elements(By.CSS_SELECTOR, ".fill")]
    track = find(page, ".track").rect["width"]
    for share, width in zip(shares, widths, strict=True):
        assert width == pytest.approx(max(3, track * share / 100), abs=2)
    facts = text(page, ".facts")
    assert "tweet-sentiment, version 1" in facts
    assert "computed now" in facts
    assert " ms" in facts
    assert text(page, ".answer blockquote") == "What a good and happy day"


def test_a_tweet_is_told_with_its_author(page: Chrome) -> None:
    """An address is recognised while it is typed; the second time the answer is remembered."""
    box(page).send_keys(f"https://x.com/XDevelopers/status/{TWEET_ID}?s=20")
    assert "tweet" in text(page, "#kind").lower()
    answer_to(page, f"https://x.com/XDevelopers/status/{TWEET_ID}?s=20")
    assert text(page, ".answer blockquote") == "Good night, sweet dreams"
    facts = text(page, ".facts")
    assert "Developers @XDevelopers" in facts
    assert re.search(r"Oct\D+1[01]\D+2018|1[01]\D+Oct\D+2018", facts)
    answer_to(page, str(TWEET_ID))
    assert "remembered" in text(page, ".facts")
    link = find(page, ".facts a")
    assert link.get_attribute("href") == f"https://x.com/i/web/status/{TWEET_ID}"


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("hello", "A text"),
        ("1234", "A text"),
        ("12345", "A tweet"),
        ("x.com/a/status/1", "A tweet"),
        ("https://example.org/", "A tweet"),
        ("look at https://x.com/a/status/1", "A text"),
        ("", ""),
    ],
)
def test_tweets_are_told_from_texts(page: Chrome, question: str, kind: str) -> None:
    """A lone address or long number is a tweet; an address among words is a text."""
    box(page).send_keys(question)
    assert text(page, "#kind").startswith(kind)


def test_the_keyboard_is_enough(page: Chrome) -> None:
    """The page opens in the text field; Tab reaches everything, with a focus that can be seen."""
    assert page.switch_to.active_element == box(page)
    ActionChains(page).send_keys("awful and sad", Keys.ENTER).perform()
    assert text(page, ".answer h2").lower() == "negative"
    assert page.switch_to.active_element == box(page)
    ActionChains(page).send_keys(Keys.TAB).perform()
    assert page.switch_to.active_element == find(page, "#ask")
    ActionChains(page).send_keys(Keys.TAB).perform()
    chip = page.switch_to.active_element
    assert chip.value_of_css_property("outline-style") == "solid"
    ActionChains(page).send_keys(Keys.SPACE).perform()
    WebDriverWait(page, 10).until(lambda _: "Good night" in text(page, ".answer blockquote"))
    for _ in range(3):
        ActionChains(page).send_keys(Keys.TAB).perform()
    assert page.switch_to.active_element == find(page, "#forget")
    ActionChains(page).send_keys(Keys.TAB, Keys.TAB, Keys.ENTER).perform()
    WebDriverWait(page, 10).until(lambda _: "awful" in text(page, ".answer blockquote"))


@pytest.mark.parametrize("modifier", [Keys.CONTROL, Keys.META])
def test_control_enter_asks_too(page: Chrome, modifier: str) -> None:
    """Whoever is used to it need not think."""
    box(page).send_keys("good")
    ActionChains(page).key_down(modifier).send_keys(Keys.ENTER).key_up(modifier).perform()
    assert text(page, ".answer h2").lower() == "positive"


def test_shift_enter_starts_a_line(page: Chrome) -> None:
    """And asks nothing."""
    box(page).send_keys("one")
    ActionChains(page).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    box(page).send_keys("two")
    assert box(page).get_property("value") == "one\ntwo"
    assert page.find_elements(By.CSS_SELECTOR, ".answer") == []


def test_a_refusal_is_told_kindly(page: Chrome) -> None:
    """The server's own words, in the alert; the last answer is gone, so none is mistaken for it."""
    answer_to(page, "good")
    answer_to(page, "https://x.com/nobody/status/999999")
    assert text(page, "#fault h2") == "Not found"
    assert "AUGURY_X_BEARER_TOKEN" in text(page, "#fault p")
    assert page.find_elements(By.CSS_SELECTOR, ".answer") == []
    answer_to(page, "https://example.org/")
    assert "is not the address of a tweet" in text(page, "#fault p")
    assert find(page, "#fault").get_attribute("role") == "alert"
    answer_to(page, "good")
    assert page.find_elements(By.CSS_SELECTOR, ".fault") == []


def test_a_row_that_is_refused(page: Chrome) -> None:
    """What the model refuses is told like any other refusal."""
    page.execute_script("arguments[0].value = 'a'.repeat(30000)", box(page))
    answer_to_typed = box(page)
    answer_to_typed.send_keys(Keys.ENTER)
    assert text(page, ".fault h2") == "Too large"
    assert "25000" in text(page, ".fault p")


def test_nothing_is_asked_for_nothing(page: Chrome) -> None:
    """An empty field is told without a request, and keeps the focus."""
    find(page, "#ask").click()
    assert "Nothing to judge" in text(page, ".fault h2")
    assert page.switch_to.active_element == box(page)


def test_a_server_that_is_gone(page: Chrome) -> None:
    """The page says so and offers to try again, which then works."""
    page.execute_script("window.realFetch = window.fetch")
    page.execute_script("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
    answer_to(page, "good")
    assert text(page, ".fault h2") == "The server cannot be reached"
    page.execute_script("window.fetch = window.realFetch")
    find(page, ".fault button").click()
    assert text(page, ".answer h2").lower() == "positive"


def test_waiting_shows(page: Chrome) -> None:
    """While the server thinks, the page says so; a newer question overtakes an older one."""
    box(page).send_keys("slowly, awful", Keys.ENTER)
    assert text(page, "#ask-words") == "Asking…"
    assert find(page, "#form").get_attribute("aria-busy") == "true"
    answer_to(page, "good")
    assert text(page, ".answer blockquote") == "good"
    WebDriverWait(page, 10).until(lambda _: text(page, "#ask-words") == "Tell me")
    page.execute_async_script("setTimeout(arguments[0], 900)")
    assert text(page, ".answer blockquote") == "good"


def test_markup_in_texts_stays_text(page: Chrome) -> None:
    """Neither a person's text nor a tweet or its author's name can run or draw anything."""
    for question in (XSS, str(NASTY_ID)):
        answer_to(page, question)
        assert text(page, ".answer blockquote") == XSS
    assert "<b>x</b>" in text(page, ".facts")
    assert "<img src=x" in text(page, "#asked")
    assert page.find_elements(By.CSS_SELECTOR, "main img, main script, main b") == []
    assert page.title.startswith("Augury")


def test_the_session_is_remembered_and_forgotten(page: Chrome) -> None:
    """The last six, the newest first, none twice; they survive a reload and go on request."""
    for question in ("one", "two", "three", "four", "five", "six", "seven", "five"):
        answer_to(page, question)
    words = [item.text for item in page.find_elements(By.CSS_SELECTOR, "#asked .words")]
    assert words == ["five", "seven", "six", "four", "three", "two"]
    page.refresh()
    assert len(page.find_elements(By.CSS_SELECTOR, "#asked li")) == 6
    page.find_elements(By.CSS_SELECTOR, ".again")[1].click()
    WebDriverWait(page, 10).until(lambda _: text(page, ".answer blockquote") == "seven")
    find(page, "#forget").click()
    assert not find(page, "#history").is_displayed()
    page.refresh()
    assert not page.find_element(By.ID, "history").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("question", ["good", "awful", "chair"])
def test_both_schemes_can_be_read(page: Chrome, scheme: str, question: str) -> None:
    """Text has a contrast of 4.5 or more, bars 3 or more, in light and in dark (WCAG AA)."""
    prefer(page, scheme=scheme, motion="reduce")
    answer_to(page, question)
    paper = brightness(page, "body", "background-color")
    assert paper > 0.8 if scheme == "light" else paper < 0.05
    assert contrast(page, ".intro p", "body") >= 4.5
    assert contrast(page, ".answer h2", ".answer") >= 4.5
    assert contrast(page, ".facts dt", ".answer") >= 4.5
    assert contrast(page, ".bars li", ".answer") >= 4.5
    assert contrast(page, "#ask", "#ask") >= 4.5
    assert contrast(page, ".chosen .fill", ".track", "background-color") >= 3


@pytest.mark.parametrize("width", [360, 390, 768])
def test_small_screens(page: Chrome, width: int) -> None:
    """Nothing sticks out sideways, and what is pressed is large enough for a thumb."""
    set_viewport(page, width, 740, phone=True)
    answer_to(page, "good " + "unbreakable" * 40)
    answer_to(page, str(NASTY_ID))
    wide = page.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width
    for button in page.find_elements(By.CSS_SELECTOR, "#ask, .chip, .again"):
        assert button.rect["height"] >= 36


def test_the_answer_is_announced(page: Chrome) -> None:
    """Screen readers hear the answer, the field has a name, and colour is not alone."""
    answer_to(page, "good")
    assert find(page, "#result").get_attribute("aria-live") == "polite"
    assert find(page, ".answer").find_element(By.XPATH, "..") == find(page, "#result")
    assert box(page).accessible_name == "Text or tweet"
    shapes = {item.get_attribute("d") for item in page.find_elements(By.CSS_SELECTOR, ".bars path")}
    assert len(shapes) == 3


def test_nothing_comes_from_elsewhere(page: Chrome, url: str) -> None:
    """Every request of the page goes to this server."""
    answer_to(page, str(TWEET_ID))
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert loaded
    assert all(name.startswith(url) for name in loaded)


def test_still_for_those_who_want_it(page: Chrome) -> None:
    """With reduced motion nothing moves."""
    answer_to(page, "good")
    assert find(page, ".fill").value_of_css_property("animation-duration") == "0.001s"
