"""A sweep's report: every number is a file's, bad news stands on top, and nothing edited is reported on."""

import csv
import importlib.util
import json
import re
import shutil
import statistics
import tomllib
from dataclasses import replace
from pathlib import Path

import pypdfium2
import pytest

from fedstyle_secure.errors import AuditError, RunError
from fedstyle_secure.files import file_sha256
from fedstyle_secure.report.formats import report
from fedstyle_secure.report.page.selfhash import verify_page
from fedstyle_secure.report.sweep.closing import limits
from fedstyle_secure.report.sweep.facts import read_sweep
from fedstyle_secure.report.sweep.points import figures
from fedstyle_secure.sweep import runner

pytestmark = pytest.mark.long

_SPEC = importlib.util.spec_from_file_location("sweeps", Path(__file__).with_name("sweeps.py"))
sweeps = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sweeps)
swept, swept_copy = sweeps.swept, sweeps.swept_copy
pages = sweeps.load("test_html")

DATE = "2026-11-21"
NAMES = ["report.html", "report.pdf", "report.json", "points.csv"]
HOSTILE = "<script>alert(1)</script>"
AXIS = '<b>how</b> /~#%20 "x"'
FORMULA = '=1+1 #panic("x") $x$ *b* `c` @d'


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="module")
def odd(tmp_path_factory, cache):
    """One seed, no audit, hostile names, a cell that fails, and no guarantee varied."""
    points = [
        {"name": HOSTILE, "training.local_steps": 1, "privacy.noise": "own"},
        {"name": FORMULA, "training.local_steps": 2, "privacy.noise": "own"},
        {"name": "fails", "training.local_steps": 3, "privacy.noise": "own"},
    ]
    return sweeps.build(
        tmp_path_factory.mktemp("sweeps") / "odd", {AXIS: points, "seeds": [7]}, audit="none",
        name=f"{HOSTILE} {FORMULA}", fails=lambda cell: cell.points[AXIS] == "fails",
    )  # fmt: skip


@pytest.fixture
def odd_copy(odd, tmp_path):
    return Path(shutil.copytree(odd, tmp_path / "odd"))


def page_of(folder):
    report(folder, ("html", "json"), date=DATE)
    return (folder / "report" / "report.html").read_text()


def rows_of(folder):
    """The table as it lies there, read without the program's own code."""
    columns = json.loads((folder / "columns.json").read_text())
    read = {"text": str, "number": float, "whole": int, "yes or no": lambda text: text == "true"}
    kinds = {column["name"]: read[column["kind"]] for column in columns}
    with (folder / "results.csv").open(newline="") as file:
        # Texts that begin like a formula have an apostrophe in front.
        return [
            {
                name: kinds[name](re.sub("^'(?=[=+@-])", "", text)) if text else None
                for name, text in row.items()
            }
            for row in csv.DictReader(file)
        ]


def files_of(folder):
    load = lambda name: json.loads((folder / name).read_text())  # noqa: E731
    found = {
        "results.csv": rows_of(folder),
        "columns.json": {column["name"]: column["meaning"] for column in load("columns.json")},
        "sweep.json": load("sweep.json"),
        "grid.toml": tomllib.loads((folder / "grid.toml").read_text()),
        "report.json": load("report/report.json"),
    }
    if (folder / "plots").is_dir():
        found["plots/captions.json"] = load("plots/captions.json")
    for path in folder.glob("cells/*/run/audit/*.json"):
        found[str(path.relative_to(folder))] = json.loads(path.read_text())
    return found


def combined(values, rule):
    if rule == "distinct":
        return len(set(values))
    if rule == "mean":
        return statistics.fmean(values)
    if rule in ("mean difference", "min difference", "max difference", "pairs above", "pairs"):
        gaps = [values[i] - values[i + 1] for i in range(0, len(values), 2)]
        mean = statistics.fmean(gaps)
        ends = {"min difference": min(gaps), "max difference": max(gaps), "mean difference": mean}
        return ends.get(rule, len(gaps) if rule == "pairs" else len([gap for gap in gaps if gap > 0]))
    return pages.combined(values, rule)


