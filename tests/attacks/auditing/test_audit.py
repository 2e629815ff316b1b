"""An audit as an object and as a folder, and the index that one imports from."""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import attacks
from attacks import AttackError, audit_scores
from attacks.auditing import files
from attacks.auditing.audit import Audit
from attacks.auditing.findings import Check, Row

REPO = Path(__file__).parents[3]
RNG = np.random.default_rng(0)


def audit(shift=1.0):
    member = np.arange(400) < 200
    return audit_scores({"member": member, "mine <b>": RNG.normal(shift * member)})


@pytest.mark.long
def test_the_index_names_what_is_there_and_loads_nothing_before_it_is_asked_for():
    assert set(attacks.__all__) == set(attacks._INDEX)
    assert set(attacks.__all__) <= set(dir(attacks))
    assert all(getattr(attacks, name) is not None for name in attacks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'audit_modle'"):
        attacks.audit_modle  # noqa: B018
    said = "import sys, attacks; assert not {'torch', 'numpy'} & set(sys.modules); from attacks import lira"
    subprocess.run([sys.executable, "-c", said], cwd=REPO, check=True)


def test_it_prints_in_three_lines_and_shows_itself_as_a_table_without_letting_texts_in():
    found = audit()
    assert len(str(found).splitlines()) == 3
    assert repr(found) == str(found)
    frame = found.to_pandas()
    assert list(frame["attack"]) == ["mine <b>"] * 4
    assert frame["value"][0] == found.rows[0].value
    html = found._repr_html_()
    assert "mine &lt;b&gt;" in html
    assert "<b>" not in html


def test_what_says_most_comes_first_and_what_does_not_hold_last():
    rows = (
        Row("weak", "membership AUC", "leaks", 0.7, 0.6, 0.8, n=90, baseline=0.5),
        Row("strong", "membership AUC", "leaks", 0.9, 0.8, 0.95, n=90, baseline=0.5),
        Row("silent", "membership AUC", "not broken by this attack", 0.5, 0.4, 0.6, n=90, baseline=0.5),
        Row("absent", "membership AUC", "not run", reason="no fit"),
    )
    first, second, third = str(Audit("model", rows, (Check("rows", True, "right"),))).splitlines()
    assert first.startswith("leaks: strong: membership AUC 0.900")
    assert second == "2 of 4 attacks leak; not broken by silent; not run: absent"
    assert third.startswith("Holds: rows. Not broken means")
    broken = Audit("model", rows[2:], (Check("rows", False, "wrong"),))
    assert str(broken).splitlines()[2] == "DOES NOT HOLD: rows: wrong"
    with pytest.raises(AttackError, match="it has silent, absent"):
        broken.row("loud")


def test_without_a_reporter_a_plain_page_stands_beside_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "entry_points", lambda group: ())
    written = audit().report(tmp_path / "a")
    assert sorted(path.name for path in written) == [
        "audit.html", "audit.json", "findings.json", "roc.png", "roc.svg",
    ]  # fmt: skip
    rows = json.loads((tmp_path / "a" / "findings.json").read_text())
    assert rows[0]["attack"] == "mine <b>"
    assert "mine &lt;b&gt;" in (tmp_path / "a" / "audit.html").read_text()


def test_the_reporter_that_the_package_offers_writes_a_runs_pages(tmp_path, monkeypatch):
    offered = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["entry-points"][files.PAGES]
    points = [EntryPoint(name, value, files.PAGES) for name, value in offered.items()]
    monkeypatch.setattr(files, "entry_points", lambda group: points if group == files.PAGES else ())
    written = {path.name for path in audit().report(tmp_path / "a")}
    assert {"report.html", "report.pdf", "report.json", "findings.csv"} <= written
    assert "audit.html" not in written
    assert (tmp_path / "a" / "report.pdf").read_bytes().startswith(b"%PDF")
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert report["findings"][0]["verdict"] == "leaks"
