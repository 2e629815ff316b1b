"""Where policy and settings meet: nothing that a run says loosens what an artist wrote down."""

import importlib.util
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fedstyle_secure.config import Config
from fedstyle_secure.errors import BudgetError, PolicyDeclined, WithdrawnError
from fedstyle_secure.federation.artist import decline_of
from fedstyle_secure.federation.codes import Decline
from fedstyle_secure.privacy.accounting import epsilon
from fedstyle_secure.privacy.budget import Budget, budget_of
from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.privacy.gate import Gate, Release, withdraw
from fedstyle_secure.privacy.ledger import Ledger, costs
from fedstyle_secure.privacy.limits import Limits, Reason
from fedstyle_secure.privacy.mechanisms import ArtistSum, DpSgd, GaussianSum
from fedstyle_secure.sites.meeting import declined, meet
from fedstyle_secure.sites.policy import Policy, loosened

_SPEC = importlib.util.spec_from_file_location("drawn", Path(__file__).with_name("drawn.py"))
drawn = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(drawn)

NOBODY = Policy()


def reasons(policy, config, scale=drawn.SCALE):
    return {one.reason for one in declined(policy, config, drawn.planned(config, scale=scale))}


def test_the_usual_run_is_taken_by_the_usual_policy():
    config = drawn.of()
    found = meet(NOBODY, config, drawn.planned(config))
    assert found.tightened == ("privacy.max_epsilon_lifetime",)
    assert found.config.digest() == config.digest()


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (["privacy.dp=off"], Reason.NO_GUARANTEE),
        (["privacy.noise_multiplier=0"], Reason.NO_GUARANTEE),
        (["privacy.unit=artist"], Reason.UNIT),
        (["privacy.noise_multiplier=0.2"], Reason.NOISE),
        (["share.cards=1e-6", "privacy.noise_multiplier=0.7"], Reason.EPSILON_RUN),
        (["privacy.clip_norm=2"], Reason.CLIP),
        (["run.rounds=80"], Reason.ROUNDS),
        (["privacy.min_cohort=4"], Reason.COHORT),
        (["styles.min_contributors=2"], Reason.CONTRIBUTORS),
        (["privacy.colluders=0"], Reason.COLLUDERS),
        (["secure_sum.updates=false"], Reason.CLEAR),
        (["secure_sum.enabled=false"], Reason.CLEAR),
        (["metrics.releases=1", "privacy.noise=own"], Reason.CLEAR),
        (["audit.canaries=10"], Reason.CANARIES),
        (["audit.record=all"], Reason.RECORD),
        (["audit.record=impasto-1"], Reason.RECORD),
    ],
)
def test_a_run_that_goes_too_far_is_declined_with_its_reason(attack, reason):
    policy = NOBODY.changed({"privacy.units": ["artwork"], "sum.min_cohort": 5})
    config = drawn.of(*attack)
    plan = drawn.planned(config)
    assert reason in {one.reason for one in declined(policy, config, plan)}
    with pytest.raises(PolicyDeclined) as error:
        meet(policy, config, plan)
    assert decline_of(error.value) == Decline.POLICY == 108
    # And by nothing else than what was attacked: the usual run is none of these.
    assert reason not in reasons(policy, drawn.of())


@pytest.mark.parametrize(("system", "reason"), [("text", Reason.SYSTEM), ("art", Reason.PURPOSE)])
def test_another_system_or_purpose_is_declined(system, reason):
    config = drawn.of(system=system)
    assert reason in reasons(NOBODY, config)
    allowed = NOBODY.changed({"allow.systems": ["style", "text", "art"]})
    assert (reason in reasons(allowed, config)) == (reason is Reason.PURPOSE)


def test_a_sum_in_clear_gives_no_guarantee_for_the_unit_artist():
    config = drawn.of("privacy.unit=artist", "secure_sum.enabled=false")
    assert Reason.NO_GUARANTEE in reasons(NOBODY.changed({"sum.required": ["none"]}), config)
    # Only the opened sum has enough noise: who sees shares has no guarantee to state.
    assert Reason.NO_GUARANTEE not in reasons(NOBODY, drawn.of("privacy.unit=artist"))