def check_numbers(folder, text):
    """Every cited number or text is what its source holds, rounded as printed, epsilons never down; every
    other digit stands in an element that says why."""
    files, page = files_of(folder), pages.Page(text)
    numbers = 0
    for attrs, texts in page.marked:
        shown = "".join(texts)
        value = combined(pages.resolve(files, attrs["data-source"]), attrs.get("data-rule", "value"))
        if value is None:
            assert not re.search(r"\d", shown), shown
        elif isinstance(value, bool):
            assert shown == ("yes" if value else "no")
        elif isinstance(value, str):
            assert shown == value
        else:
            numbers += 1
            assert pages.NUMBER.fullmatch(shown), shown
            assert float(attrs["value"]) == value
            mantissa, _, exponent = shown.replace(",", "").partition("e")
            unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
            off = float(shown.replace(",", "")) - value
            keys = attrs["data-source"].split(" ")[0].rpartition("#")[2]
            if "epsilon_" in keys:
                assert 0 <= off < unit, (shown, value)
            else:
                assert abs(off) <= unit / 2 * (1 + 1e-9), (shown, value)
    for data, stack in page.texts:
        excused = any("data-source" in a or "data-kind" in a for _, a in stack)
        excused |= any(tag in ("title", "style") for tag, _ in stack)
        excused |= any(a.get("id") in ("report-date", "report-hash") for _, a in stack)
        assert excused or not re.search(r"\d", data), data
    assert {a["data-kind"] for _, a in page.tags if "data-kind" in a} <= {"legal", "ordinal", "name"}
    return numbers


def words(text):
    """What a reader sees, in one line."""
    return re.sub(r"\s+", " ", "".join(data for data, _ in pages.Page(text).texts))


def alarm(text):
    """What stands above the title."""
    found = re.search(r'<aside class="alarms".*?</aside>', text, re.DOTALL)
    if found is None:
        return ""
    assert text.index("<aside") < text.index("<h1")
    return words(found[0])


def rehash(folder, *names):
    """Somebody who edits a file and knows of the hashes."""
    path = folder / "sweep.json"
    about = json.loads(path.read_text())
    about["files"] |= {name: file_sha256(folder / name) for name in names}
    path.write_text(json.dumps(about))


def test_every_number_is_found_in_the_files(swept_copy):
    assert check_numbers(swept_copy, page_of(swept_copy)) > 250


def test_every_number_of_an_odd_sweep_is_found_too(odd_copy):
    assert check_numbers(odd_copy, page_of(odd_copy)) > 30


def test_the_check_of_numbers_finds_a_wrong_one(swept_copy):
    text = page_of(swept_copy)
    wrong = text.replace(">0.935</data>", ">0.936</data>").replace(">0.931</data>", ">0.932</data>")
    assert wrong != text
    for changed in (wrong, text.replace("Evidence against", "Evidence against 99 %")):
        with pytest.raises(AssertionError):
            check_numbers(swept_copy, changed)


def test_chapters_are_in_order_and_headings_do_not_skip(swept_copy):
    page = pages.Page(page_of(swept_copy))
    assert [attrs["id"] for tag, attrs in page.tags if tag == "h2"] == [
        "answer", "plots", "points", "fairness", "runs", "shared", "limits", "provenance", "glossary",
    ]  # fmt: skip
    pages.check_outline(page)


def test_the_page_needs_nothing_else_and_plots_are_in_it_with_words_for_them(swept_copy):
    text = page_of(swept_copy)
    page = pages.Page(text)
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(pictures) == 3
    for attrs in pictures:
        assert attrs["src"].startswith("data:image/png;base64,")
        assert len(attrs["alt"]) > 40
    assert not any(tag == "script" for tag, _ in page.tags)
    for _, attrs in page.tags:
        for key in ("src", "href"):
            assert attrs.get(key, "#").startswith(("#", "data:"))
    assert "one standard deviation of the seeds" in words(text)


