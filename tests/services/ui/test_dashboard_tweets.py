"""The view of tweets in a real browser, over a real server with tweets that it judged."""

from __future__ import annotations

import csv
import io
import json
import urllib.request
from typing import Any
from urllib.parse import quote

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.services.ui.conftest import CROWD, HOSTILE, XSS
from tests.services.ui.crowd import FIRST_AUTHOR_ID
from tests.services.ui.dashboard import Dashboard
from tests.services.ui.reading import brightness, contrast

pytestmark = pytest.mark.browser

TOTAL = CROWD + len(HOSTILE) + 60


def ask(dashboard: Dashboard, path: str) -> Any:
    """What the API says."""
    with urllib.request.urlopen(dashboard.url + path, timeout=20) as answer:
        return json.load(answer)


def rows_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def test_the_overview_tells_what_the_api_tells(dashboard: Dashboard) -> None:
    """Totals, authors, topics and recent predictions are those of the public API."""
    dashboard.open()
    dashboard.wait_for_text(".tiles", "Tweets judged")
    assert dashboard.texts(".tile .value") == [str(TOTAL), str(40 + len(HOSTILE))]
    authors = ask(dashboard, "/v1/authors?limit=12")["authors"]
    assert dashboard.texts(".names a")[0] == f"@{authors[0]['username']}"
    assert len(dashboard.all(".names a")) == 12
    dashboard.wait(lambda: dashboard.all(".topics li a"))
    topics = ask(dashboard, "/v1/topics?limit=3")["topics"]
    assert dashboard.texts(".topics a")[0] == topics[0]["topic"]
    recent = ask(dashboard, "/v1/tweets?limit=10")["tweets"]
    dashboard.wait(lambda: len(dashboard.all(".tweet")) == 10)
    assert dashboard.texts(".tweet .text")[:3] == [tweet["textInput"] for tweet in recent[:3]]
    share = recent[0]["scores"][recent[0]["sentimentAnalyst"]]
    assert dashboard.texts(".tweet .label")[0] == f"{recent[0]['sentimentAnalyst']} {share:.1%}"


def test_bars_lead_to_an_author_by_mouse(dashboard: Dashboard) -> None:
    """A click on the second bar opens the second author, whose address can be kept."""
    dashboard.open()
    dashboard.drawn("authors")
    name = dashboard.texts(".names a")[1]
    plot = dashboard.one("#panel-authors .plot")
    # From the middle of the plot; the second row's middle is at 51 px.
    height = plot.rect["height"]
    ActionChains(dashboard.driver).move_to_element_with_offset(
        plot, -100, round(51 - height / 2)
    ).perform()
    assert name in dashboard.text("#panel-authors .readout .when")
    ActionChains(dashboard.driver).click().perform()
    dashboard.wait_for_text(".drilldown h2", name)
    assert "#tweets/author/" in dashboard.driver.current_url
    dashboard.drawn("course")
    dashboard.driver.back()
    dashboard.drawn("authors")


def test_the_same_by_keyboard(dashboard: Dashboard) -> None:
    """Arrow keys read the bars aloud, Enter opens one; the heading then has the focus."""
    dashboard.open()
    dashboard.drawn("authors")
    names = dashboard.texts(".names a")
    dashboard.js("document.querySelector('#panel-authors .plot').focus()")
    keys = ActionChains(dashboard.driver)
    keys.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN).perform()
    said = dashboard.text("#panel-authors [role=status]")
    assert said.startswith(f"{names[2]}: ")
    assert "positive" in said
    ActionChains(dashboard.driver).send_keys(Keys.ENTER).perform()
    dashboard.wait_for_text(".drilldown h2", names[2])
    assert dashboard.driver.switch_to.active_element.text == names[2]


def test_names_are_links(dashboard: Dashboard) -> None:
    """Whoever cannot use a chart goes by the list beside it."""
    dashboard.open()
    dashboard.drawn("authors")
    link = dashboard.all(".names a")[3]
    name = link.text
    link.send_keys(Keys.ENTER)
    dashboard.wait_for_text(".drilldown h2", name)
    dashboard.one(".back").click()
    dashboard.drawn("authors")


