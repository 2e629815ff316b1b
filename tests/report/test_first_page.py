"""Page one decides: the answer in a sentence, the policy's own verdict, measured alternatives, one figure."""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pypdfium2
import pytest

from attacks.references import METHODS, REFERENCES, Cited
from fedstyle_secure.audit.catalogue import _FIRST as HOUSE
from fedstyle_secure.audit.findings import intended, not_run, read_findings
from fedstyle_secure.errors import AuditError, ConfigError
from fedstyle_secure.files import file_sha256
from fedstyle_secure.policy.checks import check, checks
from fedstyle_secure.policy.own import hold
from fedstyle_secure.registry import load
from fedstyle_secure.report.formats import report
from fedstyle_secure.report.page.figure import attack_range
from fedstyle_secure.report.page.pieces import Answers, Range, Table, plain
from fedstyle_secure.report.page.policy import policy_sign, the_policy
from fedstyle_secure.report.run.alternatives import alternatives
from fedstyle_secure.report.run.document import document
from fedstyle_secure.report.run.facts import read_facts
from fedstyle_secure.report.run.first_page import first_page, headline_findings, the_answer
from fedstyle_secure.report.run.next_steps import next_steps
from fedstyle_secure.report.sweep.facts import read_sweep

_SPEC = importlib.util.spec_from_file_location("sweeps", Path(__file__).with_name("sweeps.py"))
sweeps = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sweeps)
swept, swept_copy = sweeps.swept, sweeps.swept_copy

PURPOSE = "a card is published to be found"
KIND = {"category": "exfiltration", "level": "L2"}


def answered(run, audited, change):
    audited(run, change)
    sign, line = the_answer(read_facts(run.path))
    return sign, plain(line)


def policy(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return path


LINKING = "Linking a style card to its artist"


def meant(make, **values):
    """A card linked to its artist, as an audit says it where all agreed."""
    row = make(
        attack=LINKING, unit="artist", metric="artist named rightly", value=1.0, low=0.66, high=1.0, n=9,
        baseline=0.25, bound=None, verdict="leaks", level="L2", category="exfiltration", **values,
    )  # fmt: skip
    return intended(row, PURPOSE, [])


def test_a_leak_is_told_with_guessing_undefended_and_what_it_means(run, audited):
    sign, words = answered(
        run,
        audited,
        lambda rows, make: [make(verdict="leaks", value=0.67, low=0.61, control=0.89), meant(make)],
    )
    assert sign == "leaks"
    assert words.startswith("Something leaks. 1 of 2 attacks that ran learns more than guessing.")
    assert "is right in 0.670 of cases, where guessing is right in 0.500, and 0.890 with nothing" in words
    assert "somebody who already holds a work can tell" in words
    assert f"Meant to succeed, with consent: “{LINKING}”" in words


def test_nothing_found_nothing_known_and_nobody_looked_are_three_answers(run, bare, audited):
    assert answered(run, audited, lambda rows, make: [make()])[1].startswith(
        "Nothing was found to leak by any"
    )
    sign, words = answered(run, audited, lambda rows, make: [make(verdict="inconclusive", reason="few")])
    assert (sign, words[:18]) == ("inconclusive", "Not known in part.")
    sign, words = answered(run, audited, lambda rows, make: [not_run(make(), "sealed")])
    assert (sign, words[:10]) == ("not run", "Not known:")


def test_a_leak_of_a_single_artist_is_not_hidden_by_the_mean(run, audited):
    artist = read_facts(run.path).artists[0][1]
    sign, words = answered(
        run, audited, lambda rows, make: [make(), make(target=artist, value=0.9, low=0.7, verdict="leaks")]
    )
    assert sign == "leaks"
    assert f"Of a single artist, {artist}, “Gradient alignment” reaches 0.900" in words


def test_what_more_onlookers_can_do_comes_first(run, audited):
    audited(
        run,
        lambda rows, make: [
            make(attack="Rare", verdict="leaks", value=0.99, low=0.9, bound=None, view="platform_opener"),
            *(make(verdict="leaks", value=0.6, low=0.55, view=view) for view in ("network", "buyer")),
            make(attack="Kept"),
        ],
    )
    facts = read_facts(run.path)
    assert [facts.findings[i].attack for i in headline_findings(facts)] == [
        "Gradient alignment",
        "Rare",
        "Kept",
    ]


def test_a_policy_says_on_page_one_what_check_says(run, tmp_path):
    for text, met in (
        ("[epsilon]\nartwork = 10.0\n", True),
        ("[epsilon]\nartwork = 9.0\n[attacks]\nforbidden_verdicts = ['leaks']\n", False),
    ):
        path = policy(tmp_path, text)
        facts = read_facts(run.path).with_more(policy=hold(run.path, path).to_dict())
        failed = check(run.path, path)
        assert (policy_sign(facts) == "met") == (not failed) == met
        assert facts.own["policy"]["failed"] == len(failed)
        assert facts.own["policy"]["asked"] == len(checks(run.path, path))
        words = plain(the_policy(facts, True))
        assert ("are not met: epsilon.artwork (line 2" in words) == (not met)
        assert ("what leaks, it lets pass" in words) == met


def test_without_a_policy_the_page_says_so_and_how_to_set_one(run):
    facts = read_facts(run.path)
    assert policy_sign(facts) == "no policy"
    assert "--policy FILE" in plain(the_policy(facts, False))
    titles = [row[0] for block in first_page(facts) if isinstance(block, Answers) for row in block.rows]
    assert titles == [
        "The answer", "The policy", "What to do next", "What is promised", "What this does not say",
    ]  # fmt: skip


def test_the_page_and_its_files_hold_the_policy(run, tmp_path):
    path = policy(tmp_path, "[epsilon]\nartwork = 1.0\n")
    report(run.path, ("html", "json"), date="2026-11-21", held=hold(run.path, path))
    values = json.loads((run.path / "report" / "report.json").read_text())
    assert values["answer"]["policy"] == "not met"
    assert values["policy"]["keys"][1]["line"] == 2
    assert "The policy, line by line" in (run.path / "report" / "report.html").read_text()


def test_what_is_by_design_leaks_once_an_artist_has_withdrawn(run, audited):
    from fedstyle_secure.accounts import withdraw

    attacks = [{"key": "card", "name": LINKING, "explains": "x", "purpose": PURPOSE, **KIND}]
    audited(run, lambda rows, make: [meant(make)], attacks=attacks)
    before = read_facts(run.path)
    assert [f.verdict for f in before.findings] == ["by design"]
    artist = before.artists[0][1]
    withdraw(run, artist)
    (after,) = read_facts(run.path).findings
    assert after.verdict == "leaks"
    assert f"no longer agreed to by {artist}" in after.reason
    assert f"Train anew without {artist}" in plain(next_steps(read_facts(run.path)))


def test_intended_changes_nothing_that_did_not_leak_and_hides_no_alarm(make):
    assert intended(make(), PURPOSE, []).verdict == "not broken by this attack"
    alarm = make(value=0.99, low=0.96, verdict="leaks")
    assert intended(alarm, PURPOSE, []).verdict == "leaks"


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("forbidden_verdicts = ['leaks']", True),
        ("forbidden_verdicts = ['leaks']\nallow_by_design = true", False),
        ("forbidden_verdicts = ['by design']\nallow_by_design = true", True),
        ("forbidden_verdicts = { platform = ['leaks'] }", True),
        ("forbidden_verdicts = { buyer = ['by design'] }", False),
    ],
)
def test_by_design_is_a_leak_to_a_policy_that_does_not_allow_it(run, audited, tmp_path, text, fails):
    audited(run, lambda rows, make: [make(), make(view="buyer"), meant(make)])
    path = policy(tmp_path, f"[attacks]\nallow_inconclusive = true\n{text}\n")
    failed = [one for one in check(run.path, path) if one.key.startswith("attacks.forbidden")]
    assert bool(failed) == fails