def test_two_builds_are_equal_byte_for_byte_and_a_day_changes_a_line(swept_copy, tmp_path):
    for place, date in (("a", DATE), ("b", DATE), ("c", "2027-01-02")):
        paths = report(swept_copy, out=tmp_path / place, date=date)
        assert [path.name for path in paths] == NAMES
    for name in NAMES:
        first, again, later = ((tmp_path / place / name).read_bytes() for place in "abc")
        assert first == again
        if name != "report.pdf":
            lines = zip(first.decode().splitlines(), later.decode().splitlines(), strict=True)
            changed = [(a, b) for a, b in lines if a != b]
            assert len(changed) == (name != "points.csv"), name
            assert all(a.replace(DATE, "2027-01-02") == b for a, b in changed)
    digest = verify_page(tmp_path / "a" / "report.html")
    assert digest == verify_page(tmp_path / "c" / "report.html")
    paper = pypdfium2.PdfDocument(tmp_path / "a" / "report.pdf")
    squeezed = re.sub(r"[\s\u200b\ufffe]+", "", "".join(p.get_textpage().get_text_range() for p in paper))
    assert digest in squeezed


def test_points_are_means_and_ends_over_seeds(swept_copy):
    report(swept_copy, ("csv", "json"), date=DATE)
    rows = rows_of(swept_copy)
    with (swept_copy / "report" / "points.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    assert [(p["axis.epsilon"], p["axis.encryption"]) for p in points] == [
        ("4", "on"), ("4", "off"), ("no DP", "on"), ("no DP", "off"),
    ]  # fmt: skip
    for point in points:
        ours = [
            row
            for row in rows
            if all(row[f"axis.{a}"] == point[f"axis.{a}"] for a in ("epsilon", "encryption"))
        ]
        assert (point["runs"], point["finished"]) == ("2", "2")
        for column in ("utility.artist_top1", "platform.membership_auc", "worst.identification_rate"):
            values = [row[column] for row in ours]
            assert float(point[f"{column}.mean"]) == statistics.fmean(values)
            assert (float(point[f"{column}.min"]), float(point[f"{column}.max"])) == (
                min(values),
                max(values),
            )
        top = max(ours, key=lambda row: row["platform.membership_auc"])
        assert float(point["platform.membership_auc.worst_low"]) == top["platform.membership_auc_low"]
        assert point["platform.membership_auc.worst_run"] == top["cell"]
        spent = [row["privacy.epsilon_artwork_max"] for row in ours]
        assert point["privacy.epsilon_artwork_max"] == ("" if None in spent else str(max(spent)))
    stored = json.loads((swept_copy / "report" / "report.json").read_text())["points"]
    files = files_of(swept_copy)
    for point, told in zip(points, stored, strict=True):
        for name, text in point.items():
            cited = told[name]
            value = cited and combined(pages.resolve(files, cited["source"]), cited["rule"])
            assert text == ("" if value is None else str(value))


def test_the_answer_names_what_leaks_and_how_often(swept_copy):
    text = words(page_of(swept_copy))
    to_platform = text[
        text.index("What leaks to the platform?") : text.index("What leaks in the worst view?")
    ]
    assert (
        "no DP: ● leaks Gradient alignment (4 of 4 runs), Inversion of an update (2 of 4 runs)" in to_platform
    )
    assert "target epsilon 4: ○ not broken no attack leaks" in to_platform
    worst = text[text.index("What leaks in the worst view?") : text.index("What does encryption change?")]
    assert "Inversion of an update (4 of 4 runs)" in worst
    assert "target epsilon 4: ? inconclusive no attack leaks" in worst
    assert "Of artists: Linking a style card (8 of 8 runs)" in worst
    sealed = text[text.index("What does encryption change?") : text.index("What does choosing")]
    assert "in none of 4 runs, with encryption off in 4 of 4" in sealed


def test_utility_is_compared_in_pairs_that_differ_in_nothing_else(swept_copy):
    rows = {(r["axis.epsilon"], r["axis.encryption"], r["axis.seed"]): r for r in rows_of(swept_copy)}
    key = "utility.artist_top1"
    gaps = [rows["no DP", e, s][key] - rows["4", e, s][key] for e in ("on", "off") for s in "01"]
    text = words(page_of(swept_copy))
    shown = [f"{round(x, 3) + 0.0:.3f}" for x in (statistics.fmean(gaps), min(gaps), max(gaps))]
    assert f"by: {shown[0]} ({shown[1]} to {shown[2]}) with target epsilon 4" in text


