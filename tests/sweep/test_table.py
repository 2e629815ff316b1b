"""The table: figures come from where they should, what is missing is empty, every column is explained."""

import csv
import json
from dataclasses import replace

import pytest
from pyarrow import parquet

from fedstyle_secure.audit.findings import FORMAT, PROVEN, Finding, write_findings
from fedstyle_secure.audit.measures import AttackCard
from fedstyle_secure.errors import AuditError
from fedstyle_secure.fairness import by_artist, fairness
from fedstyle_secure.sweep.cells import CellFolder
from fedstyle_secure.sweep.table import Table, _columns, _first, tabulate

INVERSION = ("update_one", "Inversion of an update", "identification rate", "L4")
ROUNDS = ("update_rounds", "Gradient alignment over rounds", "membership AUC", "L1")
CARD = ("card_membership", "Tracing a style card", "membership AUC", "L1")
LINKAGE = ("card_linkage", "Linking a style card to its artist", "artist named rightly", "L2")


def finding(view, attack, value, verdict, target="all", bound=None, **more):
    _, name, metric, level = attack
    unit = "artist" if attack == LINKAGE else "artwork"
    low = None if value is None else value - 0.125
    row = Finding(
        view=view, attack=name, target=target, unit=unit, metric=metric, value=value, low=low,
        high=None if value is None else value + 0.125, confidence=0.95, n=20, baseline=0.5, bound=bound,
        verdict=verdict, seconds=1.0, seed=0, level=level, category="membership inference", reason="because",
    )  # fmt: skip
    return Finding(**{**row.to_dict(), **more})


UNFAIR = fairness(
    [by_artist({"ann": 0.5, "bea": 0.5}), by_artist({"ann": 0.75, "bea": 0.25})], {"ann": 9, "bea": 3}, "x"
)
"""Whoever has few works lost."""


def finish(folder: CellFolder, top1, epsilon, findings):
    """The files that the table reads, without training."""
    run, config = folder.run, folder.cell.config
    run.begin(config, resume=False, force=False)
    run.audit_folder.mkdir()
    attacks = [{"key": key, "name": name} for key, name, _, _ in (INVERSION, ROUNDS, CARD, LINKAGE)]
    settings = folder.cell.audit.model_dump(mode="json")
    about = {"format": FORMAT, "attacks": attacks, "wall_s": 7.5, "settings": settings}
    (run.audit_folder / "audit.json").write_text(json.dumps(about))
    write_findings(run.audit_folder / "findings.json", findings)
    summary = {
        "system": "style",
        "utility": {"artist_top1": top1, "candidates": 4} | ({} if top1 is None else {"fairness": UNFAIR}),
        "privacy": {"epsilon_artwork_max": epsilon, "epsilon_artist_max": None},
        "time": {"wall_s": 3.25},
    }
    run.summary_file.write_text(json.dumps(summary))


@pytest.fixture
def made(grid_of, tmp_path):
    """Four cells: two finished, one failed, one never begun."""
    grid = grid_of({"epsilons": [2, "none"], "seeds": [0, 1]}, {"audit": "quick"})
    cells = [CellFolder(tmp_path / "cells" / cell.name, cell) for cell in grid.cells()]
    finish(
        cells[0], 0.75, 1.99,
        [
            finding("platform", INVERSION, 0.25, "not broken by this attack", bound=0.3),
            finding("platform", ROUNDS, 0.5, "not broken by this attack"),
            finding("platform", ROUNDS, 0.9, "leaks", target="ann"),
            finding("platform", CARD, 0.625, "inconclusive"),
            finding("malicious_platform", INVERSION, 0.5, "leaks", bound=0.3),
            finding("network", INVERSION, 0.5, "leaks", bound=0.3),
            finding("buyer", CARD, 0.625, "inconclusive"),
            finding("buyer", LINKAGE, 1.0, "leaks"),
            finding("buyer", INVERSION, None, "not run"),
        ],
    )  # fmt: skip
    finish(
        cells[2],
        None,
        None,
        [finding("platform", INVERSION, None, "not run"), finding("buyer", CARD, 0.75, "leaks")],
    )
    cells[1].path.mkdir(parents=True)
    (cells[1].path / "error.txt").write_text("some artist: no reply\n")
    return grid, cells, tabulate(grid, cells, tmp_path), tmp_path


def test_figures_are_those_of_the_platforms_view_and_of_the_worst(made):
    _, cells, table, _ = made
    row = table.rows[0]
    assert row["cell"] == cells[0].path.name
    assert (row["utility.artist_top1"], row["privacy.epsilon_artwork_max"]) == (0.75, 1.99)
    assert (row["time.wall_s"], row["time.audit_s"]) == (3.25, 7.5)
    rate = "platform.identification_rate"
    assert [row[rate + end] for end in ("", "_low", "_high", "_baseline", "_bound")] == [
        0.25, 0.125, 0.375, 0.5, 0.3,
    ]  # fmt: skip
    assert row["worst.identification_rate"] == 0.5
    assert row["worst.identification_rate_view"] == "malicious_platform"
    # The worst artist's row is not the headline.
    assert row["platform.auc.update_rounds"] == 0.5
    assert (row["platform.membership_auc"], row["platform.membership_auc_attack"]) == (0.625, CARD[1])
    assert row["platform.auc.card_membership_low"] == 0.5
    assert row["platform.verdict"] == "leaks"
    assert row["worst.verdict"] == "leaks"
    # Two views saw the same measurement: 0.5 - 0.125 lies above 0.3, once.
    assert row["alarms"] == 1


