"""Failures are told once a fact, with the list of views, figures and artists that they are of."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from fedstyle_secure.policy.checks import Check, checks
from fedstyle_secure.policy.formats import to_junit, to_sarif
from fedstyle_secure.policy.points import points

LEAK = Check(Path("p.toml"), 7, "attacks.forbidden_verdicts.all", "", "is bad", "Tracing a card")


def of(view, case, **changes):
    return replace(LEAK, subject=f"{view}, Tracing a card, {case}", view=view, case=case, **changes)


def test_one_fact_over_views_and_figures_is_one_line_with_the_list():
    found = [of(view, case) for case in ("AUC [all]", "TPR [all]") for view in ("network", "platform")]
    (one,) = points(found)
    assert str(one) == (
        "p.toml:7: attacks.forbidden_verdicts.all: Tracing a card: is bad "
        "(network, platform: AUC [all], TPR [all])"
    )


def test_what_only_some_views_have_and_other_problems_are_told_apart_in_the_line():
    found = [
        of("network", "AUC [all]"), of("buyer", "AUC [all]"), of("buyer", "AUC [ann]"),
        of("network", "TPR [all]", problem="is worse"), of("opener", "AUC [all]", problem=""),
    ]  # fmt: skip
    (one,) = points(found)
    assert one.problem == (
        "is bad (network, buyer: AUC [all]; buyer: AUC [ann]); is worse (network: TPR [all])"
    )


def test_other_lines_keys_and_attacks_are_other_facts_and_one_that_is_met_says_so():
    found = [
        of("network", "AUC [all]"),
        replace(LEAK, line=8),
        replace(LEAK, key="k"),
        replace(LEAK, about="b"),
    ]
    assert len(points(found)) == 4
    (met,) = points([of("network", "AUC [all]", problem="")])
    assert met.problem == ""
    assert str(met).endswith(": Tracing a card: met")


def test_of_many_artists_some_are_named_and_all_are_counted():
    names = [f"a{i}" for i in range(15)]
    found = [replace(LEAK, about="artists", case=name, view="", problem="9.9 is above 8") for name in names]
    (one,) = points(found)
    assert one.problem.startswith("9.9 is above 8 (a0, a1, ")
    assert one.problem.endswith("a11 and 3 more)")


def test_the_files_have_a_case_a_fact_and_lose_no_failure(run, tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('[epsilon]\nartwork = 1.0\n[attacks]\nforbidden_verdicts = ["leaks"]\n')
    done = checks(run.path, path)
    told = points(done)
    failed = [one for one in told if one.problem]
    assert 0 < len(failed) < sum(bool(one.problem) for one in done)
    assert sum(len(one.checks) for one in told) == len(done)
    cases = ElementTree.fromstring(to_junit(told)).findall("testsuite/testcase")
    assert len(cases) == len(told)
    assert sum(case.find("failure") is not None for case in cases) == len(failed)
    results = json.loads(json.dumps(to_sarif(told)))["runs"][0]["results"]
    assert [result["message"]["text"] for result in results] == [f"{o.subject}: {o.problem}" for o in failed]
    (spent,) = [one for one in failed if one.key == "epsilon.artwork"]
    assert len(spent.checks) == 4
    for artist in (check.case for check in spent.checks):
        assert artist in spent.problem