def test_choosing_the_best_run_costs_more_than_one(swept_copy):
    cost = json.loads((swept_copy / "sweep.json").read_text())["tuning_cost"]["epsilon_artwork"]
    assert cost["all_cells"] is None
    assert cost["those_cells"] > max(r["privacy.epsilon_artwork_max"] or 0 for r in rows_of(swept_copy))
    text = words(page_of(swept_copy))
    choosing = text[text.index("What does choosing the best run cost?") :]
    assert (
        "One artwork: no guarantee, as some give none; those that give one, 4 of 8, together epsilon"
        in choosing
    )
    assert "One artist: no guarantee." in choosing


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("results.csv", "0.9", "0.8"),
        ("columns.json", "Top-1", "Top-5"),
        ("grid.toml", "1e-05", "1e-09"),
        ("cells/*/run/summary.json", '"artist_top1": ', '"artist_top1": 1'),
        ("cells/*/run/audit/findings.json", '"leaks"', '"not run"'),
        ("cells/*/run/audit/audit.json", '"wall_s"', '"wall"'),
        ("cells/*/run/ledger.json", '"cards"', '"sgd"'),
        ("cells/*/run/metrics.jsonl", '"round"', '"rounds"'),
    ],
)
def test_an_edited_file_is_refused_by_name(swept_copy, name, old, new):
    path = sorted(swept_copy.glob(name))[-1]
    text = path.read_text()
    path.write_text(text.replace(old, new) if old in text else text + "\n")
    with pytest.raises(AuditError, match=re.escape(str(path.relative_to(swept_copy)))):
        report(swept_copy, date=DATE)
    assert not (swept_copy / "report").exists()


def test_a_table_that_was_edited_with_its_hash_contradicts_the_runs(swept_copy):
    from pyarrow import parquet

    table = parquet.read_table(swept_copy / "results.parquet")
    place = table.schema.get_field_index("utility.artist_top1")
    values = [1.0, *table.column(place).to_pylist()[1:]]
    parquet.write_table(
        table.set_column(place, table.schema.field(place), [values]), swept_copy / "results.parquet"
    )
    rehash(swept_copy, "results.parquet")
    with pytest.raises(
        AuditError, match=r"cell epsilon-4_encryption-on_seed-0_\w+: utility\.artist_top1 is 1\.0"
    ):
        report(swept_copy, date=DATE)


def test_a_tuning_cost_that_was_edited_contradicts_the_ledgers(swept_copy):
    path = swept_copy / "sweep.json"
    about = json.loads(path.read_text())
    about["tuning_cost"]["epsilon_artwork"]["those_cells"] = 4.0
    path.write_text(json.dumps(about))
    with pytest.raises(AuditError, match=r"sweep\.json: tuning_cost\.epsilon_artwork\.those_cells is 4\.0"):
        report(swept_copy, date=DATE)
    about["tuning_cost"]["cells"] = 99
    path.write_text(json.dumps(about))
    assert not read_sweep(swept_copy).own["checked"]["tuning_cost"]
    assert "was not added up again" in words(page_of(swept_copy))


def test_a_sweep_without_hashes_of_its_cells_is_refused(swept_copy):
    path = swept_copy / "sweep.json"
    about = json.loads(path.read_text())
    about["files"] = {name: h for name, h in about["files"].items() if "findings.json" not in name}
    path.write_text(json.dumps(about))
    with pytest.raises(AuditError, match=r"sweep\.json: has no hash of cells/.*findings\.json"):
        report(swept_copy, date=DATE)


GRID = {"epsilons": [4, "none"], "encryption": sweeps.ENCRYPTION, "seeds": [0, 1]}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("summary.json", '"artist_top1": ', '"artist_top1": 1'),
        ("ledger.json", '"cards"', '"sgd"'),
        ("metrics.jsonl", '"round"', '"rounds"'),
        ("audit/findings.json", '"leaks"', '"not run"'),
        ("audit/audit.json", '"inputs": {', '"inputs": {"more": "x", '),
    ],
)
def test_a_sweep_goes_on_with_no_cell_that_was_edited(swept_copy, name, old, new):
    path = sorted(swept_copy.glob(f"cells/*/run/{name}"))[-1]
    text = path.read_text()
    path.write_text(text.replace(old, new) if old in text else text + "\n")
    with pytest.raises(AuditError, match=re.escape(str(path.relative_to(swept_copy)))):
        sweeps.build(swept_copy, GRID)
    assert not (swept_copy / "sweep.json").exists(), "it is no finished sweep"


