"""A gate that fails closed, and says which line of the policy a run does not meet."""

import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fedstyle_secure.audit import catalogue
from fedstyle_secure.audit.catalogue import catalogues
from fedstyle_secure.audit.findings import not_run
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.errors import AuditError, ConfigError
from fedstyle_secure.policy.checks import check, checks, key_lines, load_policy
from fedstyle_secure.policy.formats import to_junit, to_sarif
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.report.run.facts import read_facts
from fedstyle_secure.studios import studio_home, studios_root

ROOT = Path(__file__).parents[2]


@pytest.fixture
def gate(run, tmp_path):
    """Failures of the run under a policy text, as (line, key, problem)."""

    def ask(text):
        path = tmp_path / "policy.toml"
        path.write_text(text)
        return [(one.line, one.key, one.problem) for one in check(run.path, path)]

    return ask


def problems(found):
    return " / ".join(problem for _, _, problem in found)


def test_a_run_within_its_limits_passes(gate):
    text = (
        "[epsilon]\nartwork = 10.0\n[attacks]\nallow_inconclusive = true\nmax_tpr = {fpr = 0.01, value = "
        "0.2}\n"
    )
    assert gate(text) == []


@pytest.mark.parametrize(("limit", "fails"), [(9.8, True), (9.9, False)])
def test_epsilon_is_held_against_every_artist(gate, limit, fails):
    found = gate(f"\n[epsilon]\n# a comment\nartwork = {limit}\n")
    assert [(line, key) for line, key, _ in found] == [(4, "epsilon.artwork")] * 4 * fails


@pytest.mark.parametrize("key", ["artist", "lifetime_artist"])
def test_no_guarantee_is_never_below_a_limit(gate, key):
    found = gate(f"[epsilon]\n{key} = 1000\n")
    assert len(found) == 4
    assert "there is no guarantee" in problems(found)


def test_what_an_artist_released_since_counts_in_its_lifetime(run, tmp_path):
    """The run's copy of the ledger ends with the run; the artist's own goes on."""
    policy = tmp_path / "policy.toml"
    policy.write_text("[epsilon]\nlifetime_artwork = 9.9\nartwork = 9.9\n")
    assert check(run.path, policy) == []
    artist = run.summary()["privacy"]["per_artist"][2]["artist"]
    config = run.config()
    ledger = Ledger(studio_home(studios_root(config, run), config.gallery, artist) / "ledger.jsonl")
    ledger.append([replace(entry, run="f" * 32) for entry in ledger.entries])
    failed = check(run.path, policy)
    assert [(one.key, one.subject) for one in failed] == [("epsilon.lifetime_artwork", f"artist {artist}")]
    facts = read_facts(run.path)
    assert list(facts.own["since"]) == [artist]
    assert facts.own["since"][artist]["releases"] == len(facts.ledger[artist])
    assert facts.own["since"][artist]["epsilon_artwork"] > 9.9


def test_a_larger_delta_fails_even_where_it_is_not_named(gate, run):
    assert gate("[epsilon]\nartwork = 10\ndelta = 1e-5\n") == []
    found = gate("[epsilon]\nartwork = 10\ndelta = 1e-6\n")
    assert [(line, key) for line, key, _ in found] == [(3, "epsilon.delta")]


def test_a_figure_that_is_not_shown_to_be_below_its_limit_fails(gate):
    found = gate("[attacks]\nallow_inconclusive = true\nmax_tpr = {fpr = 0.01, value = 0.1}\n")
    assert {(line, key) for line, key, _ in found} == {(3, "attacks.max_tpr")}
    assert "n = 120 is too small to show that it is below 0.1" in problems(found)


def test_a_figure_above_its_limit_and_one_without_an_interval_fail(gate, run, audited):
    row = {"metric": "TPR at an FPR", "fpr": 0.01, "value": 0.3, "low": 0.2, "high": 0.4, "verdict": "leaks"}
    bare = row | {"value": 0.01, "low": None, "high": None}
    audited(run, lambda rows, make: [make(), make(**row), make(view="buyer"), make(view="buyer", **bare)])
    found = gate("[attacks]\nmax_tpr = {fpr = 0.01, value = 0.1}\n")
    assert [problem.split(",")[0] for _, _, problem in found] == ["0.3 is above 0.1", "0.01 has no interval"]


