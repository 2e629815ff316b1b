"""Gradient lengths at the product: their control wins, their limit covers all; no what-if is pretended."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from fedstyle_secure.audit import model
from fedstyle_secure.audit.limits import NO_GUARANTEE
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.errors import AuditError
from fedstyle_secure.privacy.accounting import merge
from fedstyle_secure.runs import RunFolder

pytestmark = pytest.mark.long

SETTINGS = AuditSettings(targets=8, candidates=8, pictures=4, steps=5, rounds=2, processes=1, fpr=(0.1,))


def test_the_control_is_of_an_encoder_of_its_own(scene_of, exact_product):
    """It is not the attack on the run once more."""
    everyone = model.gradient_length(scene_of(exact_product, SETTINGS)).findings[0]
    assert everyone.control != everyone.value
    assert everyone.control > 0.52


def test_the_controls_encoder_was_made_to_fit_the_pictures(scene_of, exact_product):
    at = scene_of(exact_product, SETTINGS)

    def lost(encoder):
        found, loss = [], at.system.loss(encoder, at.last)
        for artist in at.artists:
            works = at.works(artist, "train")
            targets = at.records(at.last, works).targets
            found.append(float(loss(encoder(works.prepared), targets).mean().detach()))
        return np.mean(found)

    assert lost(model._overfitted(at, model._known(at))) < 0.5 * lost(at.model(at.last))


def test_the_limit_is_that_of_every_release_in_both_worlds(scene_of, noisy_product):
    """All are Gaussians over all pictures here, so that mu = 2 sqrt(sum of 1 / noise^2) exactly."""
    at = scene_of(noisy_product, SETTINGS)
    outcome = model.gradient_length(at)
    limit = outcome.roc[1]
    assert limit.events == merge(at.plan.events())
    assert limit.hops == 2
    noises = [event.noise_multiplier for event in at.plan.events()]
    assert len(noises) == 5  # two updates, second moments, a card and prototypes
    exact = norm.cdf(2 * np.sqrt(np.sum(1 / np.square(noises))) / np.sqrt(2))
    assert exact <= outcome.findings[0].bound <= exact + 2e-3


@pytest.mark.parametrize(("told", "beside"), [(1.0, True), (0.0, False)])
def test_a_leak_that_the_weights_before_training_have_too_is_told_as_no_leak_of_theirs(
    scene_of, exact_product, told, beside
):
    at = scene_of(exact_product, SETTINGS)
    found = model.gradient_length(at)
    leaks = replace(found.findings[0], verdict="leaks", low=0.6, reason="known")
    said = model._less_weights(
        at,
        replace(found, findings=(leaks, *found.findings[1:])),
        lambda at_weights, artist: told * at.members(artist),
    ).findings[0]
    assert said.details["AUC at the weights before training"] == (1.0 if beside else 0.5)
    assert ("1.000 at the weights before training too" in said.reason) is beside
    assert said.reason.endswith("known")
    assert said.value == leaks.value


@pytest.mark.parametrize("missing", [("noise",), ("clip",), ("noise", "clip")])
def test_what_needs_another_run_is_not_run(scene_of, noisy_product, missing):
    with pytest.raises(AuditError, match="needs the run trained anew without it"):
        model.gradient_length(scene_of(noisy_product, SETTINGS.model_copy(update={"without": missing})))


def test_a_ledger_that_holds_more_than_the_plan_leaves_no_limit(
    scene_of, noisy_product, monkeypatch, tmp_path
):
    """Somebody's noise was smaller than the settings say: then nothing may be stated."""
    ledgers = json.loads(noisy_product.ledger_file.read_text(encoding="utf-8"))
    name = sorted(ledgers)[2]
    entry = next(e for e in ledgers[name] if e["kind"] == "card")
    entry["artwork_cost"]["noise_multiplier"] /= 2
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(ledgers), encoding="utf-8")
    monkeypatch.setattr(RunFolder, "ledger_file", property(lambda self: edited))
    with pytest.raises(AuditError, match=f"artist '{name}': its releases of kind 'card' cost"):
        model.gradient_length(scene_of(noisy_product, SETTINGS))
    assert scene_of(noisy_product, SETTINGS.model_copy(update={"without": ("noise",)})).noise is False
    entry["artwork_cost"] = None
    edited.write_text(json.dumps(ledgers), encoding="utf-8")
    with pytest.raises(AuditError, match="kind 'card'"):
        scene_of(noisy_product, SETTINGS).costs()


def test_without_any_defence_there_is_no_limit(scene_of, noisy_product):
    assert scene_of(noisy_product, SETTINGS.model_copy(update={"without": ("noise",)})).costs() == [
        NO_GUARANTEE
    ]
    bare = scene_of(noisy_product, SETTINGS.model_copy(update={"without": ("clip",)}))
    assert bare.costs() == [NO_GUARANTEE]
    # Rows of cards have length 1 by themselves: without the clip they cost the same.
    assert bare.costs(("card",)) == [bare.plan.kinds["card"].mechanism.event("artwork")]