def test_an_author_by_deep_link(dashboard: Dashboard) -> None:
    """The address alone shows the author: totals, course by hour, day and week, and tweets."""
    told = ask(dashboard, f"/v1/authors/{FIRST_AUTHOR_ID}/sentiment?bucket=week")
    dashboard.open(f"#tweets/author/{FIRST_AUTHOR_ID}")
    dashboard.wait_for_text(".drilldown h2", "@old_mill_bakery")
    dashboard.wait_for_text(".tiles .value", str(told["total"]))
    _, days = dashboard.download("course", "CSV")
    assert sum(int(row[1]) for row in rows_of(days)[1:]) == told["total"]
    next(b for b in dashboard.all("#panel-course .segments button") if b.text == "By week").click()
    dashboard.wait(lambda: rows_of(dashboard.download("course", "CSV")[1])[0][0] == "week")
    weeks = rows_of(dashboard.download("course", "CSV")[1])[1:]
    assert [int(row[1]) for row in weeks if row[1] != "0"] == [
        bucket["total"] for bucket in told["buckets"]
    ]
    assert set(dashboard.texts(".tweet .by a:first-child")) == {"@old_mill_bakery"}


def test_a_topic_and_its_share(dashboard: Dashboard) -> None:
    """The picker finds any topic; its share of all tweets is told, and drawn over time."""
    dashboard.open()
    box = dashboard.one(".go input")
    box.send_keys("#Coffee", Keys.ENTER)
    dashboard.wait_for_text(".drilldown h2", "#coffee")
    assert dashboard.driver.current_url.endswith("#tweets/topic/%23Coffee")
    told = ask(dashboard, f"/v1/topics/{quote('#coffee')}/sentiment")
    dashboard.wait_for_text(".tiles", "Share of all tweets")
    assert dashboard.texts(".tile .value")[1] == f"{told['total'] / TOTAL:.1%}"
    dashboard.drawn("share")
    rows = rows_of(dashboard.download("share", "CSV")[1])
    assert rows[0] == ["day", "share of all tweets", "tweets on it", "all tweets"]
    assert sum(int(row[2]) for row in rows[1:]) == told["total"]
    assert sum(int(row[3]) for row in rows[1:]) == TOTAL


def test_topics_rise(dashboard: Dashboard) -> None:
    """Active and rising are two orders of the same list, by kind."""
    dashboard.open()
    dashboard.wait(lambda: dashboard.all(".topics li a"))
    next(b for b in dashboard.all(".list .segments button") if b.text == "Rising").click()
    rising = ask(dashboard, "/v1/topics?order=rising&window=week&limit=3")["topics"]
    if rising:
        dashboard.wait_for_text(".topics", "expected")
        assert dashboard.texts(".topics a")[0] == rising[0]["topic"]
    else:
        dashboard.wait_for_text(".list", "Nothing rises")
    dashboard.js("document.querySelector('.picking select').value = 'hashtag'")
    dashboard.js("document.querySelector('.picking select').dispatchEvent(new Event('change'))")
    next(b for b in dashboard.all(".list .segments button") if b.text == "Most active").click()
    dashboard.wait(
        lambda: (
            dashboard.all(".topics li a")
            and all(topic.startswith("#") for topic in dashboard.texts(".topics a"))
        )
    )


def test_more_predictions_on_request(dashboard: Dashboard) -> None:
    """The list grows by a page, and the keyboard goes on where the new ones begin."""
    dashboard.open()
    dashboard.wait(lambda: len(dashboard.all(".tweet")) == 10)
    dashboard.wait(lambda: dashboard.one(".list .quiet").is_displayed())
    dashboard.js("document.querySelector('.list .quiet:not([hidden])').click()")
    dashboard.wait(lambda: len(dashboard.all(".tweet")) == 20)


def test_a_table_in_the_place_of_a_chart(dashboard: Dashboard) -> None:
    """A real table with headings, of the same numbers; the button says whether it is on."""
    dashboard.open()
    dashboard.drawn("authors")
    button = dashboard.one("#panel-authors .tools button")
    assert button.accessible_name == "Most active authors: show as table"
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-pressed") == "true"
    assert not dashboard.one("#panel-authors .plot").is_displayed()
    heads = dashboard.texts("#panel-authors thead th[scope=col]")
    assert heads == ["author", "name", "id", "tweets", "negative", "neutral", "positive"]
    first = ask(dashboard, "/v1/authors?limit=1")["authors"][0]
    cells = dashboard.texts("#panel-authors tbody tr:first-child > *")
    assert cells[2:4] == [first["id"], str(first["total"])]
    assert len(dashboard.all("#panel-authors tbody tr")) == 12
    button.click()
    assert dashboard.one("#panel-authors .plot").is_displayed()