def test_the_audit_of_another_cell_is_not_tabulated(swept_copy):
    """Settings and hashes of the foreign audit are right; the run that it read is another."""
    one, other = sorted(swept_copy.glob("cells/epsilon-no*encryption-on*/run/audit"))
    about = json.loads((other / "audit.json").read_text())
    shutil.rmtree(one)
    shutil.copytree(other, one)
    about["settings"]["seed"] = 0
    (one / "audit.json").write_text(json.dumps(about))
    with pytest.raises(AuditError, match=r"seed-0_\w+/run/audit/audit\.json: is the audit of run"):
        sweeps.build(swept_copy, GRID)


def test_a_sweep_that_goes_on_counts_both_goes_and_names_cells_of_other_code(swept_copy, caplog):
    before = json.loads((swept_copy / "sweep.json").read_text())
    assert before["left_over"] == {}
    old = swept_copy / "cells" / "old_cell"
    old.mkdir()
    (old / "code.sha256").write_text("0" * 64 + "\n")
    sweeps.build(swept_copy, GRID)
    said = "1 cell of another version of the program is left in cells/; it is not used"
    assert said in caplog.text
    text = page_of(swept_copy)
    check_numbers(swept_copy, text)
    assert said in words(text)
    after = json.loads((swept_copy / "sweep.json").read_text())
    assert after["files"] == before["files"]
    assert (before["sessions"], after["sessions"]) == (1, 2)
    assert after["began"] == before["began"]
    assert after["wall_s"] >= before["wall_s"]


@pytest.mark.parametrize("name", ["grid.toml", "results.csv", "results.parquet", "columns.json"])
def test_a_sweep_without_hashes_of_its_tables_is_refused(swept_copy, name):
    path = swept_copy / "sweep.json"
    about = json.loads(path.read_text())
    del about["files"][name]
    path.write_text(json.dumps(about))
    with pytest.raises(AuditError, match=re.escape(f"has no hash of {name}")):
        runner.Sweep.open(swept_copy)
    path.write_text(json.dumps(about | {"files": {}}))
    with pytest.raises(AuditError, match=r"has no hash of grid\.toml"):
        runner.Sweep.open(swept_copy)


def test_encryption_is_judged_by_the_attacks_that_ran_with_both(swept_copy):
    """The largest of more attacks is larger by chance alone, so it is compared nowhere."""
    text = words(page_of(swept_copy))
    sealed = text[text.index("What does encryption change?") : text.index("What does choosing")]
    assert "largest" not in sealed
    rows = rows_of(swept_copy)
    key = "platform.auc.rounds"
    by = {(r["axis.epsilon"], r["axis.encryption"], r["axis.seed"]): r[key] for r in rows}
    gaps = [by[e, "off", s] - by[e, "on", s] for e in ("4", "no DP") for s in "01"]
    groups = [[by[e, c, s] for s in "01"] for e in ("4", "no DP") for c in ("on", "off")]
    pooled = statistics.fmean(statistics.variance(group) for group in groups) ** 0.5
    assert pooled > 0 == max(gaps)
    assert (
        f"by: 0.000 (0.000 to 0.000) for Gradient alignment, within the spread of the seeds, {pooled:.3f}. "
        "With a minus it is higher. Attacks that ran with one alone are not compared."
    ) in sealed

    def found(cell):
        rows = sweeps.findings(cell)
        low = 0.2 * (not cell.config.secure_sum.updates)
        rows[0] = replace(rows[0], value=rows[0].value - low, low=rows[0].low - low)
        card = replace(rows[0], attack="Linking a style card", value=0.99, low=0.9, high=1.0)
        return [*rows, card] if cell.config.secure_sum.updates else rows

    for audit in swept_copy.glob("cells/*/run/audit"):
        shutil.rmtree(audit)
    page = page_of(sweeps.build(swept_copy, GRID, found=found))
    check_numbers(swept_copy, page)
    text = words(page)
    assert "by: -0.200 (-0.200 to -0.200) for Gradient alignment, beyond the spread of the seeds" in text
    assert "for Linking a style card" not in text