def test_epsilon_is_counted_at_the_policys_delta_whatever_the_run_states():
    honest, careless = drawn.of(), drawn.of("privacy.delta=0.05")
    plan = drawn.planned(honest)
    spent = epsilon(plan.events(), 1e-5)
    at_own = NOBODY.changed({"privacy.max_epsilon_run": spent * 1.01})
    meet(at_own, honest, plan)
    # The run solves its noise for its own, careless delta: far less noise.
    weak = drawn.planned(careless, scale=0.45)
    assert epsilon(weak.events(), 0.05) < spent
    assert Reason.EPSILON_RUN in {one.reason for one in declined(at_own, careless, weak)}
    found = meet(NOBODY, careless, drawn.planned(careless))
    assert found.limits.run.delta == found.limits.lifetime.delta == 1e-5
    assert "privacy.max_delta" in found.tightened


def test_no_place_on_the_artists_disk_follows_from_a_run(tmp_path):
    honest = drawn.of()
    config = drawn.of(
        "run.studios=/tmp/other", "run.folder=/tmp/run", "gallery.source=folder", "gallery.path=/etc"
    )
    found = meet(NOBODY, config, drawn.planned(config))
    assert (found.config.run.studios, found.config.run.folder, found.config.gallery.path) == ("", "", "")
    assert found.config.digest() == config.digest() != honest.digest()
    art = drawn.of("art.backbone=/etc", f"art.backbone_sha256={'ab' * 32}", system="art")
    taken = meet(drawn.wide, art, drawn.planned(art)).config
    assert (taken.art.backbone, taken.digest()) == ("", art.digest())
    # What was withdrawn in the artist's home stays so, wherever a run says that studios lie.
    withdraw(tmp_path)
    gate = Gate(tmp_path, "run", budget_of(found.config.privacy), found.limits)
    with pytest.raises(WithdrawnError):
        gate.send("r", 0, lambda: [])


def release(kind, mechanism):
    return Release(kind, {"x": np.zeros(2, np.float32)}, mechanism)


def answer(home, run, plan, config, limits):
    """What leaves when every round of a plan is asked for: the rounds that were answered, and declined."""
    gate = Gate(home, run, budget_of(config.privacy), limits)
    codes = []
    for number in range(plan.rounds):
        made = [release(kind.name, kind.mechanism) for kind in plan.of_round(number)]
        if plan.shared is not None and made:
            made = [release("sum", plan.shared)]
        try:
            gate.send(f"{run} {number}", number, lambda made=made: made)
            codes.append(0)
        except (BudgetError, PolicyDeclined) as error:
            codes.append(decline_of(error))
    return codes


@pytest.mark.long
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.lists(st.tuples(drawn.runs, drawn.scales), min_size=1, max_size=2), drawn.policies)
def test_whatever_runs_ask_what_leaves_is_allowed_by_the_policy(runs, policy):
    """Runs one after another, each asking for all that it plans, and none of it loosened by any."""
    allow = policy.privacy
    accepted = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        for i, (config, scale) in enumerate(runs):
            plan = drawn.met_by(config, scale)
            assume(plan is not None)
            try:
                met = meet(policy, config, plan)
            except PolicyDeclined:
                continue
            accepted[f"run-{i}"] = config
            answer(home, f"run-{i}", plan, met.config, met.limits)
        entries = Ledger(home / "ledger.jsonl").entries
    assert len(entries) <= allow.max_releases_a_day
    assert all(entry.policy == policy.digest() for entry in entries)
    for run, config in accepted.items():
        own = [entry for entry in entries if entry.run == run]
        assert config.run.system in policy.allow.systems
        assert config.audit.canaries == 0 or policy.record.canaries
        assert config.audit.record == ("none",) or policy.record.messages
        assert len({entry.round for entry in own}) <= allow.max_rounds
        cards = [entry for entry in own if entry.kind == "card"]
        assert len(cards) <= (policy.card.max_releases if policy.card.publish else 0)
        unit = config.privacy.unit
        spent = costs(own, unit)
        private = spent is not None and not any(event.noiseless for event in spent)
        assert private or not own or allow.dp == "optional"
        if not private or not own:
            continue
        assert unit in allow.units
        assert epsilon(spent, allow.max_delta) <= allow.max_epsilon_run
        for entry in own:
            told = {**entry.parameters, **entry.parameters.get("noise", {})}
            noise = told.get("noise_multiplier", math.inf)
            assert noise >= allow.min_noise_multiplier
            if entry.kind == "update":
                assert told["clip_norm"] <= allow.max_clip_norm
        for number in {entry.round for entry in own}:
            # A sum has as many artists as the strictest of what is in it needs.
            together = [entry for entry in own if entry.round == number and entry.kind != "card"]
            shares = [e.parameters if e.kind == "sum" else e.parameters.get("shared") or {} for e in together]
            cohorts = [share["cohort"] for share in shares if "cohort" in share]
            if unit == "artwork" and any(entry.kind != "metrics" for entry in together):
                cohorts += [config.styles.min_contributors] if cohorts else []
            assert max(cohorts, default=99) >= policy.sum.min_cohort
        last = [entry for entry in entries if entry.run == max(accepted)]
        if last and run == max(accepted):
            assert epsilon(costs(entries, unit), allow.max_delta) <= allow.max_epsilon_lifetime


