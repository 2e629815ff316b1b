"""A run of text recognition is attacked, reported, held against a policy and swept like any other."""

import json
import re
import shutil
from base64 import b64decode

import pytest

from fedstyle_secure.audit.runner import audit
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.policy.checks import checks
from fedstyle_secure.report.formats import report
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.sweep.runner import sweep
from tests.systems.text.conftest import settings

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def audited(run, tmp_path_factory):
    """A copy that was attacked, and its report."""
    root = tmp_path_factory.mktemp("audited")
    shutil.copytree(run.path.parent, root / "runs")
    folder = RunFolder(root / "runs" / "run")
    few = {"artists": 2, "targets": 4, "candidates": 4, "pictures": 1, "steps": 2, "rounds": 1}
    found = audit(folder, AuditSettings(**few, processes=1))
    return folder, found, report(folder.path, ("html", "pdf", "json", "csv"))


def test_its_updates_and_its_product_are_attacked(audited):
    _, found, _ = audited
    assert not found.alarms
    ran = {finding.attack for finding in found.findings if finding.verdict != "not run"}
    assert "Gradient length at the final model" in ran
    told = json.dumps(found.about["views"])
    assert "recogniser" in told
    assert "card" not in told


def test_its_report_has_no_word_of_anybody(audited):
    folder, _, pages = audited
    gallery = open_gallery(folder.config().gallery)
    # Numbers stand by chance among figures. Six letters do among a million compressed bytes of pictures and
    # PDF once in 10^5 runs for all of these words together, five once in some thousand.
    texts = {t.lower() for a in gallery.artists for t in gallery.portfolio(a).labels}
    words = {text for text in texts if text.isalpha() and len(text) >= 6}
    assert len(words) > 10
    for path in folder.path.rglob("*"):
        if path.is_file():
            # What is coded for a page is looked at decoded: a coding of pictures has short words by chance.
            coded = re.compile(rb"base64,([A-Za-z0-9+/=]+)")
            data = coded.sub(lambda found: b64decode(found[1]), path.read_bytes()).lower()
            assert not [word for word in words if word.encode() in data], path
    text = next(page for page in pages if page.suffix == ".html").read_text()
    assert "recogniser" in text
    assert "held-out crops of everybody read without an error" in text


def test_it_is_held_against_a_policy(audited, tmp_path):
    folder, _, _ = audited
    policy = tmp_path / "policy.toml"
    policy.write_text("[evidence]\nsigned = true\nown_ledgers = true\n[epsilon]\nartwork = 1000.0\n")
    assert [one.problem for one in checks(folder.path, policy) if one.problem] == []


@pytest.mark.slow
def test_it_is_swept(tmp_path):
    (tmp_path / "text.toml").write_text(settings(audit={"record": "none"}, run={"rounds": 1}).to_toml())
    grid = tmp_path / "grid.toml"
    grid.write_text('[sweep]\nname = "text"\nbase = "text.toml"\n[grid]\n"hashing.ratio" = [0.1, 1.0]\n')
    found = sweep(grid, tmp_path / "sweep")
    assert not found.failed
    assert [row["utility.word_accuracy"] is not None for row in found.table.rows] == [True, True]