@pytest.mark.parametrize("edit", ["another attack", "own ledgers taken away"])
def test_a_policy_lets_by_design_pass_only_for_what_is_published_by_who_is_known_to_agree(
    run, audited, tmp_path, edit
):
    other = edit == "another attack"
    audited(
        run, lambda rows, make: [replace(meant(make), attack="Gradient alignment") if other else meant(make)]
    )
    if not other:
        shutil.rmtree(run.path.parent / "studios")
    text = "[attacks]\nallow_inconclusive = true\nforbidden_verdicts = ['leaks']\nallow_by_design = true\n"
    (failed,) = [
        one for one in check(run.path, policy(tmp_path, text)) if one.key.startswith("attacks.forbidden")
    ]
    assert ("nothing is published for" if other else "nobody can tell whether") in failed.problem


@pytest.mark.parametrize("value", ["x", float("nan"), 10**400])
@pytest.mark.parametrize("key", ["confidence", "seconds", "low"])
def test_a_finding_that_is_no_number_is_refused(make, tmp_path, key, value):
    path = tmp_path / "findings.json"
    path.write_text(json.dumps([make().to_dict() | {key: value}]))
    with pytest.raises(AuditError, match=r"findings.json: cannot be read"):
        read_findings(path)


def test_the_figure_draws_undefended_measured_guessing_and_allowed(run, audited, make):
    audited(
        run,
        lambda rows, make: [make(control=0.9, verdict="leaks", low=0.51), make(attack="Other")],
    )
    table = next(b for b in first_page(read_facts(run.path)) if isinstance(b, Table))
    assert table.key == "figure"
    drawn = [p for row in table.rows for cell in row for p in cell if isinstance(p, Range)]
    assert drawn[0] == Range(0.51, 0.5213, 0.6298, 0.5, 0.9471, True, 0.9, True)
    assert "undefended 0.900, measured 0.521, guessing 0.500, allowed 0.947" in plain(table.rows[0][1])
    assert attack_range(make(value=24.0, low=20.0, high=30.0)) is None


