"""What the pages name is there: files, tests, versions."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from fedstyle_secure.version import __version__

REPO = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(f"docs/{p.name}" for p in REPO.glob("docs/*.md")),
]
_PATH = re.compile(r"`((?:attacks|benchmarks|configs|docs|examples|fedstyle_secure|tests)/[\w./-]*)")
_TEST = re.compile(r"`(test_\w+)(\.\.\.)?")


@cache
def known_tests() -> set[str]:
    found = {path.stem for path in REPO.glob("tests/**/test_*.py")}
    for path in REPO.glob("tests/**/test_*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page):
    named = _PATH.findall((REPO / page).read_text(encoding="utf-8"))
    assert [path for path in named if not (REPO / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_is_there(page):
    known = known_tests()
    named = _TEST.findall((REPO / page).read_text(encoding="utf-8"))
    begun = {name for name, more in named if more or name.endswith("_")}
    assert sorted({name for name, _ in named} - begun - known) == []
    assert [name for name in begun if not any(one.startswith(name) for one in known)] == []


def test_the_pages_name_files_and_tests_at_all():
    text = (REPO / "docs/decisions.md").read_text(encoding="utf-8")
    assert len(_PATH.findall(text)) > 10
    assert len(_TEST.findall(text)) > 10


def test_the_citation_has_what_its_schema_asks_for_and_this_version():
    text = (REPO / "CITATION.cff").read_text(encoding="utf-8")
    keys = {
        line.split(":")[0]: line.partition(":")[2].strip() for line in text.splitlines() if line[0].isalpha()
    }
    assert {"cff-version", "message", "title", "authors"} <= keys.keys()
    assert keys["version"] == __version__