@settings(max_examples=50)
@given(drawn.runs, drawn.scales, drawn.policies, drawn.changes)
def test_a_stricter_policy_lets_out_no_more(config, scale, policy, change):
    other = policy.changed(change)
    for old, new in ((policy, other), (other, policy), (policy, drawn.wide)):
        plan = drawn.met_by(config, scale)
        if plan is None or loosened(old, new):
            continue
        # `new` is no looser: whatever it takes, `old` takes too, and lets out as much of it or more.
        if declined(new, config, plan):
            continue
        assert declined(old, config, plan) == ()
        less, more = (meet(p, config, plan).limits for p in (new, old))
        assert less.run.epsilon <= more.run.epsilon
        assert less.lifetime.epsilon <= more.lifetime.epsilon
        assert less.run.delta <= more.run.delta
        assert less.releases_a_day <= more.releases_a_day
        assert all(less.kinds[name] <= more.kinds[name] for name in less.kinds)
        assert less.kinds.keys() == more.kinds.keys()


@pytest.mark.long
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(drawn.runs, drawn.scales, drawn.policies)
def test_to_meet_twice_changes_nothing_and_the_shared_settings_stay(config, scale, policy):
    plan = drawn.met_by(config, scale)
    assume(plan is not None)
    assume(not declined(policy, config, plan))
    once = meet(policy, config, plan)
    assert meet(policy, once.config, plan) == once
    assert once.config.digest() == config.digest()


def test_the_drawn_runs_and_policies_meet_and_do_not():
    """Or the properties above would be of nothing."""
    usual = drawn.of("run.rounds=4")
    assert declined(drawn.wide, drawn.of("privacy.dp=off", "audit.record=all"), drawn.planned(usual)) == ()
    assert reasons(NOBODY, usual) == set()
    assert Reason.ROUNDS in reasons(NOBODY.changed({"privacy.max_rounds": 3}), usual)


def gate_of(tmp_path, run="run", **changes):
    config = drawn.of()
    met = meet(NOBODY.changed(changes), config, drawn.planned(config))
    return Gate(tmp_path, run, budget_of(config.privacy), met.limits)


CARD, PROTOTYPES = GaussianSum(1.0, 2.0), GaussianSum(1.0, 4.0)


def kinds_of(sealed):
    return set(sealed.arrays)


def test_a_card_that_is_not_to_be_published_is_left_out_and_the_round_goes_on(tmp_path):
    gate = gate_of(tmp_path, **{"card.publish": False})
    both = [release("card", CARD), release("prototypes", PROTOTYPES)]
    assert kinds_of(gate.send("r0", 0, lambda: both)) == {"prototypes"}
    assert kinds_of(gate.send("r0", 0, lambda: both)) == {"prototypes"}
    assert [e.kind for e in Ledger(tmp_path / "ledger.jsonl").entries] == ["prototypes"]


def test_a_round_with_nothing_but_a_card_is_answered_with_nothing(tmp_path):
    gate = gate_of(tmp_path, **{"card.publish": False})
    assert kinds_of(gate.send("r0", 0, lambda: [release("card", CARD)])) == set()
    assert Ledger(tmp_path / "ledger.jsonl").entries == ()


def test_a_card_is_published_no_more_often_than_the_policy_says(tmp_path):
    config = drawn.of("cards.releases=4")
    met = meet(NOBODY.changed({"privacy.max_epsilon_run": 99.0}), config, drawn.planned(config))
    assert met.limits.kinds["card"] == 2 < len(drawn.planned(config).rounds_of("card"))
    assert "card.max_releases" in met.tightened
    gate = Gate(tmp_path, "run", budget_of(config.privacy), met.limits)
    left = [len(gate.send(f"r{n}", n, lambda: [release("card", CARD)]).arrays) for n in range(4)]
    assert left == [1, 1, 0, 0]


def test_a_kind_that_the_plan_has_not_is_refused(tmp_path):
    with pytest.raises(PolicyDeclined) as error:
        gate_of(tmp_path).send("r0", 0, lambda: [release("pictures", CARD)])
    assert error.value.reason == Reason.KIND
    assert Ledger(tmp_path / "ledger.jsonl").entries == ()