def test_what_a_seed_sets_and_how_many_artists_were_attacked_are_said(swept_copy, odd_copy):
    text = words(page_of(swept_copy))
    assert "A seed of the grid is that of pictures, run and audit." in text
    assert {(r["run.seed"], r["gallery.seed"], r["audit.seed"]) for r in rows_of(swept_copy)} == {
        (0, 0, 0), (1, 1, 1),
    }  # fmt: skip
    assert "of 4 artists attacked" in text
    assert "A seed of the grid is that of pictures and run." in words(page_of(odd_copy))


def test_an_axis_of_the_audit_is_told_apart(tmp_path):
    audits = {"audits": ["quick", "standard"], "seeds": [0]}
    out = sweeps.build(tmp_path / "out", audits, audit={"preset": "quick", "targets": 9})
    text = page_of(out)
    check_numbers(out, text)
    told = words(text)
    assert "audit preset “quick, changed: targets”, or “standard, changed: targets”" in told
    assert "audit quick" in told
    assert "audit standard" in told


def test_a_sweep_that_goes_on_is_not_reported_on(swept_copy):
    (swept_copy / "sweep.json").unlink()
    with pytest.raises(AuditError, match="not finished"):
        report(swept_copy, date=DATE)


def test_what_is_neither_a_run_nor_a_sweep_says_what_would_be(tmp_path):
    with pytest.raises(RunError, match=r"no run here and no sweep; .*`fedstyle runs`.*`fedstyle sweep`"):
        report(tmp_path, date=DATE)


def test_nothing_alarms_where_nothing_is_wrong(swept_copy):
    assert alarm(page_of(swept_copy)) == ""


def test_a_failed_run_is_named_above_everything_else_and_counted(odd_copy):
    text = page_of(odd_copy)
    lost = next(row for row in rows_of(odd_copy) if row["state"] == "failed")
    above = alarm(text)
    assert "missing from every figure below: 1 of 3" in above
    assert f"{lost['cell']}, failed: {sweeps.FAILS}." in above
    assert "0 of 1" not in words(text)
    assert "none of 1" in words(text)
    values = json.loads((odd_copy / "report" / "report.json").read_text())
    assert [row["cell"] for row in values["missing"]] == [lost["cell"]]
    table = re.search('<table id="table-runs".*?</table>', text, re.DOTALL)[0]
    assert table.count("<tr>") == 1 + 3
    assert lost["cell"] in table


def test_a_missing_run_has_no_part_in_means_and_pairs(swept_copy):
    gone = next(swept_copy.glob("cells/epsilon-4*encryption-on*seed-1*"))
    shutil.rmtree(gone)
    grid = {"epsilons": [4, "none"], "encryption": sweeps.ENCRYPTION, "seeds": [0, 1]}
    sweeps.build(swept_copy, grid, fails=lambda cell: cell.name == gone.name)
    text = page_of(swept_copy)
    check_numbers(swept_copy, text)
    assert gone.name in alarm(text)
    stored = json.loads((swept_copy / "report" / "report.json").read_text())["points"]
    counts = [(p["finished"]["value"], p["runs"]["value"]) for p in stored]
    assert counts == [(1, 2), (2, 2), (2, 2), (2, 2)]
    rows = {(r["axis.epsilon"], r["axis.encryption"], r["axis.seed"]): r for r in rows_of(swept_copy)}
    cited = re.search(r'data-source="([^"]*)" data-rule="mean difference"', text)[1].split(" ")
    places = [int(source.split("/")[1]) for source in cited]
    cells = [tuple(rows)[place] for place in places]
    assert len(cells) == 6
    for one, other in zip(cells[::2], cells[1::2], strict=True):
        assert (one[0], other[0]) == ("no DP", "4")
        assert one[1:] == other[1:]
        assert other != ("4", "on", "1")