def test_a_rate_that_was_not_measured_fails(gate):
    found = gate("[attacks]\nallow_inconclusive = true\nmax_tpr = {fpr = 0.001, value = 0.1}\n")
    assert "has no TPR at an FPR of 0.001; it has one at 0.01" in problems(found)
    assert len(found) == 3


@pytest.mark.parametrize("fpr", [0.01, 0.01234, 1 / 30, 1 / 7, 2 / 3, 1e-7, 0.1 + 0.2])
def test_a_rate_of_any_number_is_the_one_that_the_policy_asks_for(gate, run, audited, fpr):
    """A rate was once text of three digits, so that five of these seven never met."""
    rate = {"metric": "TPR at an FPR", "fpr": fpr, "value": 0.01, "low": 0.0, "high": 0.03}
    audited(run, lambda rows, make: [make(), make(**rate)])
    assert gate(f"[attacks]\nmax_tpr = {{fpr = {fpr}, value = 0.1}}\n") == []
    near = math.nextafter(fpr, 1.0)
    (found,) = gate(f"[attacks]\nmax_tpr = {{fpr = {near}, value = 0.1}}\n")
    assert found[2] == f"has no TPR at an FPR of {near}; it has one at {fpr}"


def test_two_rates_of_one_attack_are_excused_apart(gate, run, audited):
    """An attack that proves nothing at one rate says nothing of another one."""
    rate = {"metric": "TPR at an FPR", "verdict": "inconclusive", "reason": "did not win anywhere"}
    audited(run, lambda rows, make: [make(fpr=0.01, **rate), make(fpr=0.1, target=rows[-1].target, **rate)])
    assert len(gate("[attacks]\nallow_inconclusive = false\n")) == 2


def test_a_strong_attack_without_the_rate_is_not_excused_by_a_weak_one_with_it(gate, run, audited):
    rate = {"metric": "TPR at an FPR", "fpr": 0.01, "value": 0.01, "low": 0.0, "high": 0.03}
    audited(
        run, lambda rows, make: [make(attack="Weak"), make(attack="Weak", **rate), make(value=0.9, low=0.8)]
    )
    (found,) = gate("[attacks]\nmax_tpr = {fpr = 0.01, value = 0.1}\n")
    assert found[2] == "has no TPR at an FPR of 0.01"


def test_identification_is_held_against_the_upper_end_over_the_baseline(gate, run, audited):
    text = "[attacks]\nallow_inconclusive = true\nmax_identification_advantage = {}\n"
    assert gate(text.replace("{}", "0.17")) == []
    found = gate(text.replace("{}", "0.15"))
    assert len(found) == 3
    assert "goes up to 0.1689" in problems(found), "the paired interval is the wider one here"
    audited(run, lambda rows, make: [make(metric="identification rate", baseline=None)])
    assert "has no baseline" in problems(gate(text.replace("{}", "1.0")))
    audited(run, lambda rows, make: [make()])
    assert "no finding has an identification rate" in problems(gate(text.replace("{}", "1.0")))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("rounds", ""),
        ("Gradient alignment", ""),
        ("platform/rounds", ""),
        ("buyer/rounds", "was not run"),
        ("opener/update_one", "was not run: updates are sent to the platform only"),
        (
            "letters",
            "was not run; the system 'style' has no such attack; [attacks.required] asks for some by",
        ),
    ],
)
def test_a_required_attack_must_have_been_run(gate, name, problem):
    found = gate(f'[attacks]\nallow_inconclusive = true\nrequired = [\n  "{name}",\n]\n')
    assert bool(found) == bool(problem)
    assert problem in problems(found)
    assert all(line == 3 for line, _, _ in found)


def test_an_attack_that_nobody_knows_is_an_error_of_the_policy_with_the_nearest_key(gate):
    for name, near in ("update_one_", "update_one"), ("platform/card_membershp", "card_membership"):
        with pytest.raises(ConfigError, match=rf":3: .*no attack is called '.*'; did you mean '{near}'\?"):
            gate(f'[attacks]\nallow_inconclusive = true\nrequired = ["rounds", "{name}"]\n')
    with pytest.raises(
        ConfigError, match=r":4: attacks.required: unknown system 'txet'; did you mean 'text'"
    ):
        gate('[attacks]\nallow_inconclusive = true\n[attacks.required]\ntxet = ["letters"]\n')
    with pytest.raises(ConfigError, match=r":4: .*no attack is called 'leters'; did you mean 'letters'"):
        gate('[attacks]\nallow_inconclusive = true\n[attacks.required]\ntext = ["leters"]\n')


