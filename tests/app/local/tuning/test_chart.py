"""Pictures of tunings: well-formed, complete, and of nothing but themselves."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.app.local.tuning.chart import draw_html, draw_svg, told
from augury.app.local.tuning.plan import Layout, Point, choose

SVG = "{http://www.w3.org/2000/svg}"

points = st.builds(
    Point,
    layout=st.builds(Layout, st.integers(1, 256), st.integers(1, 256)),
    rows=st.integers(1, 65536),
    batches=st.integers(0, 1000),
    failed=st.integers(0, 3),
    rows_per_s=st.floats(0, 1e7),
    p50_s=st.floats(0, 1e3),
    p99_s=st.floats(0, 1e3),
    memory_bytes=st.integers(0, 1 << 40),
)


@given(points=st.lists(points, max_size=30), slo_s=st.floats(1e-6, 3600))
def test_every_point_is_in_the_picture(points: list[Point], slo_s: float) -> None:
    """Well-formed, every place finite, a mark with a title for each point, one ring for the choice."""
    chosen = choose(points, slo_s)
    svg = draw_svg(points, slo_s=slo_s, chosen=chosen, title="a <b> & c", about="")
    root = ET.fromstring(svg)

    assert len(root.findall(f".//{SVG}title")) == sum(point.batches > 0 for point in points)
    assert len(root.findall(f".//{SVG}circle[@class='ring']")) == (chosen is not None)
    assert not re.search(r'="[^"]*\b(nan|inf)\b', svg)


def test_it_asks_nothing_of_anybody() -> None:
    """No script, no link, no address but the namespace."""
    one = Point(Layout(2, 1), 8, 100, 0, 1000.0, 0.01, 0.02, 1 << 20)
    svg = draw_svg([one], slo_s=0.05, chosen=one, title="t", about="a")
    page = draw_html(svg, title="t<", table=[["head"], ["<cell>"]], notes=["a & b"])

    assert "t&lt;" in page
    assert "&lt;cell&gt;" in page
    assert "a &amp; b" in page
    assert "<script" not in page
    assert set(re.findall(r"https?://[^\"' ]+", page)) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0 µs"), (0.0096, "9.6 ms"), (0.2804, "280 ms"), (61.0, "61 s")]
)
def test_times_for_people(seconds: float, text: str) -> None:
    """Two or three digits, in the unit that fits."""
    assert told(seconds) == text
