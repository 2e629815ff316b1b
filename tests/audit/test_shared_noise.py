"""Where a sum's noise is shared, what is read of one share alone has no limit, and what holds enough of them
keeps it."""

import numpy as np
import pytest
from scipy.stats import norm

from fedstyle_secure.audit import replay, updates
from fedstyle_secure.audit.catalogue import catalogue
from fedstyle_secure.audit.limits import NO_GUARANTEE, Limit
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.audit.targets import cost_of_one
from fedstyle_secure.audit.views import Item, views_of
from fedstyle_secure.errors import AuditError
from fedstyle_secure.privacy.accounting import merge
from fedstyle_secure.systems.style.attacks import cards
from fedstyle_secure.systems.style.attacks import updates as of_style
from fedstyle_secure.systems.style.attacks.cards import Sums
from fedstyle_secure.systems.style.system import PROTOTYPES

pytestmark = pytest.mark.long

SETTINGS = AuditSettings(targets=8, candidates=20, rounds=0, processes=1, fpr=(0.1,))
SMALL = (
    "gallery.artists=7", "gallery.public_artists=5", "gallery.pictures=16", "gallery.size=32",
    "style.dim=32", "style.practice_artists=0", "styles.count=4", "styles.min_contributors=2", "run.rounds=2",
    "training.expected_pictures=12", "audit.record=all", "privacy.noise_multiplier=2",
)  # fmt: skip
ALONE = (Item.OWN_SUMS, Item.SUM_OF_ONE, Item.TWO_OPENINGS)
OF_ONE_SHARE = {Item.OWN_UPDATES, *ALONE}
SEALS = ("encryption", "masks", "min_cohort", "opener_checks")


@pytest.fixture(scope="module")
def directed(train_run):
    """As runs are by default: a head that trains inside some directions."""
    return train_run(*SMALL)


@pytest.fixture(scope="module")
def whole(train_run):
    """A head that trains as a whole, which more attacks read."""
    return train_run(*SMALL, "style.rank=0")


@pytest.fixture
def scene(scene_of):
    return lambda run, **changes: scene_of(run, SETTINGS.model_copy(update=changes))


@pytest.mark.parametrize("run", ["directed", "whole"])
@pytest.mark.parametrize("without", [(), ("masks",)])
def test_platform_and_opener_are_stated_no_limit_for_anything_that_holds_one_share(
    scene, request, run, without
):
    """Both together take an artist's part out of a sum, with a share of the noise. By every attack that reads
    it so."""
    at = scene(request.getfixturevalue(run), without=without)
    seen = views_of(at.config, at.plan, at.system.words, at.roster_length, SETTINGS.colluders, without)
    (view,) = (v for v in seen if v.key == "platform_opener")
    assert {Item.OWN_UPDATES, Item.TWO_OPENINGS} <= set(view.holds)
    assert (Item.OWN_SUMS in view.holds) == bool(without)
    found = {}
    for known in catalogue(at.system):
        item = known.item(view)
        if item in OF_ONE_SHARE:
            try:
                found[known.card.key] = [f.bound for f in known.run(at, item).findings]
            except AuditError:
                continue
    assert {"update_one", "taken_apart"} <= set(found)
    assert ("update_style" in found) == (run == "whole")
    assert ("sum_membership" in found) == bool(without)
    assert {bound for bounds in found.values() for bound in bounds} == {None}


def test_an_update_by_itself_costs_what_no_guarantee_covers(scene, directed):
    at = scene(directed)
    assert at.plan.kinds["update"].shared is not None
    assert cost_of_one(at, at.first) == [NO_GUARANTEE]
    assert Limit(cost_of_one(at, at.first)).none


@pytest.mark.parametrize("missing", SEALS)
def test_without_a_seal_shares_are_covered_by_nothing_and_cards_by_their_own_noise(scene, directed, missing):
    at = scene(directed, without=(missing,))
    for kind in ("update", "scatter", "prototypes"):
        assert at.costs((kind,)) == [NO_GUARANTEE]
    assert at.costs() == [NO_GUARANTEE]
    assert at.costs(("card",)) == scene(directed).costs(("card",)) != [NO_GUARANTEE]


@pytest.mark.parametrize("attack", [updates.batch_match, updates.rounds_alignment])
def test_updates_that_are_read_one_by_one_have_no_limit(scene, whole, attack):
    found = attack(scene(whole, without=("encryption",))).findings[0]
    assert found.value is not None
    assert found.bound is None