def test_the_body_has_at_most_ten_pages_and_every_foot_says_day_page_and_hash(run):
    report(run.path, ("html", "pdf"), date="2026-11-21")
    data = pypdfium2.PdfDocument((run.path / "report" / "report.pdf").read_bytes())
    marks = [(mark.get_title(), mark.get_dest().get_index()) for mark in data.get_toc()]
    annex = next(page for title, page in marks if title == "Annex")
    assert 1 < annex <= 10
    assert [title for title, page in marks if page == 0] == ["At a glance"], "page one stands by itself"


def test_every_paper_is_whole_and_every_attack_that_cites_says_what(run):
    for key, paper in REFERENCES.items():
        assert paper.at.startswith(("arXiv ", "doi ")), key
        assert str(paper.year) in key
    known = list(HOUSE)
    for system in ("style", "text", "art"):
        known += load(f"fedstyle_secure.systems.{system}.attacks.catalogue:catalogue")()
    cited = [c for one in known for c in one.card.cites]
    assert cited
    assert all(c.use for c in [*cited, *(c for cites in METHODS.values() for c in cites)])
    with pytest.raises(KeyError, match="none of the references"):
        Cited("nobody2020", "nothing")


def test_the_bibliography_names_the_papers_of_attacks_that_ran(run, audited):
    cites = [Cited("nasr2019", "an update that points there", "eq. 1").to_dict()]
    attacks = [
        {"key": "a", "name": "Gradient alignment", "explains": "x", "cites": cites, **KIND},
        {"key": "b", "name": "Other", "explains": "x", "cites": [], **KIND},
    ]
    audited(run, lambda rows, make: [make(), not_run(make(attack="Other"), "sealed")], attacks=attacks)
    section = next(
        s for s in document(read_facts(run.path), "2026-11-21").sections if s.key == "bibliography"
    )
    (table, _) = section.blocks
    (row,) = table.rows
    assert plain(row[0]) == "Gradient alignment"
    assert "arXiv 1812.00910, eq. 1: an update that points there" in plain(row[1])


@pytest.fixture
def cells(swept_copy):
    """Facts of the sweep, and of a run in it that has no noise."""
    sweep = read_sweep(swept_copy)
    return sweep, next(run for run in sweep.runs.values() if run.config.privacy.dp == "off")


@pytest.mark.long
def test_a_sweep_of_the_same_run_gives_measured_alternatives(cells):
    sweep, bare = cells
    found = alternatives(bare, sweep)
    best = found["rows"][0]
    assert best["better"]
    assert {row["attack"] for row in best["ended"]} >= {"Gradient alignment"}
    assert best["epsilon"] == pytest.approx(4.0, abs=0.1)
    words = plain(next_steps(bare.with_more(alternatives=found)))
    assert "Measured in" in words
    assert "“Gradient alignment” no longer leaks" in words
    assert "instead of" in words


@pytest.mark.long
def test_a_sweep_of_something_else_is_refused_by_the_setting(cells, run, swept_copy):
    sweep, _ = cells
    with pytest.raises(AuditError, match=r"cell .* has [a-z_.]+ = .*, and this run"):
        alternatives(read_facts(run.path), sweep)
    with pytest.raises(ConfigError, match="only a run's report names alternatives"):
        report(swept_copy, ("html",), sweep=swept_copy)


@pytest.mark.long
def test_an_attack_that_did_not_run_there_has_not_ended(cells):
    sweep, own = cells
    extra = replace(own.findings[0], attack="Only here", verdict="leaks", low=0.9, value=0.95)
    more = replace(own, findings=(*own.findings, extra))
    rows = alternatives(more, sweep)["rows"]
    assert rows
    assert not any(row["better"] for row in rows)


def test_works_that_stand_out_are_told_with_how_many_held_out_ones_score_as_high(run, audited):
    from fedstyle_secure.report.run.exposed import most_exposed

    works = [
        {"artist": "a", "work": "0007", "place": 3, "score": 2.5, "as_high": 0},
        {"artist": "b", "work": "", "place": 1, "score": 2.0, "as_high": 1},
    ]
    kept = {"works": works, "members": 12, "held_out": 40}
    # The audit's folder is written anew with the file among its hashes.
    audited(run, lambda rows, make: [make(curve="rounds.svg", verdict="leaks", low=0.51)])
    home = run.path / "audit"
    (home / "exposed_rounds.json").write_text(json.dumps(kept))
    about = json.loads((home / "audit.json").read_text())
    about["files"]["exposed_rounds.json"] = file_sha256(home / "exposed_rounds.json")
    (home / "audit.json").write_text(json.dumps(about))
    blocks = most_exposed(read_facts(run.path))
    table = next(b for b in blocks if isinstance(b, Table) and b.key == "works")
    assert [[plain(cell) for cell in row] for row in table.rows] == [
        ["a", "0007", "3", "0"], ["b", "name kept back", "1", "1"],
    ]  # fmt: skip
    assert "chance" not in plain(table.caption)
    (home / "exposed_rounds.json").write_text(json.dumps(kept | {"members": "many"}))
    about["files"]["exposed_rounds.json"] = file_sha256(home / "exposed_rounds.json")
    (home / "audit.json").write_text(json.dumps(about))
    with pytest.raises(AuditError, match=r"exposed_rounds\.json: members"):
        read_facts(run.path)
