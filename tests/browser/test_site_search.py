"""The documentation opened as files: search finds a page, and nothing is asked of a network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    env = os.environ | {"PYTHONPATH": str(REPO), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=REPO, env=env, check=True)
    return folder


_SEARCH = """new Promise(answer => {
  const results = () => [...document.querySelectorAll(".md-search-result__article :is(h1, h2)")];
  const told = () => results().length && answer(results().map(one => one.textContent).join("; "));
  new MutationObserver(told).observe(document.body, {childList: true, subtree: true});
  const query = document.querySelector("[data-md-component=search-query]");
  query.focus();
  query.value = WORDS;
  for (const kind of ["input", "keyup"]) query.dispatchEvent(new Event(kind, {bubbles: true}));
})"""
"""Titles that search shows, once it shows some; a worker reads the index before."""


def test_search_works_where_the_site_is_opened_as_files(browser, site):
    browser.open((site / "index.html").as_uri())
    search = _SEARCH.replace("WORDS", json.dumps("epsilon"))
    told = browser.ask("Runtime.evaluate", expression=search, awaitPromise=True, returnByValue=True)
    assert "epsilon" in told["result"]["value"].lower()
    asked = [
        e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
    ]
    assert asked
    assert [url for url in asked if url.startswith(("http:", "https:"))] == []
