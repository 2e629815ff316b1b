"""Results as pandas frames: the values of the files, and types that do not depend on what is empty."""

import sys

import pytest

pandas = pytest.importorskip("pandas", reason="the extra pandas is not installed")

from fedstyle_secure.audit.findings import COLUMNS, Finding, not_run  # noqa: E402
from fedstyle_secure.audit.runner import Audit  # noqa: E402
from fedstyle_secure.errors import ConfigError  # noqa: E402
from fedstyle_secure.frames import frame  # noqa: E402
from fedstyle_secure.report.page.output import csv_text  # noqa: E402
from fedstyle_secure.sweep.runner import Sweep  # noqa: E402
from fedstyle_secure.sweep.table import Column, Table  # noqa: E402
from fedstyle_secure.training import Run  # noqa: E402


def same(found, path, kinds):
    """A frame is what pandas reads from a CSV file, column by column, given what the columns are."""
    types = {"text": "string", "number": "float64", "whole": "Int64", "yes or no": "boolean"}
    read = pandas.read_csv(path, dtype={n: types[k] for n, k in kinds.items() if k in types})
    assert list(found.columns) == list(read.columns)
    for name in (name for name, kind in kinds.items() if kind in types):
        # A CSV file does not tell an empty text from none.
        told = found[name].replace("", pandas.NA) if kinds[name] == "text" else found[name]
        pandas.testing.assert_series_equal(told, read[name])


def test_a_sweeps_frame_is_its_results(tmp_path):
    columns = (
        Column("cell", "text", "", "Its name."),
        Column("error", "text", "", "Why it failed."),
        Column("seed", "whole", "", "A seed."),
        Column("on", "yes or no", "", "Whether."),
        Column("auc", "number", "share", "An AUC."),
        Column("bound", "number", "share", "Always empty."),
    )
    rows = (
        {"cell": "a", "error": None, "seed": 2**60 + 1, "on": True, "auc": 0.1 + 0.2, "bound": None},
        {"cell": "b", "error": "lost", "seed": None, "on": None, "auc": None, "bound": None},
    )
    table = Table(columns, rows)
    csv, _, _ = table.write(tmp_path)
    found = Sweep(tmp_path, table, {}).to_pandas()
    same(found, csv, {column.name: column.kind for column in columns})
    assert found["seed"][0] == 2**60 + 1, "no whole number goes through a float"
    assert found["bound"].dtype == "float64"


def test_an_audits_frame_is_its_findings(tmp_path):
    seen = Finding(
        view="platform", attack="threshold", target="all", unit="artwork", metric="TPR at an FPR", fpr=0.01,
        value=0.5, low=0.4, high=0.6, confidence=0.99, n=90, baseline=0.01, bound=None, verdict="leaks",
        seconds=1.5, seed=3, level="L1", category="membership inference", pictures=("a.png", "b.png"),
        details={"advantage": 0.25},
    )  # fmt: skip
    audit = Audit(tmp_path, (seen, not_run(seen, "no record")), {})
    path = tmp_path / "findings.csv"
    path.write_text(csv_text(list(COLUMNS), [one.to_row() for one in audit.findings]))
    found = audit.to_pandas()
    same(found, path, COLUMNS)
    assert found["n"].tolist() == [90, 0]
    assert found["alarm"].dtype == "boolean"
    assert found["pictures"][0] == ("a.png", "b.png")
    assert found["details"][0] == {"advantage": 0.25}


def test_a_runs_frame_has_a_row_a_round(own):
    found = Run.open(own.path).to_pandas()
    lines = own.metrics()
    assert found["round"].tolist() == list(range(len(lines)))
    assert found["round"].dtype == "Int64"
    assert found["artist_top1"].tolist() == [line["artist_top1"] for line in lines]
    assert found["artist_top1"].dtype == "float64"
    assert found["update_kept"].isna()[0], "round 0 trains nothing"
    assert found["update_kept"].dtype == "float64"
    assert found["by_artist"][0] == lines[0]["by_artist"]


def test_without_pandas_what_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r'pip install "fedstyle-secure\[pandas\]"'):
        frame([], {})