def test_a_policy_may_name_attacks_of_a_system_that_lacks_its_extra_here(gate, monkeypatch):
    """The preset names those of all systems, and most installations have one of them."""
    loaded = catalogue.system_named

    def absent(name):
        if name == "art":
            raise ConfigError("run.system = 'art' cannot be loaded: No module named 'diffusers'")
        return loaded(name)

    monkeypatch.setattr(catalogue, "system_named", absent)
    asked = (
        '[attacks]\nallow_inconclusive = true\n[attacks.required]\nall = ["rounds"]\nart = ["work_gain"]\n'
    )
    assert gate(asked) == []
    assert set(catalogues()) == {"style", "text"}
    with pytest.raises(ConfigError, match="no attack is called 'leters'"):
        gate('[attacks]\nallow_inconclusive = true\n[attacks.required]\ntext = ["leters"]\n')


def test_what_is_asked_of_another_system_is_not_asked_of_this_one(gate):
    asked = '[attacks]\nallow_inconclusive = true\n[attacks.required]\nall = ["rounds"]\ntext = ["letters"]\n'
    assert gate(asked) == []
    found = gate(asked + 'style = ["buyer/rounds"]\n')
    assert [(line, key) for line, key, _ in found] == [(6, "attacks.required.style")]


def test_the_example_asks_every_system_for_attacks_that_it_has():
    asked = load_policy(ROOT / "configs" / "policy.toml")[1].attacks
    assert asked is not None
    for system, all_ in catalogues().items():
        keys = {known.card.key for known in all_ if known.run is not None}
        names = [name for _, name in asked.required_of(system)]
        assert len(names) > 1, f"{system} is asked for no attack of its own"
        assert set(names) <= keys


def test_a_required_attack_that_proves_nothing_fails_though_others_may(gate, run, audited):
    weak = {"verdict": "inconclusive", "reason": "did not win anywhere"}
    audited(run, lambda rows, make: [make(), make(attack="Other", **weak)])
    text = '[attacks]\nallow_inconclusive = true\nrequired = ["{}"]\n'
    assert gate(text.format("rounds")) == []
    assert problems(gate(text.format("Other"))) == "is inconclusive: did not win anywhere"


def test_a_rate_that_was_not_run_says_why(gate, run, audited):
    rate = {"metric": "TPR at an FPR", "fpr": 0.01}
    audited(run, lambda rows, make: [make(), not_run(make(**rate), "needs 100 non-members")])
    found = gate("[attacks]\nmax_tpr = {fpr = 0.01, value = 0.1}\n")
    assert problems(found) == "its TPR at an FPR of 0.01 was not run: needs 100 non-members"


def test_an_attack_that_proves_nothing_is_one_line_not_one_an_artist(gate, run, audited):
    weak = {"verdict": "inconclusive", "reason": "did not win anywhere"}
    audited(
        run,
        lambda rows, make: [make(**weak), make(target="ann", **weak), make(attack="b", target="bo", **weak)],
    )
    found = gate("[attacks]\nmax_identification_advantage = 1\n")
    assert [key for _, key, _ in found].count("attacks.allow_inconclusive") == 2


def test_a_required_attack_that_was_not_run_anywhere_fails(gate, run, audited):
    audited(run, lambda rows, make: [not_run(make(), "the record is missing")])
    found = gate('[attacks]\nrequired = ["rounds"]\n')
    assert problems(found) == "ran no attack / was not run: the record is missing"


@pytest.mark.parametrize("rows", [0, 1])
def test_an_audit_that_ran_nothing_meets_no_prohibition(gate, run, audited, rows):
    audited(run, lambda _, make: [not_run(make(), "sealed")] * rows)
    found = gate('[attacks]\nallow_inconclusive = true\nforbidden_verdicts = ["leaks"]\n')
    assert problems(found) == "ran no attack"


