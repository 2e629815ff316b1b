"""Names that break pages, in a real browser: figures stay in their places and columns apart."""

from __future__ import annotations

import pytest

from fedstyle_secure.report.page.html import to_html
from fedstyle_secure.report.page.pieces import Document, Figure, Para, Ref, Section, Table

pytestmark = pytest.mark.browser

NAMES = ("Ann\u202e", "שלום", "عالم", "\u2067Ann", "a\nb", "葛飾北斎", "🎨", "<script>", "x" * 300, "ab" * 45)


@pytest.fixture
def page(tmp_path):
    line = [
        ["In ", Figure(n, "a#", number=False), ", ", Figure("0.990", "a#"), " of ", Ref(n, "name")]
        for n in NAMES
    ]
    row = [[[Figure(n, "a#", number=False)], [Figure("0.990", "a#")], [Ref(n, "name")]] for n in NAMES]
    blocks = [
        *map(Para, line),
        *(Table(k, line[8], [["a"], ["b"], ["c"]], row) for k in ("artists", "measured")),
    ]
    document = Document(
        "Page", ["Run ", Ref(NAMES[8], "name")], "2026-11-21", [], [Section("answer", "A", blocks)]
    )
    (tmp_path / "page.html").write_text(to_html(document)[0], encoding="utf-8")
    return (tmp_path / "page.html").as_uri()


def show(browser, page, width):
    browser.ask(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
    )
    browser.open(page)


def test_figures_after_a_name_are_drawn_after_it_and_in_their_order(browser, page):
    show(browser, page, 1280)
    places = browser.evaluate(
        "[...document.querySelectorAll('main p')].slice(0, 8).map(p => {"
        "  const figure = p.querySelector('data'), text = figure.firstChild;"
        "  const left = i => { const r = document.createRange(); r.setStart(text, i); r.setEnd(text, i + 1);"
        "    return r.getBoundingClientRect().left };"
        "  const [name, other] = p.querySelectorAll('bdi');"
        "  return [name.getBoundingClientRect().right, left(0), left(2), left(4),"
        "    other.getBoundingClientRect().left] })"
    )
    assert len(places) == 8
    assert all(place == sorted(place) for place in places), places


@pytest.mark.parametrize("width", [375, 1280])
def test_no_name_runs_over_a_figure_or_the_window(browser, page, width):
    show(browser, page, width)
    wide = browser.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1] == width
    out = browser.evaluate(
        "[...document.querySelectorAll('td, th, caption')].filter(e => e.scrollWidth > e.clientWidth + 1)"
        ".map(e => [e.closest('table').id, e.tagName, e.textContent.trim().slice(0, 20)])"
    )
    assert out == []