def test_the_epsilon_of_several_runs_is_the_largest_rounded_up(swept_copy):
    facts = read_sweep(swept_copy)
    spent = {0: 3.98, 1: 3.991, 2: 3.98, 3: 3.98}
    rows = tuple(
        dict(row) | {"privacy.epsilon_artwork_max": spent.get(i, row["privacy.epsilon_artwork_max"])}
        for i, row in enumerate(facts.rows)
    )
    table = replace(facts.sweep.table, rows=rows)
    changed = replace(
        facts, sweep=replace(facts.sweep, table=table), files={**facts.files, "results.csv": list(rows)}
    )
    shown = [figures(changed, one)["privacy.epsilon_artwork_max"] for one in changed.combinations]
    assert [figure.text for figure in shown] == ["4.00", "3.98", "no guarantee", "no guarantee"]
    assert [level.name for level in changed.levels] == ["no DP", "4"], "the weakest first"


def test_where_every_run_failed_there_is_a_page_all_the_same(tmp_path):
    out = sweeps.build(tmp_path / "out", {"epsilons": [1, 2], "seeds": [0]}, fails=lambda cell: True)
    text = page_of(out)
    check_numbers(out, text)
    assert "missing from every figure below: 2 of 2" in alarm(text)
    assert "Nothing was drawn" in words(text)
    report(out, ("pdf", "csv"), date=DATE)


def test_an_alarm_of_any_run_stands_on_top_with_the_run_and_the_views(swept_copy):
    def found(cell):
        rows = sweeps.findings(cell)
        if cell.points["epsilon"] != "4" or cell.config.run.seed:
            return rows
        high = replace(rows[0], value=0.99, low=0.96, high=1.0, verdict="leaks")
        return [high, replace(high, view="network"), *rows[1:]]

    for audit in swept_copy.glob("cells/epsilon-4*seed-0*/run/audit"):
        shutil.rmtree(audit)
    grid = {"epsilons": [4, "none"], "encryption": sweeps.ENCRYPTION, "seeds": [0, 1]}
    sweeps.build(swept_copy, grid, found=found)
    text = page_of(swept_copy)
    check_numbers(swept_copy, text)
    above = alarm(text)
    cells = [row["cell"] for row in rows_of(swept_copy) if row["alarms"]]
    assert len(cells) == 2
    for cell in cells:
        assert f"Run {cell}, in the view of Platform, Network: Gradient alignment, all artists" in above
    assert "membership AUC 0.990 (at least 0.960) lies above 0.947" in above
    assert above.count("above its bound") == 2
    # One seed of two has the worse verdict, and stands for both.
    stored = json.loads((swept_copy / "report" / "report.json").read_text())["points"]
    verdicts = {p["axis.epsilon"]["value"]: p["platform.verdict_artwork"]["value"] for p in stored}
    assert verdicts == {"4": "leaks", "no DP": "leaks"}
    assert "Gradient alignment (1 of 2 runs)" in words(text)


def test_a_what_if_is_said_on_top(tmp_path):
    grid = {"seeds": [0]}
    out = sweeps.build(tmp_path / "out", grid, audit={"preset": "quick", "without": ["noise", "clip"]})
    text = page_of(out)
    check_numbers(out, text)
    assert "What if: every audit here assumes that its run lacks something that it has: noise, clip" in alarm(
        text
    )
    again = sweeps.build(out, grid, name="anew", audit="none", force=True)
    assert not (again / "report").exists(), "--force deletes the report of what is gone"
    assert "No run was audited" in words(page_of(again))


def test_an_audit_made_anew_with_other_settings_is_not_the_cells(swept_copy):
    grid = {"epsilons": [4, "none"], "encryption": sweeps.ENCRYPTION, "seeds": [0, 1]}
    path = sorted(swept_copy.glob("cells/*/run/audit/audit.json"))[0]
    about = json.loads(path.read_text())
    about["settings"]["without"] = ["noise"]
    path.write_text(json.dumps(about))
    with pytest.raises(AuditError, match=r"audit\.json: was made with without = \['noise'\], not \[\]"):
        sweeps.build(swept_copy, grid)