def test_a_view_that_the_audit_lacks_or_did_not_attack_meets_no_prohibition(gate, run, audited):
    text = '[attacks]\nallow_inconclusive = true\nforbidden_verdicts = {opener = ["leaks"]}\n'
    assert problems(gate(text)) == "no attack was run in this view, so nothing is known"
    audited(run, lambda rows, make: [make(), make(view="opener")])
    assert gate(text) == []
    path = run.path / "audit" / "audit.json"
    about = json.loads(path.read_text())
    audited(run, lambda rows, make: [make()], views=[v for v in about["views"] if v["key"] != "opener"])
    assert "has no view opener" in problems(gate(text))


def test_an_audit_that_hardly_looked_fails(gate, run, audited):
    text = '[attacks]\nallow_inconclusive = true\nforbidden_verdicts = ["leaks"]\n'
    audited(run, lambda rows, make: [make(confidence=0.51)])
    assert problems(gate(text)) == "has intervals of confidence 0.51"
    assert gate(text + "min_confidence = 0.505\n") == []
    names = [name for _, name in read_facts(run.path).artists]
    audited(run, lambda rows, make: [make()], artists=names[:-1])
    assert problems(gate(text)) == f"did not attack {names[-1]}"
    assert gate(text + "all_artists = false\n") == []


def test_an_audit_of_what_if_passes_no_gate_and_cannot_hide(gate, run, audited):
    text = "[epsilon]\nartwork = 100\n"
    what_if = AuditSettings(without=("noise",))
    about = {"settings": what_if.model_dump(mode="json"), "preset": what_if.label}
    audited(run, **about)
    with pytest.raises(AuditError, match="assumes that the run lacks noise"):
        gate(text)
    audited(run, **about | {"preset": "quick"})
    with pytest.raises(AuditError, match=r"preset 'quick' is not what its settings are: 'quick, WHAT IF"):
        gate(text)
    usual = AuditSettings().model_dump(mode="json")
    for settings in (None, {}, usual | {"without": 3}, usual | {"targets": 1}):
        audited(run, settings=settings)
        with pytest.raises(AuditError, match=r"audit\.json: settings"):
            gate(text)


def test_a_cheap_audit_cannot_bear_the_name_of_a_dear_one():
    assert AuditSettings.from_preset("deep").label == "deep"
    cheap = AuditSettings.from_preset("deep").model_copy(update={"targets": 4, "confidence": 0.6, "seed": 3})
    assert cheap.label == "deep, changed: targets, confidence"
    assert AuditSettings(preset="mine").label == "mine (own settings)"


def test_verdicts_are_forbidden_everywhere_or_by_view(gate):
    everywhere = gate('[attacks]\nallow_inconclusive = true\nforbidden_verdicts = ["leaks"]\n')
    assert len(everywhere) == 5
    views = 'platform_opener = ["not run"]\nbuyer = ["leaks"]\n'
    by_view = gate(f"[attacks]\nallow_inconclusive = true\n[attacks.forbidden_verdicts]\n{views}")
    assert [(line, key) for line, key, _ in by_view] == [(5, "attacks.forbidden_verdicts.buyer")]
    inline = gate('[attacks]\nallow_inconclusive = true\nforbidden_verdicts = {all = ["leaks"]}\n')
    assert len(inline) == 5


def test_inconclusive_fails_unless_it_is_allowed(gate):
    found = gate('[attacks]\nforbidden_verdicts = {platform_opener = ["not run"]}\n')
    assert [key for _, key, _ in found] == ["attacks.allow_inconclusive"]
    assert "no better than its baseline" in problems(found)


def test_an_alarm_fails_whatever_the_policy_says(gate, run, audited):
    audited(run, lambda rows, make: [make(value=0.99, low=0.96, high=1.0, verdict="leaks")])
    found = gate("[epsilon]\nartwork = 100\n")
    assert "a bug in the defence or in the attack" in problems(found)


