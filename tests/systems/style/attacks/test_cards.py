"""Sums and cards that are made anew hold what the real mechanisms give, and limits cover what was read."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from fedstyle_secure.audit import updates
from fedstyle_secure.audit.limits import NO_GUARANTEE
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.audit.views import Item
from fedstyle_secure.errors import AuditError
from fedstyle_secure.federation.vectors import mean_row
from fedstyle_secure.privacy.accounting import merge
from fedstyle_secure.privacy.events import DistributedNoise
from fedstyle_secure.privacy.kinds import SUM
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.systems.style.attacks import cards
from fedstyle_secure.systems.style.attacks.cards import CardSide, Sums
from fedstyle_secure.systems.style.attacks.works import encoder_of, style_of
from fedstyle_secure.systems.style.prototypes import COUNT_SCALE, picture_rows
from fedstyle_secure.systems.style.system import CARD, PROTOTYPES

SETTINGS = AuditSettings(targets=8, candidates=20, rounds=2, processes=1, fpr=(0.1,))
SMALL = (
    "gallery.artists=7", "gallery.public_artists=5", "gallery.pictures=16", "gallery.size=32",
    "style.dim=32", "style.practice_artists=0", "styles.count=4", "run.rounds=1",
    "training.expected_pictures=12", "audit.record=all", "privacy.noise_multiplier=2",
)  # fmt: skip
ALONE = (Item.OWN_SUMS, Item.SUM_OF_ONE, Item.TWO_OPENINGS)
TOGETHER = (Item.TOTAL_SUMS, Item.OTHERS_SUMS)


@pytest.fixture(scope="module")
def artwork(train_run):
    return train_run(
        *SMALL, "cards.releases=2", "prototypes.releases=2", "share.prototypes=2",
        "styles.min_contributors=2", "privacy.noise=own", "secure_sum.updates=false",
    )  # fmt: skip


@pytest.fixture(scope="module")
def artist(train_run):
    return train_run(*SMALL, "privacy.unit=artist", "privacy.noise_multiplier=0.5")


@pytest.fixture(scope="module")
def noiseless(train_run):
    return train_run(*SMALL, "privacy.dp=off")


@pytest.fixture
def scene(scene_of):
    return lambda run, **changes: scene_of(run, SETTINGS.model_copy(update=changes))


def rows_of(at, sums, name):
    """What the artist's own code sums, from the round's instruction."""
    works = at.works(name, "train")
    released = encoder_of(at, sums.sent).released(works.prepared)
    assigned = style_of(at).styles(sums.sent).assign(released, works.portfolio.labels)
    return picture_rows(released, assigned, sums.styles)


def released_for_real(at, sums, name, read):
    """An artist's release by the mechanism that made the run's, at the scale of `Sums`."""
    rows = rows_of(at, sums, name)
    if at.plan.shared is None:
        return at.plan.kinds[PROTOTYPES].mechanism.apply(rows, read)
    layout = at.layouts.vector(0)
    mechanism = at.plan.shared_for(layout.size).noise
    share = mechanism.share(layout.join({PROTOTYPES: mean_row(rows)}), read)
    split = layout.split(mechanism.decode(share))[PROTOTYPES]["sums"]
    return split * at.config.training.expected_pictures


@pytest.mark.long
@pytest.mark.parametrize("unit", ["artwork", "artist"])
def test_every_release_made_anew_has_the_noise_of_the_real_mechanism(scene, unit, request):
    """Draws are seeded. 924 values at least on either side: deviations within 3.3 % of each other at one
    deviation, so 12 % would fail one in 3,000 times if they were not."""
    at = scene(request.getfixturevalue(unit), colluders=3)
    sums = Sums.of(at)
    read = np.random.default_rng(3).bytes
    noise = {
        a: released_for_real(at, sums, a, read) - sums.exact[a] for a in sums.audited
    }  # fmt: skip
    for grain in ALONE:
        seen = {a: sums.seen(a, grain) for a in sums.audited}
        made = np.concatenate([seen[a].total - sums.exact[a] for a in sums.audited])
        real = np.concatenate(list(noise.values()))
        assert made.std() == pytest.approx(real.std(), rel=0.12)
        assert made.std() == pytest.approx(seen["mosaic-1"].deviation, rel=0.12)
    for grain in TOGETHER:
        made, real = [], []
        for a in sums.audited:
            others = [name for name in sums.exact if name != a]
            inside = list(sums.exact) if grain is Item.TOTAL_SUMS else [a, *others[3:]]
            blocks = sums.seen(a, grain).total.reshape(sums.styles, -1)
            exact = np.sum([sums.exact[name] for name in inside], axis=0).reshape(sums.styles, -1)
            kept = blocks.any(axis=1)
            made.append((blocks - exact)[kept].ravel())
            again = [released_for_real(at, sums, name, read) - sums.exact[name] for name in inside]
            real.append(np.sum(again, axis=0))
        assert np.concatenate(made).std() == pytest.approx(np.concatenate(real).std(), rel=0.12)


@pytest.mark.long
def test_without_noise_sums_are_those_that_were_opened(scene, noiseless):
    """Dropped styles are zeros, and the others what the opener decrypted, up to rounding to 16 bits."""
    at = scene(noiseless)
    sums = Sums.of(at)
    recorded = at.rounds[0]
    wanted = at.layouts.summed(0)
    opened = wanted.decode(recorded.opened.total)[PROTOTYPES]["sums"].reshape(sums.styles, -1)
    seen = sums.seen(sums.audited[0], Item.TOTAL_SUMS).total.reshape(sums.styles, -1)
    assert seen.any(axis=1).tolist() == recorded.opened.kept.tolist()
    assert 0 < recorded.opened.kept.sum() < sums.styles
    assert np.abs(seen - opened).max() < 0.01


def test_colluders_take_their_own_part_out(scene, noiseless):
    for colluders, left in ((1, 6), (3, 4), (6, 1), (50, 1)):
        sums = Sums.of(scene(noiseless, colluders=colluders))
        for a in sums.audited:
            seen = sums.seen(a, Item.OTHERS_SUMS)
            others = [name for name in sums.exact if name != a][colluders:]
            assert len(others) == left - 1
            exact = np.sum([sums.exact[name] for name in (a, *others)], axis=0).reshape(sums.styles, -1)
            blocks = seen.total.reshape(sums.styles, -1)
            kept = blocks.any(axis=1)
            assert np.allclose(blocks[kept], exact[kept])
            assert seen.shared == (left > 1)


def test_prototypes_hold_directions_and_no_counts(scene, noiseless):
    sums = Sums.of(scene(noiseless))
    blocks = sums.seen(sums.audited[0], Item.MOVED).total.reshape(sums.styles, -1)
    assert len(set(blocks[:, -1])) == 1
    lengths = np.linalg.norm(blocks[:, :-1], axis=1)
    assert lengths == pytest.approx(lengths[0])
    # They lie where the run's own refresh put them.
    last = sums.scene.last.public["prototypes"]
    assert (blocks[:, :-1] / lengths[:, None] * last).sum(axis=1) == pytest.approx(1, abs=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("unit", ["artwork", "artist"])
def test_sums_that_came_in_clear_are_read_and_not_made_anew(scene, train_run, unit):
    run = train_run(*SMALL, "secure_sum.enabled=false", f"privacy.unit={unit}")
    at = scene(run)
    sums = Sums.of(at)
    name = sums.audited[0]
    reply = at.rounds[0].replies[name].arrays
    if unit == "artwork":
        came = reply[PROTOTYPES]["sums"]
    else:
        share = reply[SUM][SUM]
        came = at.plan.shared_for(len(share)).noise.decode(share) * np.sqrt(1 + COUNT_SCALE**2) * 12
    assert sums.seen(name, Item.OWN_SUMS).total == pytest.approx(came, abs=1e-6)
    assert Sums.of(scene(run, without=("noise",))).seen(name, Item.OWN_SUMS).total == pytest.approx(
        sums.exact[name]
    )
    found = cards.sum_membership(at, Item.OWN_SUMS)
    assert (found.findings[0].bound is None) == (unit == "artist")


@pytest.mark.long
def test_limits_cover_what_was_read_in_both_worlds(scene, artwork):
    """Members and the others differ in two artworks: mu = 2 sqrt(releases) / noise, AUC Phi(mu / sqrt 2)."""
    at = scene(artwork)
    for outcome, kind in (
        (cards.card_membership(at), CARD),
        (cards.sum_membership(at, Item.TOTAL_SUMS), PROTOTYPES),
        (cards.sum_membership(at, Item.OWN_SUMS), PROTOTYPES),
    ):
        limit, mechanism = outcome.roc[1], at.plan.kinds[kind].mechanism
        assert limit.events == merge([mechanism.event("artwork")] * 2)
        assert limit.hops == 2
        exact = norm.cdf(2 * np.sqrt(2) / mechanism.noise_multiplier / np.sqrt(2))
        assert exact <= outcome.findings[0].bound <= exact + 2e-3


def test_where_the_unit_is_the_artist_one_share_has_no_limit(scene, artist):
    at = scene(artist)
    sums = Sums.of(at)
    assert at.plan.shared.noise.honest == 5
    for grain in ALONE:
        assert list(sums.events(grain)) == [NO_GUARANTEE]
    whole = sums.events(Item.TOTAL_SUMS)
    assert list(whole) == [DistributedNoise(at.plan.shared.noise, 2, 7)] * 2
    assert sums.events(Item.OTHERS_SUMS) == whole
    assert Sums.of(scene(artist, colluders=2)).events(Item.OTHERS_SUMS) == whole
    assert list(Sums.of(scene(artist, colluders=3)).events(Item.OTHERS_SUMS)) == [NO_GUARANTEE]
    for missing in ("noise", "clip", "encryption", "masks", "min_cohort", "opener_checks"):
        assert scene(artist, without=(missing,)).costs() == [NO_GUARANTEE]
    assert cards.sum_membership(at, Item.OWN_SUMS).findings[0].bound is None
    # The difference of two openings names the main style of most: a share is hardly any noise.
    assert cards.taken_apart(at).findings[0].value > 0.7


@pytest.mark.parametrize("attack", [updates.batch_match, updates.rounds_alignment])
def test_an_update_that_is_read_with_a_share_of_the_noise_has_no_limit(scene, artist, attack):
    """Whoever reads single answers meets one share, not the noise of the sum that the plan counts on."""
    found = attack(scene(artist, without=("encryption",))).findings[0]
    assert found.value is not None
    assert found.bound is None


def test_what_holds_every_share_keeps_its_limit_whoever_reads_shares(scene, artist):
    whole = scene(artist)
    for missing in ("encryption", "masks", "min_cohort", "opener_checks"):
        assert scene(artist, without=(missing,)).costs(last=1, summed=True) == whole.costs(last=1)
    for missing in ("noise", "clip"):
        assert scene(artist, without=(missing,)).costs(last=1, summed=True) == [NO_GUARANTEE]


def test_without_the_clip_the_noise_stays(scene, artwork):
    at, bare = scene(artwork), scene(artwork, without=("clip",))
    assert bare.sgd.clip_norm > 1e3 * at.sgd.clip_norm
    assert bare.sgd.noise_multiplier * bare.sgd.clip_norm == pytest.approx(
        at.sgd.noise_multiplier * at.sgd.clip_norm
    )


def test_artists_who_were_not_in_the_sum_are_not_looked_for(scene, noiseless, monkeypatch):
    lines = noiseless.metrics()
    there = [name for name in lines[0]["released_by"] if name != "mosaic-1"]
    monkeypatch.setattr(RunFolder, "metrics", lambda self: [lines[0] | {"released_by": there}, *lines[1:]])
    sums = Sums.of(scene(noiseless))
    assert "mosaic-1" not in sums.audited
    assert len(sums.audited) == 6


def test_a_run_without_prototype_sums_says_so(scene, artwork):
    at = scene(artwork)
    never = replace(at.plan.kinds[PROTOTYPES], rounds=frozenset())
    at.plan = replace(at.plan, kinds={**at.plan.kinds, PROTOTYPES: never})
    for attack in (cards.singled_out, cards.taken_apart):
        with pytest.raises(AuditError, match="no prototype sums"):
            attack(at)


@pytest.mark.long
def test_a_card_under_trained_weights_is_limited_by_all_that_trained_them(scene, train_run):
    """A card of the last round holds the updates before it."""
    run = train_run(
        *SMALL, "style.encoder=cnn", "style.train=all", "style.dim=8",
        "style.pretrain_steps=3", "cards.releases=2", "gallery.artists=4", "gallery.public_artists=3",
    )  # fmt: skip
    at = scene(run)
    side = CardSide.of(at)
    assert side.sent.round == 2
    everything = at.costs()
    assert merge(side.events()) == merge(everything)
    assert len(everything) == len(at.plan.events()) == 4
    limit = cards.card_membership(at).roc[1]
    assert limit.events == merge(everything)
    assert limit.hops == 2
    # The candidates lie where the weights of that round put them.
    first = at.artists[0]
    under = encoder_of(at, at.rounds[2].sent).released(at.works(first, "train").prepared)
    assert np.allclose(side.exact(first), under.mean(axis=0))