def test_csv_holds_the_numbers_and_no_formula(dashboard: Dashboard) -> None:
    """Plain numbers, quoted texts; what a spreadsheet would compute is defused."""
    dashboard.open()
    name, content = dashboard.download("authors", "CSV")
    assert name == "augury-authors.csv"
    rows = rows_of(content)
    told = {row["id"]: row for row in ask(dashboard, "/v1/authors?limit=12")["authors"]}
    assert len(rows) == 13
    for author, shown, number, total, *labels in rows[1:]:
        assert int(total) == told[number]["total"] == sum(map(int, labels))
        assert author == f"'@{told[number]['username']}"
        assert shown[:1] not in {"=", "+", "-", "@"}
    formula = next(row for row in rows if row[2] == "3002")
    assert formula[1] == f"'{HOSTILE[3002][1]}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("panel", ["authors", "tweets"])
def test_png_is_a_picture(dashboard: Dashboard, panel: str, scheme: str) -> None:
    """Large enough for a slide, on the scheme's ground, and not blank."""
    dashboard.open(scheme=scheme)
    name, content = dashboard.download(panel, "PNG")
    assert name == f"augury-{panel}.png"
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert (width, height >= 900) == (1920, True)
    colours, ground = dashboard.driver.execute_async_script(
        """
        const [bytes, done] = arguments;
        createImageBitmap(new Blob([new Uint8Array(bytes)])).then((picture) => {
          const canvas = new OffscreenCanvas(picture.width, picture.height);
          const pen = canvas.getContext("2d");
          pen.drawImage(picture, 0, 0);
          const { data } = pen.getImageData(0, 0, picture.width, picture.height);
          const seen = new Map();
          for (let i = 0; i < data.length; i += 4 * 7) {
            const colour = data.slice(i, i + 3).join();
            seen.set(colour, (seen.get(colour) ?? 0) + 1);
          }
          const often = [...seen].filter(([, times]) => times > 300).length;
          done([often, data[0]]);
        });
        """,
        list(content),
    )
    assert colours >= 4
    assert ground > 200 if scheme == "light" else ground < 60


def test_foreign_words_stay_words(dashboard: Dashboard) -> None:
    """Markup in texts and names is shown as it was written; nothing of it runs or draws."""
    dashboard.open()
    dashboard.drawn("authors")
    dashboard.wait(lambda: dashboard.all(".tweet"))
    for author, (username, _, text) in HOSTILE.items():
        dashboard.open(f"#tweets/author/{author}")
        dashboard.wait(lambda text=text: text in dashboard.texts(".tweet .text"), text)
        if username:
            dashboard.wait_for_text(".drilldown h2", f"@{username}")
    dashboard.open("#tweets/author/3001")
    dashboard.wait_for_text(".tweet .text", XSS)
    assert dashboard.all("main img, main script, main b:not(.keys-of-shares b)") == []
    assert dashboard.driver.title == "Tweets · Augury"
    right_to_left = "getComputedStyle(document.querySelector('.tweet .text')).direction"
    dashboard.open("#tweets/author/3003")
    dashboard.wait_for_text(".tweet .text", "ספרים")
    assert dashboard.js(f"return {right_to_left}") == "rtl"


@pytest.mark.parametrize(
    "address",
    [
        "#tweets/author/%00",
        "#tweets/author/..%2F..%2Fmetrics",
        "#tweets/topic/" + "x" * 3000,
        "#tweets/topic/%E0%A4%A",
        '#tweets/topic/<img src=x onerror="document.title=1">',
    ],
)
def test_odd_addresses_are_told_as_errors(dashboard: Dashboard, address: str) -> None:
    """What names nobody shows the server's problem, and a way back."""
    dashboard.open(address)
    assert dashboard.text(".drilldown .fault h2") in {"Not found", "Invalid input", "Not allowed"}
    assert dashboard.driver.title == "Tweets · Augury"
    dashboard.one(".back").click()
    dashboard.drawn("authors")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_both_schemes(dashboard: Dashboard, scheme: str) -> None:
    """Contrast of words 4.5 or more, of bars against their ground 3 or more (WCAG AA)."""
    dashboard.open(scheme=scheme)
    dashboard.drawn("authors")
    dashboard.wait(lambda: dashboard.all(".tweet"))
    page = dashboard.driver
    paper = brightness(page, "body", "background-color")
    assert paper > 0.8 if scheme == "light" else paper < 0.05
    for words in (".summary", ".tile .note", ".legend li", ".tool", ".tweet .by", ".names a"):
        assert contrast(page, words, ".panel") >= 4.5, words
    for words in (".live", "footer p"):
        assert contrast(page, words, "body") >= 4.5, words
    for label in dashboard.js(
        "return [...new Set([...document.querySelectorAll('.tweet .label')].map(e => '.' + e.classList[1]))]"
    ):
        assert contrast(page, f".label{label}", f".label{label}") >= 4.5
    for tone in ("negative", "neutral", "positive"):
        bar = f".tile .shares .{tone}"
        assert contrast(page, bar, ".panel", "background-color") >= 3, tone


