"""Attacks on the product: their control wins, their limit is an artwork's, and no what-if is pretended."""

import numpy as np
import pytest
from scipy.stats import norm

from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.errors import AuditError
from fedstyle_secure.privacy.accounting import merge
from fedstyle_secure.privacy.events import DistributedNoise
from fedstyle_secure.systems.style.attacks import model
from fedstyle_secure.systems.style.attacks.cards import CardSide

pytestmark = pytest.mark.long

SETTINGS = AuditSettings(targets=8, candidates=8, pictures=4, steps=5, rounds=2, processes=1, fpr=(0.1,))


@pytest.fixture(scope="module")
def cnn(product_run):
    return product_run(
        "style.encoder=cnn", "style.train=all", "style.dim=8",
        "style.pretrain_steps=3", "gallery.artists=4", "gallery.public_artists=3", "gallery.pictures=8",
        "privacy.noise_multiplier=2", "training.expected_pictures=6", "cards.releases=2",
    )  # fmt: skip


def test_the_control_is_of_an_encoder_of_its_own(scene_of, exact_product):
    """It is not the attack on the run once more."""
    everyone = model.similarity(scene_of(exact_product, SETTINGS)).findings[0]
    assert everyone.control != everyone.value
    assert everyone.control > 0.52


def test_the_limit_is_that_of_every_release_in_both_worlds(scene_of, noisy_product):
    """All are Gaussians over all pictures here, so that mu = 2 sqrt(sum of 1 / noise^2) exactly."""
    at = scene_of(noisy_product, SETTINGS)
    outcome = model.similarity(at)
    limit = outcome.roc[1]
    assert limit.events == merge(at.plan.events())
    assert limit.hops == 2
    noises = [event.noise_multiplier for event in at.plan.events()]
    # A card, prototypes, second moments and two updates.
    assert len(noises) == 5
    exact = norm.cdf(2 * np.sqrt(np.sum(1 / np.square(noises))) / np.sqrt(2))
    assert exact <= outcome.findings[0].bound <= exact + 2e-3


@pytest.mark.slow
def test_where_the_unit_is_the_artist_the_limit_is_still_an_artworks(scene_of, product_run):
    """An artwork that comes or goes changes a portfolio: two hops of the sum, where an artist is one."""
    run = product_run("privacy.unit=artist", "privacy.noise_multiplier=4")
    at = scene_of(run, SETTINGS)
    events = at.costs()
    assert events == [DistributedNoise(at.plan.shared.noise, 2, 6)] * 3
    assert Limit(events, 2).auc() > Limit(at.plan.events(), 2).auc() + 0.05
    assert model.similarity(at).roc[1].events == merge(events)


@pytest.mark.parametrize("missing", [("noise",), ("clip",), ("noise", "clip")])
def test_what_needs_another_run_is_not_run(scene_of, noisy_product, cnn, missing):
    for run, attack in ((noisy_product, model.similarity), (cnn, model.inversion)):
        with pytest.raises(AuditError, match="needs the run trained anew without it"):
            attack(scene_of(run, SETTINGS.model_copy(update={"without": missing})))


def test_inversion_under_trained_weights_is_limited_by_what_trained_them(scene_of, cnn):
    """Where no round was kept, cards are read under the product's weights, which hold everything."""
    at = scene_of(cnn, SETTINGS)
    found = model.inversion(at).findings[0]
    assert merge(CardSide.of(at).events()) == merge(at.plan.events())
    # What a blind guess finds comes on top.
    assert found.bound >= Limit(at.plan.events()).success(1 / 8) - 1e-9
    blind = scene_of(cnn, SETTINGS)
    blind.rounds = ()
    assert merge(CardSide.of(blind).events()) == merge(at.plan.events())