def test_a_kind_is_released_no_more_often_than_planned(tmp_path):
    gate = gate_of(tmp_path)
    gate.send("r0", 0, lambda: [release("prototypes", PROTOTYPES)])
    with pytest.raises(PolicyDeclined, match="1 releases of 'prototypes' are allowed"):
        gate.send("r1", 1, lambda: [release("prototypes", PROTOTYPES)])


def limited(home, run, of_run, lifetime):
    """A gate for cards, with what a run and a lifetime may cost at a delta of 1e-5."""
    budgets = (Budget(most, 1e-5, "artwork") for most in (of_run, lifetime))
    return Gate(home, run, Budget(math.inf, 0.05, "artwork"), Limits("", *budgets, 99, {"card": 9}))


TWO_CARDS = epsilon([SampledGaussian(2.0)] * 2, 1e-5)


def test_a_lifetime_is_counted_over_runs_in_the_home_at_the_policys_delta(tmp_path):
    assert epsilon([SampledGaussian(2.0)] * 3, 0.05) < TWO_CARDS < epsilon([SampledGaussian(2.0)] * 3, 1e-5)
    codes = [send_one(limited(tmp_path, f"run-{i}", 99.0, TWO_CARDS)) for i in range(3)]
    assert codes == [0, 0, Decline.BUDGET]


def test_a_run_is_held_to_its_own_epsilon_however_much_a_lifetime_allows(tmp_path):
    codes = [send_one(limited(tmp_path, "run", TWO_CARDS, 99.0), number) for number in range(3)]
    assert codes == [0, 0, Decline.BUDGET]
    assert send_one(limited(tmp_path, "another", TWO_CARDS, 99.0)) == 0


def send_one(gate, number=0):
    try:
        gate.send(f"r{number}", number, lambda: [release("card", CARD)])
    except (BudgetError, PolicyDeclined) as error:
        return decline_of(error)
    return 0


def test_releases_are_counted_by_the_day_and_a_clock_set_back_frees_none(tmp_path, monkeypatch):
    from fedstyle_secure.privacy import gate as module

    def at(time, run):
        monkeypatch.setattr(module, "now", lambda: f"2026-03-0{time}:00+00:00")
        return send_one(gate_of(tmp_path, run, **{"privacy.max_releases_a_day": 2}))

    assert at("1T10:00", "a") == 0
    assert at("1T20:00", "b") == 0
    assert at("2T09:59", "c") == Decline.POLICY
    assert at("2T10:01", "d") == 0
    assert at("1T09:00", "e") == Decline.POLICY


def test_an_entry_bears_the_policys_digest_and_an_old_ledger_is_read(tmp_path):
    gate_of(tmp_path).send("r0", 0, lambda: [release("card", CARD)])
    (entry,) = Ledger(tmp_path / "ledger.jsonl").entries
    assert entry.policy == NOBODY.digest()
    old = tmp_path / "old"
    Gate(old, "run", budget_of(Config().privacy)).send("r0", 0, lambda: [release("card", CARD)])
    (plain,) = Ledger(old / "ledger.jsonl").entries
    assert plain.policy == ""


def test_noise_is_read_from_the_mechanism_that_makes_it():
    from fedstyle_secure.privacy.mechanisms import NoisyCounts
    from fedstyle_secure.sites.meeting import noise_multiplier

    assert noise_multiplier(DpSgd(1.0, 3.0, 1.0, 1, 5.0)) == 3.0
    assert noise_multiplier(NoisyCounts(math.inf, 2)) == 0.0
    assert noise_multiplier(NoisyCounts(0.5, 2)) == pytest.approx(math.sqrt(2) / 0.5 / math.sqrt(2))
    shared = drawn.planned(drawn.of("privacy.unit=artist")).shared
    assert isinstance(shared, ArtistSum)
    assert noise_multiplier(shared) == shared.noise.noise_multiplier > 0


@pytest.mark.parametrize(
    ("required", "systems", "declines"),
    [
        (["updates"], ["style"], True),
        (["update", "prototype"], ["style"], True),
        (["update"], ["style"], False),
        (["update", "prototypes", "scatter"], ["style", "text"], False),
    ],
)
def test_a_kind_that_no_allowed_system_has_is_no_silent_consent(required, systems, declines):
    """Misspelt, it required nothing, and the release that was meant could leave in clear."""
    policy = NOBODY.changed({"sum.required": required, "allow.systems": systems})
    config = drawn.of()
    found = [one.key for one in declined(policy, config, drawn.planned(config))]
    assert ("sum.required" in found) == declines