def test_a_changed_preset_is_called_so(swept_copy, tmp_path):
    out = sweeps.build(tmp_path / "out", {"seeds": [0]}, audit={"preset": "quick", "rounds": 2})
    text = page_of(out)
    check_numbers(out, text)
    assert "audit preset “quick, changed: rounds”" in words(text)
    table = re.search('<table id="table-audit".*?</table>', text, re.DOTALL)[0]
    assert re.search("rounds 2 4", words(table))
    assert "audit preset “quick”" in words(page_of(swept_copy))


def test_one_seed_and_no_audit_are_said(odd_copy):
    text = words(page_of(odd_copy))
    assert "There is one seed, so there are no bars" in text
    assert "No run was audited, so nothing measured says what leaks." in text
    assert "The sweep does not vary the guarantee." in text
    assert "Membership AUC" not in text


def test_limits_name_few_seeds_chance_and_the_embedded_pictures(swept_copy):
    text = words(page_of(swept_copy))
    own = read_sweep(swept_copy).own["chance"]
    # Every measured row of eight audits, views that see the same counted once.
    assert own["intervals"] == sum(
        len(
            {
                (f["attack"], f["value"], f["low"])
                for f in json.loads(path.read_text())
                if f["low"] is not None
            }
        )
        for path in swept_copy.glob("cells/*/run/audit/findings.json")
    )
    assert own["above"] == pytest.approx(own["intervals"] * 0.005 / 2)
    assert "Seeds are few: at most 2 finished" in text
    assert "above one half by chance" in text
    assert "embedded procedural gallery" in text
    assert "Runs of one seed share their pictures, so they are not independent" in text


def test_that_shared_noise_is_another_promise_is_said_where_sums_are_encrypted(swept_copy):
    text = words(page_of(swept_copy))
    assert "epsilon then holds against everybody but platform and opener together" in text
    assert "the same epsilon is not the same promise" in text
    assert "privacy.noise auto" in text
    facts = read_sweep(swept_copy)
    bare = [row | {"secure_sum.enabled": False} for row in facts.rows]
    without = replace(facts, sweep=replace(facts.sweep, table=replace(facts.sweep.table, rows=bare)))
    assert "platform and opener" in str(limits(facts))
    assert "platform and opener" not in str(limits(without))


def test_names_are_never_markup(odd_copy):
    text = page_of(odd_copy)
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text
    assert AXIS not in text
    assert not any(tag in ("script", "b") for tag, _ in pages.Page(text).tags)
    assert sweeps.FAILS in words(text)
    report(odd_copy, ("pdf", "csv"), date=DATE)
    paper = pypdfium2.PdfDocument(odd_copy / "report" / "report.pdf")
    squeezed = re.sub(r"[\s\u200b\ufffe]+", "", "".join(p.get_textpage().get_text_range() for p in paper))
    assert re.sub(r"\s+", "", FORMULA) in squeezed
    with (odd_copy / "report" / "points.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    assert points[1][f"axis.{AXIS}"] == f"'{FORMULA}"


def test_a_cell_elsewhere_is_refused(swept_copy):
    from pyarrow import parquet

    table = parquet.read_table(swept_copy / "results.parquet")
    place = table.schema.get_field_index("folder")
    values = ["../elsewhere", *table.column(place).to_pylist()[1:]]
    parquet.write_table(
        table.set_column(place, table.schema.field(place), [values]), swept_copy / "results.parquet"
    )
    rehash(swept_copy, "results.parquet")
    with pytest.raises(AuditError, match="has no folder of its own"):
        runner.Sweep.open(swept_copy)


def test_every_page_of_the_paper_keeps_to_its_margins(swept_copy):
    report(swept_copy, ("pdf",), date=DATE)
    for page in pypdfium2.PdfDocument(swept_copy / "report" / "report.pdf"):
        picture = page.render(scale=0.5, grayscale=True).to_numpy()
        margin = int(0.05 * picture.shape[1])
        assert (picture < 200).mean() > 0.002
        assert (picture[:, -margin:] > 250).all()
        assert (picture[:, :margin] > 250).all()
