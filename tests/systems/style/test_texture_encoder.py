"""The texture encoder: identity at first, cards that never age, weights checked."""

import numpy as np
import pytest
import torch

from attacks.sensitivity import probe_sensitivity
from fedstyle_secure.errors import ConfigError, FederationError
from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.privacy.dp_sgd import clipped_gradient_sum
from fedstyle_secure.system import split_arrays
from fedstyle_secure.systems.style.encoders import encoder_from_arrays, fit_encoder, realign
from fedstyle_secure.systems.style.losses import PrototypeContrast
from fedstyle_secure.systems.style.settings import StyleSection


def arrays_of(encoder):
    fixed, trained = split_arrays(encoder)
    return fixed | trained


STYLE = StyleSection(dim=24, practice_artists=0)


@pytest.fixture(scope="module")
def gallery():
    return Atelier(artists=3, pictures=12, public=6, size=32)


@pytest.fixture
def encoder(gallery):
    return fit_encoder(STYLE, [gallery.portfolio(a) for a in gallery.public_artists], seed=0)


def test_it_begins_as_the_whitened_features(encoder, gallery):
    prepared = encoder.prepare(gallery.portfolio("impasto-1").pictures)
    assert prepared.shape == (12, 24)
    assert np.allclose(encoder.embed(prepared), prepared.numpy(), atol=1e-6)
    assert np.allclose(np.linalg.norm(encoder.released(prepared), axis=1), 1, atol=1e-5)
    assert set(split_arrays(encoder)[1]) == {"head.weight"}


def test_a_card_follows_a_later_head(encoder, gallery):
    prepared = encoder.prepare(gallery.portfolio("impasto-1").pictures)
    card = encoder.released(prepared).mean(axis=0, keepdims=True)
    with torch.no_grad():
        encoder.head.weight += 0.3 * torch.randn(24, 24, generator=torch.Generator().manual_seed(0))
    placed = encoder.place(card).numpy()
    expected = card @ encoder.head.weight.detach().numpy().T
    assert np.allclose(placed, expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.long
def test_practice_artists_change_the_whitening_only_when_asked_for(gallery):
    public = [gallery.portfolio(a) for a in gallery.public_artists]
    without, again = (arrays_of(fit_encoder(STYLE, public, seed)) for seed in (0, 1))
    practised = arrays_of(fit_encoder(STYLE.model_copy(update={"practice_artists": 2}), public, 0))
    assert np.array_equal(without["projection"], again["projection"])
    assert not np.allclose(without["projection"], practised["projection"], atol=1e-3)


@pytest.mark.long
def test_public_realignment_moves_the_head_and_nothing_else(encoder, gallery):
    public = [gallery.portfolio(a) for a in gallery.public_artists]
    prepared = encoder.prepare(np.concatenate([p.pictures for p in public]))
    labels = np.repeat(np.arange(len(public)), 12)
    before = arrays_of(encoder)
    realign(encoder, prepared, labels, steps=3, rate=0.1, temperature=0.1)
    after = arrays_of(encoder)
    assert [name for name in before if not np.array_equal(before[name], after[name])] == ["head.weight"]


@pytest.mark.parametrize("train", ["norms", "all"])
def test_there_is_nothing_but_a_head_to_train(train, gallery):
    with pytest.raises(ConfigError, match=r"style\.train"):
        fit_encoder(StyleSection(train=train), [gallery.portfolio("public-impasto-1")], 0)


def test_weights_from_a_peer_are_checked(encoder):
    good = arrays_of(encoder)
    for bad, text in [
        ({k: v for k, v in good.items() if k != "mean"}, "'mean' is missing"),
        (good | {"projection": np.zeros((24, 7), np.float32)}, "'projection' is missing or not of shape"),
        (good | {"limit": np.zeros(3, np.float32)}, "'limit' is missing or not of shape"),
        (good | {"projection": np.zeros((25, 7), np.float32)}, "not 1 to 24 rows"),
        (good | {"scale": np.full_like(good["scale"], np.inf)}, "other values than scale: above 0"),
    ]:
        with pytest.raises(FederationError, match=text):
            encoder_from_arrays(STYLE, bad)


@pytest.mark.long
@pytest.mark.parametrize(("adjacency", "bound"), [("add-remove", 1.0), ("replace", 2.0)])
def test_one_picture_never_moves_the_clipped_sum_of_the_real_loss_beyond_the_bound(
    encoder, gallery, adjacency, bound
):
    pool = np.concatenate([encoder.prepare(gallery.portfolio(a).pictures).numpy() for a in gallery.artists])
    anchors = pool[::6]
    loss = PrototypeContrast(lambda: encoder.place(anchors), temperature=0.1, alignment=0.1)
    encoder.train()

    def clipped_sum(batch):
        inputs = torch.from_numpy(batch[:, None].astype(np.float32))
        # The picture's target follows from the picture alone, as its style does.
        own = torch.from_numpy((batch @ anchors.T).argmax(1))
        targets = torch.stack([own, torch.full_like(own, -1)], dim=1)
        return clipped_gradient_sum(encoder, loss, inputs, targets, 1.0).numpy()

    report = probe_sensitivity(clipped_sum, pool, bound, adjacency, np.random.default_rng(0), trials=300)
    assert report.holds, report
    assert report.worst > 0.5 * bound