@pytest.mark.parametrize("missing", SEALS)
def test_what_holds_every_share_keeps_its_limit(scene, directed, missing):
    at, sealed = scene(directed, without=(missing,)), scene(directed)
    assert at.costs(summed=True) == sealed.costs()
    assert merge(sealed.costs()) == merge(sealed.plan.events())


def test_sealed_updates_are_in_no_record(scene, whole):
    for attack in (updates.batch_match, updates.rounds_alignment):
        with pytest.raises(AuditError, match="the record holds no update"):
            attack(scene(whole))


def test_sums_of_fewer_shares_than_the_noise_counts_on_have_no_guarantee(scene, directed):
    at = scene(directed)
    sums, shared = Sums.of(at), at.plan.kinds[PROTOTYPES].shared
    assert (shared.honest, shared.cohort, shared.artists) == (5, 6, 7)
    for grain in ALONE:
        assert list(sums.events(grain)) == [NO_GUARANTEE]
    own = [at.plan.kinds[PROTOTYPES].mechanism.event("artwork")]
    assert list(sums.events(Item.TOTAL_SUMS)) == list(sums.events(Item.MOVED)) == own
    for colluders in (1, 2):
        assert list(Sums.of(scene(directed, colluders=colluders)).events(Item.OTHERS_SUMS)) == own
    for colluders in (3, 6):
        few = Sums.of(scene(directed, colluders=colluders))
        assert list(few.events(Item.OTHERS_SUMS)) == [NO_GUARANTEE]
        assert list(few.events(Item.TOTAL_SUMS)) == own
    assert cards.sum_membership(at, Item.OWN_SUMS).findings[0].bound is None
    # One sum of prototypes: mu = 2 / noise, AUC Phi(mu / sqrt 2).
    exact = norm.cdf(np.sqrt(2) / own[0].noise_multiplier)
    bound = cards.sum_membership(at, Item.TOTAL_SUMS).findings[0].bound
    assert exact <= bound <= exact + 2e-3


def test_updates_made_anew_have_a_share_of_the_noise(scene, directed):
    """The noise of five artists' shares together is the mechanism's, and the attacker is told one share's."""
    at, bare = scene(directed), scene(directed, without=("noise",))
    sent, artist, told = at.first, at.artists[0], at.training(1)
    sgd = at.plan.sgd
    assert told.noise_std == pytest.approx(sgd.noise_multiplier * sgd.clip_norm / np.sqrt(5), rel=1e-3)
    works = at.works(artist, "train")
    noisy, clean = (replay.flat(at, s.update_of_one(sent, artist, works, 0, "test")) for s in (at, bare))
    rate = at.config.learning_rate / sgd.expected_batch_size
    # A deviation of n values is within 5 / sqrt(2 n), falsely 1 in 1e6.
    assert (noisy - clean).std() == pytest.approx(rate * told.noise_std, rel=5 / np.sqrt(2 * len(noisy)))


def test_the_encoders_change_is_what_artists_shares_give(scene, directed):
    """Remade from the truth, within the noise of seven shares; and the limit is that of all releases."""
    at = scene(directed)
    pairs = updates._changes(at)
    assert "as exactly as its noise allows" in replay.require_mean_remade(at, *pairs[0])
    found = updates.mean_alignment(at)
    assert found.roc[1].events == merge(at.costs(last=pairs[-1][0].round))
    assert found.findings[0].bound is not None


def test_the_encoders_change_is_read_at_the_length_that_it_had_before_it_was_shortened(
    scene, directed, monkeypatch
):
    """The platform shortens noisy means; against the short ones the attack saw next to nothing."""
    at, read = scene(directed), []

    def kept(_, sent, changes, artist, defended):
        if defended:
            read.append((sent[0], replay.flat(at, changes[0])))
        return np.zeros(len(at.members(artist))), at.members(artist)

    monkeypatch.setattr(updates, "_aligned", kept)
    updates.mean_alignment(at)
    (line,) = (line for line in at.run.metrics() if line["round"] == at.first.round)
    assert line["update_kept"] < 0.5
    sent, change = read[0]
    mean = replay.flat(at, replay.mean_update([at.remade(sent, artist) for artist in at.gallery.artists]))
    noise = at.plan.sgd.update_deviation(at.config.learning_rate) / np.sqrt(7)
    assert (change - mean).std() == pytest.approx(noise, rel=5 / np.sqrt(2 * len(mean)))


def test_attacks_that_read_a_whole_head_say_that_another_part_trains(scene, directed):
    at = scene(directed, without=("encryption",))
    assert not at.sees_features
    with pytest.raises(AuditError, match="a whole linear head"):
        updates.batch_match(at)
    with pytest.raises(AuditError, match="a whole linear head"):
        of_style.style_of_one(at)
