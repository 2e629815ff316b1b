"""The documentation as a site: built without a warning or a network, and its notebooks run."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import attacks
import fedstyle_secure

REPO = Path(__file__).parents[1]
NOTEBOOKS = sorted(REPO.glob("docs/tutorials/*.ipynb"))
USERS = {"newcomer", "auditor", "researcher", "compliance", "engineer"}
_FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Fetched(HTMLParser):
    """Addresses from which a browser fetches something to show a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "link" and given.get("rel") not in ("stylesheet", "icon", "preload"):
            return
        if address := given.get(_FETCHED.get(tag, ""), ""):
            self.found.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    env = os.environ | {
        "PYTHONPATH": str(REPO),
        "NO_MKDOCS_2_WARNING": "1",
        "http_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_fetches_nothing(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text(encoding="utf-8")
        fetched = Fetched()
        fetched.feed(text)
        assert fetched.found, page
        assert [one for one in fetched.found if re.match(r"(?:https?:)?//", one)] == [], page
        assert not re.search(r"import\(\s*[\"']https?:|@import\s+[\"']?https?:", text), page
    assert "var __index" in (site / "search" / "search_index.js").read_text(encoding="utf-8")[:40]


@pytest.mark.slow
def test_pages_hold_what_they_take_from_code_and_from_other_pages(site):
    def text(name):
        return (site / name).read_text(encoding="utf-8")

    assert "blind baseline" in text("glossary.html")
    assert "The guarantee" in text("threat-model.html")
    assert text("pitfalls.html").count("<h2") == (REPO / "docs/decisions.md").read_text().count(
        "> **Pitfall:"
    )
    assert "privacy.target_epsilon" in text("settings.html")
    assert "audit_quick.toml" in text("presets.html")
    assert (
        "<code" in text("api/attacks.html").split('id="attacks.audit_private"')[1].split("Examples")[1][:900]
    )


@pytest.mark.parametrize(
    ("page", "package"), [("attacks", attacks), ("fedstyle_secure", fedstyle_secure)], ids=str
)
def test_the_reference_has_every_public_name(page, package):
    text = (REPO / "docs/api" / f"{page}.md").read_text(encoding="utf-8")
    told = {line.rpartition(".")[2] for line in text.splitlines() if line.startswith("::: ")}
    assert set(package.__all__) - told - {"__version__"} == set()


def test_there_is_a_tutorial_for_each_user_and_none_names_a_place_on_a_machine():
    assert {path.stem for path in NOTEBOOKS} == USERS
    for path in NOTEBOOKS:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(?:home|root|tmp|work|Users|usr|var)/", text), path
        cells = json.loads(text)["cells"]
        shown = [output for cell in cells for output in cell.get("outputs", [])]
        assert 0 < len(json.dumps(shown)) < 20_000, path
        assert not any(output["output_type"] == "error" for output in shown), path


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_runs(path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(REPO))
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