def test_without_an_audit_every_limit_on_attacks_fails(bare, tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text("[attacks]\nallow_inconclusive = false\n")
    (found,) = check(bare.path, path)
    assert "no audit was run" in found.problem
    assert str(found) == f"{path}:1: attacks: run: {found.problem}"


def test_an_edited_run_passes_no_gate(gate, run):
    run.ledger_file.write_text(run.ledger_file.read_text() + " ")
    with pytest.raises(AuditError, match=r"ledger\.json"):
        gate("[epsilon]\nartwork = 100\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[epsilon]\nartworks = 8\n", r":2: unknown key 'epsilon.artworks'; did you mean 'artwork'\?"),
        ("[epsilons]\nartwork = 8\n", r":1: unknown section 'epsilons'; did you mean 'epsilon'\?"),
        (
            "[attacks]\nmax_tpr = {fpr = 0.01, valu = 1}\n",
            r":2: .*'attacks.max_tpr.valu'; did you mean 'value'\?",
        ),
        ("[attacks]\nmax_tpr = {fpr = 0.01}\n", r":2: attacks.max_tpr.value"),
        ("[epsilon]\n\nartwork = -1\n", r":3: epsilon.artwork = -1"),
        ("[epsilon]\nartwork = nan\n", r":2: epsilon.artwork = nan"),
        ('[attacks]\nforbidden_verdicts = ["leak"]\n', r":2: .*'leak' is not allowed"),
        (
            '[attacks]\nforbidden_verdicts = {bayer = ["leaks"]}\n',
            r":2: unknown view 'bayer'; did you mean 'buyer'",
        ),
        ("[epsilon]\ndelta = 1e-5\n", "asks for nothing"),
        ("[attacks]\nallow_inconclusive = true\n", "asks for nothing"),
        ("", "asks for nothing"),
        ("epsilon = 8\n", r":1: 'epsilon' is a section"),
        ("[epsilon\n", "no policy can be read"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_by_line(gate, text, words):
    with pytest.raises(ConfigError, match=words):
        gate(text)


def test_keys_are_found_on_their_lines():
    text = (
        "# [epsilon]\n[epsilon]\nartwork = 8 # artist = 3\n\n"
        '[attacks]\nmax_tpr.fpr = 0.01\n"required" = [\n "a"]\n'
    )
    assert key_lines(text) == {
        ("epsilon",): 2, ("epsilon", "artwork"): 3, ("attacks",): 5, ("attacks", "max_tpr", "fpr"): 6,
        ("attacks", "required"): 7,
    }  # fmt: skip


def test_the_example_policy_is_valid_and_its_lines_are_right(run):
    path = ROOT / "configs" / "policy.toml"
    found = checks(run.path, path)
    lines = path.read_text().splitlines()
    assert {one.key for one in found} >= {"epsilon.artwork", "attacks.max_tpr", "attacks.required.style"}
    for one in found:
        assert one.key.rpartition(".")[2] in lines[one.line - 1]


def test_junit_counts_what_failed(run):
    found = checks(run.path, ROOT / "configs" / "policy.toml")
    suite = ElementTree.fromstring(to_junit(found)).find("testsuite")
    assert suite is not None
    failed = [one for one in found if one.problem]
    assert failed
    assert suite.attrib["tests"] == str(len(suite.findall("testcase"))) == str(len(found))
    assert suite.attrib["failures"] == str(len(suite.findall("testcase/failure"))) == str(len(failed))
    assert [case.attrib["line"] for case in suite.findall("testcase")] == [str(one.line) for one in found]


def test_junit_survives_what_xml_cannot_hold(run, audited, tmp_path):
    audited(
        run, lambda rows, make: [make(target="a\x00<b>&\ud7ff", verdict="inconclusive", reason="\x1b[31m")]
    )
    path = tmp_path / "policy.toml"
    path.write_text("[attacks]\nallow_inconclusive = false\n")
    root = ElementTree.fromstring(to_junit(checks(run.path, path)))
    assert any("<b>&" in case.attrib["name"] for case in root.findall("testsuite/testcase"))


def test_sarif_has_what_its_schema_requires(run):
    """Required properties of SARIF 2.1.0 (OASIS, 2020), sections 3.13, 3.14, 3.18, 3.19, 3.27, 3.49."""
    found = checks(run.path, ROOT / "configs" / "policy.toml")
    log = json.loads(json.dumps(to_sarif(found)))
    assert log["version"] == "2.1.0"
    (one,) = log["runs"]
    driver = one["tool"]["driver"]
    assert driver["name"]
    rules = [rule["id"] for rule in driver["rules"]]
    assert len(rules) == len(set(rules))
    assert len(one["results"]) == sum(bool(c.problem) for c in found) > 0
    for result in one["results"]:
        assert result["message"]["text"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert rules[result["ruleIndex"]] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["region"]["startLine"] >= 1
        assert place["artifactLocation"]["uri"].startswith("file:///")
