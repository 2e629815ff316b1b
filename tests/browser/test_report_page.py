"""The page in a real browser: quiet, asking nobody, and as wide as its window."""

from __future__ import annotations

import pytest

from fedstyle_secure.report.formats import report

pytestmark = pytest.mark.browser

WIDTHS = {"desktop": 1280, "phone": 375}


@pytest.fixture(params=["run", "sweep"])
def kind(request):
    return request.param


@pytest.fixture
def page(kind, request):
    folder = request.getfixturevalue("swept_copy") if kind == "sweep" else request.getfixturevalue("run").path
    report(folder, ("html",), date="2026-11-21")
    return (folder / "report" / "report.html").as_uri()


def show(browser, page, width, theme):
    browser.ask(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
    )
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    browser.open(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
def test_no_error_no_request_no_sideways_scrolling(browser, page, device, theme):
    show(browser, page, WIDTHS[device], theme)
    asked = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert page in asked
    assert all(url == page or url.startswith("data:") for url in asked)
    said = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [event["params"] for event in browser.events if event["method"] in said] == []
    wide = browser.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1] == WIDTHS[device]
    dark = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark == ("rgb(23, 22, 19)" if theme == "dark" else "rgb(253, 252, 249)")


@pytest.mark.parametrize("device", WIDTHS)
def test_what_sticks_out_is_inside_a_box_that_scrolls_and_takes_the_focus(browser, page, device):
    show(browser, page, WIDTHS[device], "light")
    out = browser.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + "
        "1"
        " && !e.closest('.scroll, .skip')).map(e => e.outerHTML.slice(0, 80))"
    )
    assert out == []
    boxes = browser.evaluate(
        "[...document.querySelectorAll('.scroll')].map(e => [e.tabIndex, e.getAttribute('role')])"
    )
    assert len(boxes) > 10
    assert all(box == [0, "region"] for box in boxes)


@pytest.mark.parametrize("device", WIDTHS)
def test_no_cell_runs_into_its_neighbour(browser, page, device):
    show(browser, page, WIDTHS[device], "light")
    out = browser.evaluate(
        "[...document.querySelectorAll('td, th')].filter(e => e.scrollWidth > e.clientWidth + 1)"
        ".map(e => [e.closest('table').id, e.textContent.trim()])"
    )
    assert out == []


WHOLE_WORDS = """
[...document.querySelectorAll('thead th')].flatMap(th => {
  const broken = [], walk = document.createTreeWalker(th, NodeFilter.SHOW_TEXT);
  for (let node; node = walk.nextNode();)
    for (const word of node.data.matchAll(/[^\\s-]+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
      if (lines.size > 1) broken.push([th.closest('table').id, word[0]]);
    }
  return broken;
})
"""


def test_no_column_header_breaks_inside_a_word(browser, page):
    show(browser, page, 1280, "light")
    assert browser.evaluate("document.querySelectorAll('thead th').length") > 20
    assert browser.evaluate(WHOLE_WORDS) == []


CONTRAST = """
[...document.querySelectorAll('.badge, .badge span')].map(e => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(
      c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  let behind = e;
  while (getComputedStyle(behind).backgroundColor == 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
  const [a, b] = [getComputedStyle(e).color, getComputedStyle(behind).backgroundColor].map(light);
  return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.textContent];
}).filter(([ratio]) => ratio < 4.5)
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_verdict_can_be_read_against_what_lies_behind_it(browser, page, theme):
    """WCAG 2.2, 1.4.3, as the browser paints it."""
    show(browser, page, 1280, theme)
    assert browser.evaluate("document.querySelectorAll('.badge').length") > 5
    assert browser.evaluate(CONTRAST) == []


@pytest.mark.parametrize("device", WIDTHS)
def test_the_figure_of_page_one_is_seen_whole(browser, page, kind, device):
    if kind == "sweep":
        pytest.skip("a sweep's first page has a table of points in its place")
    show(browser, page, WIDTHS[device], "light")
    drawn = browser.evaluate(
        "[...document.querySelectorAll('#table-figure .range')].map(e => [e.getBoundingClientRect().left, "
        "e.getBoundingClientRect().right])"
    )
    assert len(drawn) >= 3
    assert all(0 <= left < right <= WIDTHS[device] for left, right in drawn)


def test_the_keyboard_reaches_the_answer_first_and_the_focus_is_seen(browser, page):
    show(browser, page, 1280, "light")
    for kind in ("keyDown", "keyUp"):
        browser.ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert browser.evaluate("document.activeElement.getAttribute('href')") == "#answer"
    place = browser.evaluate("document.activeElement.getBoundingClientRect().top")
    assert place >= 0
    assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_pictures_are_drawn_and_everything_has_a_name_for_screen_readers(browser, page, kind):
    show(browser, page, 1280, "light")
    sizes = browser.evaluate("[...document.images].map(i => [i.naturalWidth, i.alt.length])")
    assert len(sizes) == {"run": 2, "sweep": 3}[kind]
    assert all(width > 0 and alt > 10 for width, alt in sizes)
    nodes = browser.ask("Accessibility.getFullAXTree")["nodes"]
    roles = {}
    for node in nodes:
        if not node.get("ignored"):
            roles.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert {"banner", "main", "navigation", "contentinfo", "table", "region"} <= set(roles)
    for role in ("table", "region", "navigation", "image", "link", "heading"):
        assert all(name.strip() for name in roles[role]), role


def test_the_page_prints_on_paper(browser, page, kind):
    import base64

    import pypdfium2

    show(browser, page, 1280, "dark")
    printed = browser.ask("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]
    document = pypdfium2.PdfDocument(base64.b64decode(printed))
    assert {"run": 5, "sweep": 4}[kind] < len(document) < 30
    for sheet in document:
        picture = sheet.render(scale=0.5, grayscale=True).to_numpy()
        margin = int(0.03 * picture.shape[1])
        assert (picture[:, -margin:] > 250).all(), "prints light, and within the paper"
