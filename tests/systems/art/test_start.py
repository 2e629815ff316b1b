"""The backbone that comes with the package is the one that its recipe makes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fedstyle_secure.systems.art.backbone import folder, learning
from fedstyle_secure.systems.art.backbone.network import Shape, as_tensor
from fedstyle_secure.systems.art.backbone.sampling import Drawing, drawn
from fedstyle_secure.systems.art.measures.schools import school_judge

SHIPPED = Path(folder.__file__).with_name(folder.SHIPPED)


def test_it_was_made_by_the_recipe_that_stands_here():
    told = json.loads((SHIPPED / folder.INDEX).read_text())
    assert told["recipe"] == learning.recipe_text(learning.Recipe()), "run benchmarks/art_start.py again"
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) <= 4_000_000


@pytest.mark.long
def test_a_recipe_makes_the_same_weights_again_and_learns():
    recipe = learning.Recipe(shape=Shape(32, (8, 16)), hands=1, pictures=2, steps=30, batch=4, rate=1e-2)
    losses: list[float] = []
    one = learning.learned(recipe, lambda step, loss, model: losses.append(loss))
    other = learning.learned(recipe)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))
    assert len(losses) == 30
    assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:5])


@pytest.mark.long
def test_it_draws_the_schools_that_it_is_asked_for():
    """Four schools of three pictures: by chance one in fourteen is named as asked."""
    model = folder.shipped().build()
    asked = [name for name in ("hatching", "mosaic", "watercolour", "woodcut") for _ in range(3)]
    pictures = drawn(model, model.asked_by(asked).tolist(), Drawing(), seed=1)
    assert school_judge(32, hands=3, pictures=6).shares(pictures, asked).value >= 0.6


def test_it_has_not_seen_the_academys_schools():
    """Or artists of `configs/art.toml` would teach it nothing."""
    from fedstyle_secure.systems.art.academy import SCHOOL_NAMES, Academy

    model = folder.shipped().build()
    assert not set(SCHOOL_NAMES) & set(model.names)
    academy = Academy(artists=4, pictures=4, public=14, size=32, seed=0, test_fraction=0)

    def loss(pictures, conditions):
        noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
        time = torch.arange(len(pictures)) * 1000 // len(pictures)
        with torch.no_grad():
            return model.denoising_losses(pictures, noise, time, conditions)

    private = as_tensor(np.concatenate([academy.portfolio(a).pictures for a in academy.artists]))
    public = as_tensor(np.concatenate([academy.portfolio(a).pictures for a in academy.public_artists]))
    none = [torch.full((len(some),), model.nothing) for some in (private, public)]
    assert loss(public, none[1]).mean() < loss(private, none[0]).mean()


@pytest.mark.parametrize("change", [{"artists": 0}, {"pictures": 1}, {"size": 8}, {"test_fraction": 1.0}])
def test_an_academy_that_cannot_be_is_refused(change):
    from fedstyle_secure.errors import ConfigError
    from fedstyle_secure.systems.art.academy import Academy

    usual = {"artists": 4, "pictures": 4, "public": 2, "size": 32, "seed": 0, "test_fraction": 0.25}
    with pytest.raises(ConfigError):
        Academy(**{**usual, **change})


def test_an_academys_picture_hangs_on_seed_artist_and_number_alone():
    from fedstyle_secure.systems.art.academy import Academy

    few = Academy(artists=2, pictures=3, public=1, size=32, seed=5, test_fraction=0.25)
    many = Academy(artists=9, pictures=6, public=4, size=32, seed=5, test_fraction=0.25)
    other = Academy(artists=2, pictures=3, public=1, size=32, seed=6, test_fraction=0.25)
    for artist in few.artists:
        pictures = few.portfolio(artist).pictures
        assert np.array_equal(pictures, many.portfolio(artist).pictures[:3])
        assert not np.array_equal(pictures, other.portfolio(artist).pictures)
    assert len({p.tobytes() for a in many.artists for p in many.portfolio(a).pictures}) == 9 * 6