def test_whom_each_cell_serves_stands_beside_its_utility(made):
    _, _, table, _ = made
    row = table.rows[0]
    assert (row["fairness.smallest"], row["fairness.largest"]) == (0.25, 0.75)
    assert (row["fairness.gap_before"], row["fairness.gap_after"]) == (0, 0.5)
    assert (row["fairness.lowest"], row["fairness.least_gain"], row["fairness.fell"]) == (0.25, -0.25, 1)
    assert row["fairness.label_gap_after"] is None
    assert all(value is None for key, value in table.rows[2].items() if key.startswith("fairness."))


def test_linking_a_published_card_does_not_count_against_artworks(made):
    grid, cells, _, root = made
    finish_again = [
        finding("platform", LINKAGE, 1.0, "leaks"),
        finding("platform", CARD, 0.5, "inconclusive"),
    ]
    write_findings(cells[0].run.audit_folder / "findings.json", finish_again)
    row = tabulate(grid, cells, root).rows[0]
    assert (row["platform.verdict"], row["platform.verdict_artwork"]) == ("leaks", "inconclusive")


def test_what_planted_records_prove_does_not_count_against_artworks(made):
    grid, cells, _, root = made
    proven = finding("platform", ROUNDS, 2.5, "leaks", metric=PROVEN, baseline=0.0, bound=8.0)
    write_findings(
        cells[0].run.audit_folder / "findings.json", [proven, finding("platform", CARD, 0.5, "inconclusive")]
    )
    row = tabulate(grid, cells, root).rows[0]
    assert (row["platform.verdict"], row["platform.verdict_artwork"]) == ("leaks", "inconclusive")


def test_of_several_attacks_the_bound_is_the_loosest_and_the_worst_is_the_largest_figure(made):
    grid, cells, _, root = made
    wide = finding("platform", ROUNDS, 0.7, "not broken by this attack", bound=0.8)
    narrow = finding("platform", CARD, 0.65, "not broken by this attack", bound=0.95)
    # The smaller figure has the narrower interval, and so the higher lower end.
    wide, narrow = replace(wide, low=0.4, high=0.9), replace(narrow, low=0.6, high=0.7)
    for rows in ([wide, narrow], [narrow, wide]):
        write_findings(cells[0].run.audit_folder / "findings.json", rows)
        row = tabulate(grid, cells, root).rows[0]
        name = "platform.membership_auc"
        assert [row[name + end] for end in ("", "_low", "_high", "_bound", "_attack", "_attacks")] == [
            0.7, 0.4, 0.9, 0.95, ROUNDS[1], 2,
        ]  # fmt: skip
        assert (row["platform.auc.card_membership_bound"], row["platform.auc.update_rounds_bound"]) == (
            0.95, 0.8,
        )  # fmt: skip
    # A bound that one of them lacks is none of all.
    write_findings(cells[0].run.audit_folder / "findings.json", [wide, replace(narrow, bound=None)])
    assert tabulate(grid, cells, root).rows[0]["platform.membership_auc_bound"] is None


def test_inconclusive_outweighs_not_broken_in_one_view(made):
    grid, cells, _, root = made
    rows = [
        finding("platform", ROUNDS, 0.5, "not broken by this attack"),
        finding("platform", CARD, 0.5, "inconclusive"),
        finding("platform", INVERSION, None, "not run"),
    ]
    for order in (rows, rows[::-1]):
        write_findings(cells[0].run.audit_folder / "findings.json", order)
        row = tabulate(grid, cells, root).rows[0]
        assert row["platform.verdict"] == row["platform.verdict_artwork"] == "inconclusive"


def test_why_there_is_no_figure_is_what_the_audit_says(made):
    grid, cells, table, root = made
    row = table.rows[2]
    assert row["platform.identification_rate_not_run"] == "because"
    # The buyer's card counts in the worst view alone; in the platform's nobody tried.
    assert (row["platform.membership_auc_not_run"], row["platform.membership_auc_attacks"]) == (None, None)
    assert row["worst.membership_auc_attacks"] == 1
    assert table.rows[0]["platform.identification_rate_not_run"] is None
    rows = [
        replace(finding("platform", attack, None, "not run"), reason=why)
        for attack, why in ((ROUNDS, "sealed"), (CARD, "no cards"), (ROUNDS, "sealed"))
    ]
    write_findings(cells[0].run.audit_folder / "findings.json", rows)
    row = tabulate(grid, cells, root).rows[0]
    assert row["platform.membership_auc_not_run"] == "sealed; no cards"


