"""`fedstyle view` in a real browser: quiet, asking itself alone, for keyboards, readers, phones, the dark."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedstyle_secure.audit.curves import Curve, CurveFile
from fedstyle_secure.files import file_sha256
from fedstyle_secure.view.guard import Keys

pytestmark = pytest.mark.browser

HERE = Path(__file__).parent
AXE = (HERE / "axe" / "axe-4.14.1.min.js").read_text(encoding="utf-8")
POLICY = HERE.parents[1] / "configs" / "policy.toml"
WIDTHS = {"desktop": 1280, "phone": 375}
PAGES = {
    "runs": "/",
    "run": "/runs/run",
    "findings": "/runs/run/findings",
    "finding": "/runs/run/findings/1",
    "ledgers": "/runs/run/ledgers",
    "ledger": "/runs/run/ledgers/0",
    "pictures": "/runs/run/pictures",
    "search": "/runs/run/search",
    "policy": "/runs/run/policy",
    "compare": "/compare?a=run&b=second",
    "sweep": "/sweeps/sweep",
}
STEPS = 40
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def curve(power: float) -> Curve:
    share = tuple(i / STEPS for i in range(STEPS + 1))
    named = tuple(x**power for x in share)
    return Curve(
        members=STEPS,
        non_members=STEPS,
        thresholds=(None, *(1 - x for x in share[1:])),
        fpr=share,
        tpr=named,
        low=tuple(max(x - 0.2, 0.0) for x in named),
        high=tuple(min(x + 0.2, 1.0) for x in named),
        fpr_high=tuple(min(x + 0.1, 1.0) for x in share),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("view") / "runs"


@pytest.fixture
def address(folder, run, swept_copy, request):
    """The page on two runs and a sweep, opened once for all tests."""
    served = getattr(request.module, "_served", None)
    if served is None:
        shutil.copytree(run.path.parent, folder)
        shutil.copytree(swept_copy, folder / "sweep")
        home = folder / "run" / "audit"
        limit = tuple(min(0.3 + x, 1.0) for x in curve(1.0).fpr)
        CurveFile(0.995, curve(0.8), limit, limit, curve(0.2)).write(home / "rounds.json")
        about = json.loads((home / "audit.json").read_text())
        about["files"]["rounds.json"] = file_sha256(home / "rounds.json")
        (home / "audit.json").write_text(json.dumps(about))
        shutil.copytree(folder / "run", folder / "second")
        command = [sys.executable, "-m", "fedstyle_secure", "view", str(folder), "--port", "0"]
        process = subprocess.Popen(
            [*command, "--policy", str(POLICY)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        served = request.module._served = (process, found[0])
    return served[1]


@pytest.fixture(scope="module", autouse=True)
def ended(request):
    yield
    served = getattr(request.module, "_served", None)
    if served is not None:
        served[0].terminate()
        _, err = served[0].communicate(timeout=120)
        assert err == "", "nothing went wrong inside"


@pytest.fixture
def base(browser, address):
    browser.open(address)
    return address.split("/?")[0]


def show(browser, url, device="desktop", theme="light"):
    width = WIDTHS[device]
    browser.ask(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
    )
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    browser.open(url)


def until(browser, expression):
    """Waits for a promise that turns true in the page when a request of its own has come back."""
    found = browser.ask(
        "Runtime.evaluate",
        expression=f"new Promise(done => {{ const look = () => ({expression}) ? done(true) : "
        "requestAnimationFrame(look); look(); })",
        awaitPromise=True,
        returnByValue=True,
    )
    assert found["result"]["value"] is True


def said(browser):
    kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    return [event["params"] for event in browser.events if event["method"] in kinds]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_pages_are_quiet_ask_only_themselves_fit_and_pass_axe(browser, base, name, device, theme):
    show(browser, base + PAGES[name], device, theme)
    asked = [
        e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
    ]
    assert base + PAGES[name] in asked
    assert all(url.startswith(f"{base}/") for url in asked), asked
    statuses = [
        e["params"]["response"]["status"] for e in browser.events if e["method"] == "Network.responseReceived"
    ]
    assert set(statuses) <= {200, 304}, statuses
    assert said(browser) == []
    wide = browser.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    browser.evaluate(f"{AXE}; true")
    found = browser.ask(
        "Runtime.evaluate",
        expression=f"axe.run({{runOnly: {RULES}}})"
        ".then(r => [r.passes.length, r.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 99))])])",
        awaitPromise=True,
        returnByValue=True,
    )["result"]["value"]
    assert found[0] > 20
    assert found[1] == []


def press(browser, key, code=0, text=""):
    for kind in ("keyDown", "keyUp"):
        browser.ask(
            "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
            **({"text": text} if text and kind == "keyDown" else {}),
        )  # fmt: skip


def test_the_keyboard_goes_to_the_content_first_and_everywhere_with_a_focus_to_see(browser, base):
    show(browser, f"{base}/runs/run/findings/1")
    press(browser, "Tab", 9)
    assert browser.evaluate("document.activeElement.getAttribute('href')") == "#content"
    assert browser.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    press(browser, "Enter", 13, "\r")
    assert browser.evaluate("document.activeElement.id") == "content"
    seen = set()
    for _ in range(30):
        press(browser, "Tab", 9)
        where = browser.evaluate(
            "[document.activeElement.tagName, document.activeElement.id,"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        seen.add(tuple(where[:2]))
        assert where[0] == "BODY" or where[2] == "solid", where
    assert ("INPUT", "at") in seen


def test_arrow_keys_move_the_threshold_and_the_reading_follows(browser, base):
    show(browser, f"{base}/runs/run/findings/1")
    before = browser.evaluate("document.querySelector('#reading p').textContent")
    at = int(browser.evaluate("document.querySelector('#at').value"))
    browser.evaluate("document.querySelector('#at').focus()")
    for _ in range(3):
        press(browser, "ArrowRight", 39)
    wanted = f"{(at + 3) / STEPS:.3f} of {STEPS} others"
    until(browser, f"document.querySelector('#reading p').textContent.includes('{wanted}')")
    assert wanted not in before
    assert browser.evaluate("document.activeElement.id") == "at", "the focus stays"
    assert said(browser) == []


def test_filters_answer_at_once_and_are_in_the_address(browser, base):
    show(browser, f"{base}/runs/run/findings")
    browser.evaluate(
        "{ const s = document.querySelector('#verdict-asked'); s.value = 'leaks';"
        " s.dispatchEvent(new Event('change', {bubbles: true})); }"
    )
    until(
        browser, "[...document.querySelectorAll('#found .badge')].every(b => b.classList.contains('leaks'))"
    )
    assert browser.evaluate("location.search").count("verdict=leaks") == 1
    assert browser.evaluate("document.querySelectorAll('#found tbody tr').length") > 0
    assert said(browser) == []


def test_the_policy_comes_by_itself(browser, base):
    show(browser, f"{base}/")
    until(browser, "!document.querySelector('#table-runs-here').textContent.includes('check now')")
    assert "met" in browser.evaluate("document.querySelector('#table-runs-here').textContent")
    assert browser.evaluate("document.querySelectorAll('[id=verdict]').length") <= 1, "an id is there once"


def test_a_chosen_picture_is_searched_at_once(browser, base, query, folder):
    show(browser, f"{base}/runs/run/search")
    document = browser.ask("DOM.getDocument")["root"]["nodeId"]
    node = browser.ask("DOM.querySelector", nodeId=document, selector="#picture")["nodeId"]
    browser.ask("DOM.setFileInputFiles", files=[str(query)], nodeId=node)
    until(browser, "document.querySelector('#nearest tbody tr') !== null")
    # Noise is drawn anew in each run, so who is nearest is asked of the command.
    command = [sys.executable, "-m", "fedstyle_secure", "search", str(folder / "run"), str(query), "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    nearest = found[0]["artist"]
    assert browser.evaluate("document.querySelector('#nearest tbody bdi').textContent") == nearest
    assert said(browser) == []


def test_without_scripts_everything_can_be_read_and_asked(browser, base):
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        for path in PAGES.values():
            show(browser, base + path)
            nodes = browser.ask("Accessibility.getFullAXTree")["nodes"]
            roles = {node["role"]["value"] for node in nodes if not node.get("ignored")}
            assert {"banner", "main", "navigation", "contentinfo", "heading"} <= roles
        show(browser, f"{base}/runs/run/findings/1?at=7")
        nodes = browser.ask("Accessibility.getFullAXTree")["nodes"]
        names = " ".join(node.get("name", {}).get("value", "") for node in nodes)
        assert f"{7 / STEPS:.3f}" in names
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)


def test_without_scripts_a_picture_is_searched_too(browser, base, query):
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        show(browser, f"{base}/runs/run/search")
        document = browser.ask("DOM.getDocument")["root"]["nodeId"]
        node = browser.ask("DOM.querySelector", nodeId=document, selector="#picture")["nodeId"]
        browser.ask("DOM.setFileInputFiles", files=[str(query)], nodeId=node)
        browser.ask("DOM.focus", nodeId=node)
        browser.events.clear()
        press(browser, "Tab", 9)
        press(browser, "Enter", 13, "\r")
        browser.wait("Page.loadEventFired")
        answers = [
            e["params"]["response"] for e in browser.events if e["method"] == "Network.responseReceived"
        ]
        assert (answers[0]["status"], answers[0]["url"]) == (200, f"{base}/runs/run/search")
        nodes = browser.ask("Accessibility.getFullAXTree")["nodes"]
        assert "mosaic-1" in {node.get("name", {}).get("value") for node in nodes}
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("device", WIDTHS)
def test_tables_stay_tables_for_readers(browser, base, device):
    for name in ("runs", "findings", "ledgers"):
        show(browser, base + PAGES[name], device)
        nodes = browser.ask("Accessibility.getFullAXTree")["nodes"]
        roles = [node["role"]["value"] for node in nodes if not node.get("ignored")]
        assert {"table", "row", "rowheader", "columnheader", "cell"} <= set(roles), (name, device)


def test_marks_of_a_sweep_have_words_for_the_pointer_and_for_readers(browser, base):
    show(browser, base + PAGES["sweep"])
    marks = browser.evaluate(
        "[...document.querySelectorAll('svg.curve a')].map(a => [a.getAttribute('aria-label'),"
        " a.querySelector('title').textContent, a.getAttribute('href')])"
    )
    assert len(marks) >= 2
    assert all(label == title and "utility" in title for label, title, _ in marks)
    assert all(browser.evaluate(f"document.querySelector('{href}') !== null") for _, _, href in marks)


def test_a_stranger_sees_nothing(browser, address):
    browser.ask("Network.clearBrowserCookies")
    base = address.split("/?")[0]
    browser.open(f"{base}/runs/run")
    assert "Open this page at the address" in browser.evaluate("document.body.textContent")
    browser.open(address)
    assert browser.evaluate("location.href") == f"{base}/", "the token is out of the address bar"
    assert browser.evaluate("document.cookie") == "", "no script reads the cookie"
    assert Keys(int(base.rsplit(":", 1)[1])).cookie.startswith("fedstyle-view-")
