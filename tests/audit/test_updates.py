"""Attacks on updates win where nothing is defended, read the record, and state limits that cover it."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedstyle_secure.audit import replay, targets, updates
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.errors import AuditError
from fedstyle_secure.privacy.accounting import merge
from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.system import system_bound, tensors

pytestmark = pytest.mark.long

SETTINGS = AuditSettings(targets=12, candidates=30, confidence=0.95, rounds=0, processes=1, fpr=(0.1,))
SMALL = (
    "gallery.artists=6", "gallery.public_artists=6", "gallery.pictures=24", "gallery.size=32", "style.dim=64",
    "style.practice_artists=0", "styles.count=4", "run.rounds=3", "training.expected_pictures=18",
    "audit.record=all", "secure_sum.enabled=false", "prototypes.releases=2",
)  # fmt: skip
NOISY = ("privacy.noise_multiplier=2", "privacy.clip_norm=0.5", "training.sampling_rate=0.5")


@pytest.fixture(scope="module")
def plain_run(train_run):
    return train_run(*SMALL, "privacy.dp=off", "style.views=4")


@pytest.fixture(scope="module")
def plain(plain_run):
    """Read only."""
    return Scene(plain_run, SETTINGS)


@pytest.fixture(scope="module")
def noisy_run(train_run):
    return train_run(*SMALL, *NOISY)


@pytest.fixture(scope="module")
def noisy(noisy_run):
    """Read only."""
    return Scene(noisy_run, SETTINGS)


def _with_replies(scene, number, change):
    """A scene whose record of a round holds other replies."""
    other = copy.copy(scene)
    other.rounds = tuple(
        replace(r, replies=change(dict(r.replies))) if r.sent.round == number else r for r in scene.rounds
    )
    return other


@pytest.mark.parametrize(
    ("attack", "floor"),
    [
        (updates.update_of_one, 0.99),
        (updates.batch_match, 0.75),
        (updates.rounds_alignment, 0.75),
        (updates.mean_alignment, 0.52),  # six artists' pictures in one mean hide one another
    ],
)
def test_attacks_win_where_nothing_is_defended(plain, attack, floor):
    """A sign, an order or a half of the pictures turned round would end up at or below one half."""
    found = attack(plain).findings[0]
    assert found.value > floor
    assert found.control > floor - 0.1


def _events(scene, **releases):
    """So many releases of each kind."""
    kinds = scene.plan.kinds
    return [e for name, n in releases.items() for e in [kinds[name].mechanism.event("artwork")] * n]


def test_limits_cover_the_releases_that_an_attack_reads_and_what_those_were_made_at(
    noisy, monkeypatch, limit_of
):
    """The opening round 0 has a card and a prototype sum, rounds 1 to 3 updates, the last round all of it."""
    plan, last = noisy.plan, max(noisy.plan.rounds_of("update"))
    assert min(plan.rounds_of("card") | plan.rounds_of("prototypes")) == 0
    upto = {name: sum(n <= last for n in plan.rounds_of(name)) for name in ("card", "prototypes", "metrics")}
    everything = merge(_events(noisy, update=3, **upto))
    # The noise may be such that the encoder moved in no round.
    moved = tensors(noisy.first.trained)
    sent = [r.sent for r in noisy.rounds if r.sent.round in plan.rounds_of("update")]
    monkeypatch.setattr(updates, "_changes", lambda scene: [(one, moved) for one in sent])
    monkeypatch.setattr(updates, "require_mean_remade", lambda *_: "")
    for attack in (updates.rounds_alignment, updates.mean_alignment):
        assert limit_of(updates, attack, noisy) == (everything, 2)
    opening = {"card": 1, "prototypes": int(0 in plan.rounds_of("prototypes"))}
    first = merge(_events(noisy, update=1, **opening))
    assert limit_of(updates, updates.batch_match, noisy) == (first, 2)
    # A batch of one was surely drawn, and its own round counts once.
    surely = SampledGaussian(plan.sgd.noise_multiplier, 1.0, plan.sgd.steps)
    one = merge([surely, *_events(noisy, **opening)])
    assert limit_of(updates, updates.update_of_one, noisy) == (one, 1)


@pytest.mark.parametrize("attack", [updates.update_of_one, updates.batch_match, updates.rounds_alignment])
def test_no_limit_is_stated_for_more_releases_than_the_plan_has(noisy, attack, monkeypatch, tmp_path):
    """A ledger with an update more than was planned: what the plan says no longer bounds anything."""
    scene, ledgers = copy.copy(noisy), json.loads(noisy.run.ledger_file.read_text(encoding="utf-8"))
    name = scene.artists[-1]
    ledgers[name].append(next(entry for entry in ledgers[name] if entry["kind"] == "update"))
    (tmp_path / "edited.json").write_text(json.dumps(ledgers), encoding="utf-8")
    monkeypatch.setattr(RunFolder, "ledger_file", property(lambda self: tmp_path / "edited.json"))
    scene._ledgers_checked = False
    with pytest.raises(AuditError, match=f"artist '{name}': its releases of kind 'update' cost"):
        attack(scene)


@pytest.mark.parametrize("attack", [updates.batch_match, updates.rounds_alignment])
@pytest.mark.parametrize("which", ["plain", "noisy"])
def test_another_artists_update_in_the_record_is_noticed(request, attack, which):
    """The record is what is read: with other replies there is no finding, as nothing fits them."""
    scene = request.getfixturevalue(which)
    a, b = scene.artists[:2]
    louder = {n: np.array(t) * 3 for n, t in scene.rounds[1].replies[a].arrays["update"].items()}

    def swapped(replies):
        if which == "plain":
            return replies | {a: replies[b], b: replies[a]}
        return replies | {a: replace(replies[a], arrays={"update": louder})}

    with pytest.raises(AuditError, match=f"update of artist '{a}' in round 1 is not what its pictures give"):
        attack(_with_replies(scene, 1, swapped))


@pytest.mark.parametrize("attack", [updates.batch_match, updates.rounds_alignment])
def test_findings_are_of_the_recorded_updates(noisy, attack):
    """Another draw of the same training fits as well, and is another finding."""
    other = copy.copy(noisy)
    other.settings = SETTINGS.model_copy(update={"seed": 7})
    drawn = {a: other.update_of_all(noisy.first, a, defended=True) for a in noisy.artists}

    def redrawn(replies):
        return {
            a: replace(r, arrays={"update": {n: t.numpy() for n, t in drawn[a].items()}})
            for a, r in replies.items()
        }

    scene = _with_replies(noisy, noisy.first.round, redrawn)
    # One AUC of 3888 pairs is the same by chance once in some hundred draws; all artists' are not.
    of_redrawn, of_recorded = ([f.value for f in attack(at).findings] for at in (scene, noisy))
    assert len(of_recorded) > 6
    assert of_redrawn != of_recorded


def test_an_audit_that_overlooks_the_views_is_not_run(plain):
    """Such an attack found little in a run that gave much away."""
    scene = copy.copy(plain)
    scene._works, scene._public = {}, None
    scene.system = system_bound(scene.config.override(["style.views=1"]))
    for attack in (updates.rounds_alignment, updates.mean_alignment, updates.update_of_one):
        with pytest.raises(AuditError, match="so that an attack on it would show nothing"):
            attack(scene)


@pytest.mark.slow
def test_the_views_make_the_attack_stronger_than_the_pictures_alone(plain, plain_run, monkeypatch):
    with_views = updates.rounds_alignment(plain).findings[0].value
    alone = Scene(plain_run, SETTINGS)
    alone.system = system_bound(plain.config.override(["style.views=1"]))
    monkeypatch.setattr(updates, "require_remade", lambda *_: "")
    assert updates.rounds_alignment(alone).findings[0].value < with_views - 0.03


def test_recorded_updates_must_hold_as_much_noise_as_the_plan_says(noisy):
    """Neither half of it nor twice as much."""
    sent, artist = noisy.first, noisy.artists[0]
    assert "as exactly as its noise allows" in replay.require_remade(noisy, sent, artist)
    for plan in (
        replace(noisy.plan.sgd, noise_multiplier=4.0),
        replace(noisy.plan.sgd, noise_multiplier=1.0),
    ):
        other = copy.copy(noisy)
        update = replace(noisy.plan.kinds["update"], mechanism=plan)
        other.plan = replace(noisy.plan, kinds={**noisy.plan.kinds, "update": update})
        with pytest.raises(AuditError, match="is not what its pictures give"):
            replay.require_remade(other, sent, artist)


def test_an_artist_who_misses_a_round_is_read_in_the_others(plain):
    last, gone = max(plain.plan.rounds_of("update")), plain.artists[-1]
    scene = _with_replies(plain, last, lambda replies: {a: r for a, r in replies.items() if a != gone})
    found, whole = updates.rounds_alignment(scene), updates.rounds_alignment(plain)
    assert "read 17 updates of 6 of 6 artists, and 1 did not come" in found.findings[0].reason
    assert "read 18 updates of 6 of 6 artists;" in whole.findings[0].reason
    assert found.findings[0].value == pytest.approx(whole.findings[0].value, abs=0.1)
    first = min(plain.plan.rounds_of("update"))
    scene = _with_replies(plain, first, lambda replies: {a: r for a, r in replies.items() if a != gone})
    assert updates.batch_match(scene).findings[0].n == updates.batch_match(plain).findings[0].n


def test_what_if_without_noise_or_clip_reads_no_encoder_that_holds_them(noisy):
    for without in (("noise",), ("clip",)):
        scene = Scene(noisy.run, SETTINGS.model_copy(update={"without": without}))
        with pytest.raises(AuditError, match=f"needs the run trained anew without {without[0]}"):
            updates.mean_alignment(scene)
        sent, artist = scene.first, scene.artists[0]
        assert replay.recorded_update(scene, sent, artist) is None
        assert "made anew" in replay.require_remade(scene, sent, artist)


def test_a_change_is_of_the_round_that_was_sent_and_the_mean_of_its_updates(plain):
    for sent, change in updates._changes(plain):
        recorded = next(r for r in plain.rounds if r.sent.round == sent.round)
        for name, tensor in change.items():
            mean = np.mean([r.arrays["update"][name] for r in recorded.replies.values()], axis=0)
            np.testing.assert_allclose(tensor.numpy(), mean, atol=1e-6 * np.abs(sent.trained[name]).max())


def test_the_control_of_the_mean_is_a_mean_and_that_of_an_undefended_run_the_run_itself(plain):
    scene = copy.copy(plain)
    scene.artists = plain.artists[:4]
    found = updates.mean_alignment(scene).findings[0]
    assert found.control == pytest.approx(found.value, abs=1e-3)


def test_targets_are_training_pictures_and_candidates_hold_each_once(plain):
    for target in targets.targets_of(plain, 12):
        portfolio = plain.gallery.portfolio(target.works.artist)
        picture = target.works.pictures[target.index]
        assert any(np.array_equal(picture, one) for one in portfolio.train_pictures)
        shown = (target.pictures[target.number].permute(1, 2, 0) * 255).round().byte().numpy()
        np.testing.assert_array_equal(shown, picture)
        same = (target.candidates == target.candidates[target.number]).flatten(1).all(1)
        assert same.sum() == 1


def test_tracing_knows_the_variance_of_the_noise_that_an_update_came_with(noisy, monkeypatch):
    """By what was recorded: the variance of its noise on the mean gradient, times the number of members."""
    told = []

    def kept(candidates, mean, elsewhere, noise_variance=0.0):
        told.append((mean, noise_variance))
        return np.arange(float(len(candidates)))

    monkeypatch.setattr(updates, "traced", kept)
    artist, sent = noisy.artists[0], noisy.first
    update = replay.recorded_update(noisy, sent, artist)
    updates._aligned(noisy, [sent], [update], artist, True)
    mean, variance = told[0]
    sgd, config = noisy.plan.sgd, noisy.config.training
    members = config.expected_pictures * sgd.sampling_rate * sgd.steps
    clean = noisy.gradients(sent, artist, noisy.works(artist, "train")).mean(axis=0)
    # The pictures that were not drawn add a little.
    assert np.var(mean - clean) * members == pytest.approx(variance, rel=0.15)
    # Without noise, and with everybody drawn, the mean is the pictures' own.
    undefended = noisy.update_of_all(sent, artist, defended=False)
    updates._aligned(noisy, [sent], [undefended], artist, False)
    mean, variance = told[2]
    own = noisy.gradients(sent, artist, noisy.works(artist, "train"), defended=False).mean(axis=0)
    assert variance == 0.0
    np.testing.assert_allclose(mean, own, atol=1e-3 * np.abs(own).max())


def test_the_same_attack_is_the_control_and_batches_of_one_are_called_what_they_are(
    noisy, plain, monkeypatch
):
    used = []
    real = updates._attacked

    def kept(scene, sent, attack, *rest):
        used.append((attack, rest[-1]))
        return real(scene, sent, attack, *rest)

    monkeypatch.setattr(updates, "_attacked", kept)
    reason = updates.update_of_one(noisy).findings[0].reason
    assert {defended for _, defended in used} == {True, False}
    assert len({id(attack) for attack, _ in used}) == 1
    # 18 pictures at one half: 18 / 2^18.
    assert "this run's sampler draws in 6.9e-05 of an artist's steps at most" in reason
    assert "this run's sampler never draws" in targets.batches_of_one(plain)


def test_features_are_sought_in_the_span_of_all_views():
    """A view that is not the first counts as much; a stranger's does not."""
    generator = torch.Generator().manual_seed(0)
    candidates = torch.randn(5, 3, 20, generator=generator)
    found = updates._likeness(
        updates.Evidence("", 0.0, True, features=-candidates[2, 1][None]),
        targets.Target(None, 0, candidates, candidates, 2),
    )
    assert found[2] == pytest.approx(1.0)
    assert found.argmax() == 2
    assert max(found[[0, 1, 3, 4]]) < 0.8