def test_no_text_is_a_formula_to_a_spreadsheet(grid_of, tmp_path):
    points = [{"name": name, "run.rounds": i + 1} for i, name in enumerate(["=1+1", "@x", "plain", "-2"])]
    grid = grid_of({"=how": points})
    cells = [CellFolder(tmp_path / "cells" / cell.name, cell) for cell in grid.cells()]
    cells[0].path.mkdir(parents=True)
    (cells[0].path / "error.txt").write_text("=cmd|' /C calc'!A0")
    table = tabulate(grid, cells, tmp_path)
    table.write(tmp_path)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["axis.=how"] for row in rows] == ["'=1+1", "'@x", "plain", "'-2"]
    assert rows[0]["error"] == "'=cmd|' /C calc'!A0"
    # The typed table has the texts as they are.
    assert Table.read(tmp_path) == table
    assert table.rows[0]["axis.=how"] == "=1+1"


def test_an_axis_of_the_audit_has_a_column(grid_of, tmp_path):
    grid = grid_of({"audits": ["quick", "deep"], "audit.fpr": [[0.1, 0.2]]})
    cells = [CellFolder(tmp_path / "cells" / cell.name, cell) for cell in grid.cells()]
    table = tabulate(grid, cells, tmp_path)
    assert [row["audit.preset"] for row in table.rows] == ["quick", "deep"]
    assert [row["audit.targets"] for row in table.rows] == [20, 100]
    assert {row["audit.fpr"] for row in table.rows} == {"0.1, 0.2"}
    table.write(tmp_path)
    assert Table.read(tmp_path) == table
    assert all(column.meaning.endswith(".") for column in table.columns)


def test_what_is_missing_is_empty_in_every_file(made):
    _, _, table, root = made
    assert [row["state"] for row in table.rows] == ["finished", "failed", "finished", "not finished"]
    assert table.rows[1]["error"] == "some artist: no reply"
    plain = table.rows[2]
    assert plain["privacy.target_epsilon"] is None
    assert plain["platform.identification_rate"] is None
    assert plain["platform.auc.card_membership"] is None
    assert plain["worst.auc.card_membership"] == 0.75
    table.write(root)
    with (root / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stored = parquet.read_table(root / "results.parquet").to_pylist()
    for row, text, typed in zip(table.rows, rows, stored, strict=True):
        assert typed == dict(row)
        for name, value in row.items():
            if value is None:
                assert text[name] == ""
            elif isinstance(value, bool):
                assert text[name] == str(value).lower()
            else:
                assert type(value)(text[name]) == value
    assert Table.read(root) == table


def test_every_column_is_explained_and_none_is_explained_that_is_not_there(made):
    _, _, table, root = made
    table.write(root)
    told = json.loads((root / "columns.json").read_text())
    assert [column["name"] for column in told] == parquet.read_schema(root / "results.parquet").names
    assert len({column["name"] for column in told}) == len(told)
    for column in told:
        assert column["meaning"].endswith(".")
        assert set(column) == {"name", "kind", "unit", "meaning"}
    kinds = {column["name"]: column["kind"] for column in told}
    assert (kinds["run.seed"], kinds["secure_sum.enabled"], kinds["privacy.dp"]) == (
        "whole",
        "yes or no",
        "text",
    )


def test_a_finished_cell_that_was_edited_is_refused(made):
    grid, cells, _, root = made
    path = cells[0].run.config_file
    path.write_text(path.read_text().replace("target_epsilon = 2.0", "target_epsilon = 9.0"))
    with pytest.raises(AuditError, match=r"was run with privacy\.target_epsilon = 9\.0, not 2\.0"):
        tabulate(grid, cells, root)
    path.write_text(path.read_text().replace("target_epsilon = 9.0", "target_epsilon = 2.0"))
    (cells[0].run.audit_folder / "findings.json").write_text("[{}]")
    with pytest.raises(AuditError, match=r"findings\.json: cannot be read"):
        tabulate(grid, cells, root)


def test_the_inversion_is_called_what_the_audit_calls_it():
    from fedstyle_secure.audit.updates import ONE
    from fedstyle_secure.sweep.table import INVERSION as NAME

    assert isinstance(ONE, AttackCard)
    assert (ONE.name, ONE.metric) == (NAME, INVERSION[2])


def test_what_people_read_first_comes_first_and_nothing_is_lost(grid_of):
    grid = grid_of({"epsilons": [1, 2], "seeds": [0]}, {"audit": {"preset": "quick"}})
    before = list(_columns(grid, {}, []))
    after = sorted(before, key=_first(grid))
    assert [column.name for column in after[:14]] == [
        "cell", "axis.epsilon", "axis.seed", "state", "privacy.epsilon_artwork_max", "utility.artist_top1",
        "utility.baseline_top1", "platform.membership_auc", "platform.membership_auc_low",
        "platform.membership_auc_high", "platform.membership_auc_bound", "platform.identification_rate",
        "worst.verdict_artwork", "time.wall_s",
    ]  # fmt: skip
    assert after[14:] == [column for column in before if column not in after[:14]]