def test_the_charts_follow_the_scheme(dashboard: Dashboard) -> None:
    """When the system turns dark, charts are drawn anew in its colours."""
    dashboard.open()
    dashboard.drawn("authors")
    script = (
        "return echarts.getInstanceByDom(document.querySelector('#panel-authors .drawing'))"
        ".getOption().series.at(-1).itemStyle.color"
    )
    light = dashboard.js(script)
    dashboard.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    dashboard.wait(lambda: dashboard.js(script) != light)
    assert dashboard.js(script) == "#5bb8ee"


@pytest.mark.parametrize("address", ["", f"#tweets/author/{FIRST_AUTHOR_ID}", "#service"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_it_fits_the_screen(dashboard: Dashboard, address: str, width: int) -> None:
    """Nothing sticks out sideways, from a small phone to a desk."""
    dashboard.open(address, width=width, phone=width < 700)
    dashboard.one(".panel canvas")
    dashboard.wait(lambda: not dashboard.all(".panel[aria-busy]"))
    assert dashboard.js("return document.documentElement.scrollWidth") <= width
    for tool in dashboard.all(".tool, .segments button")[:6] if width < 700 else []:
        assert tool.rect["height"] >= 36


def test_everything_has_a_name_and_a_place(dashboard: Dashboard) -> None:
    """Each control and chart has a role, a name and a visible focus; headings follow one another."""
    dashboard.open()
    dashboard.drawn("authors")
    dashboard.wait(lambda: dashboard.all(".tweet"))
    for control in dashboard.all("a, button, select, input, [tabindex='0']"):
        if control.is_displayed():
            assert control.accessible_name, control.get_attribute("outerHTML")
    for chart in dashboard.all(".plot"):
        assert chart.get_attribute("aria-roledescription") == "chart"
        assert len(chart.accessible_name.split(". ")) >= 3
    levels = [
        int(tag[1])
        for tag in dashboard.js(
            "return [...document.querySelectorAll('h1, h2, h3')].filter(e => e.checkVisibility()).map(e => e.tagName)"
        )
    ]
    assert levels[0] == 1
    assert dashboard.js("return document.documentElement.lang") == "en"
    assert len(dashboard.all("main, h1")) == 2


def test_the_tabulator_reaches_everything(dashboard: Dashboard) -> None:
    """In the order of the page: views first, then each panel's tools, its names, its chart."""
    dashboard.open()
    dashboard.drawn("authors")
    dashboard.wait(lambda: dashboard.all(".tweet"))
    dashboard.js("document.activeElement.blur(); scrollTo(0, 0)")
    passed = []
    for _ in range(40):
        ActionChains(dashboard.driver).send_keys(Keys.TAB).perform()
        active = dashboard.driver.switch_to.active_element
        passed.append(active.accessible_name)
        assert active.value_of_css_property("outline-style") != "none", active.accessible_name
    assert passed[0] == "Skip to the charts"
    assert passed.index("Tweets") < passed.index("Service")
    table = passed.index("Most active authors: show as table")
    first = dashboard.texts(".names a")[0]
    assert passed.index("Service") < table < passed.index(first)
    assert any(name.startswith("Most active authors. ") for name in passed)


def test_nothing_comes_from_elsewhere(dashboard: Dashboard) -> None:
    """Every request goes to this server, the fonts included."""
    dashboard.open()
    dashboard.drawn("authors")
    loaded = dashboard.js("return performance.getEntriesByType('resource').map(e => e.name)")
    assert len(loaded) > 10
    assert all(name.startswith(dashboard.url) for name in loaded)


def test_coming_and_going_uses_up_nothing(dashboard: Dashboard) -> None:
    """A page that is left gives its live connection back: a browser has six for one server."""
    for _ in range(8):
        dashboard.open()
        dashboard.wait_for_text("#live-words", "Live")
    dashboard.drawn("authors")


def test_the_first_page_leads_here(dashboard: Dashboard) -> None:
    """And back again."""
    dashboard.driver.get(dashboard.url)
    dashboard.driver.find_element(By.LINK_TEXT, "Dashboard").click()
    dashboard.drawn("authors")
    dashboard.driver.find_element(By.LINK_TEXT, "Try it").click()
    dashboard.one("#input")
