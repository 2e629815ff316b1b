"""How the backbone that comes with the package was made: from procedural pictures, which are nobody's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from torch import Tensor

from fedstyle_secure.files import sources_digest
from fedstyle_secure.galleries.atelier import SCHOOL_NAMES, SOURCES, Atelier
from fedstyle_secure.systems.art.backbone.network import (
    SMALL,
    Denoiser,
    Shape,
    as_tensor,
    even_times,
    new_scheduler,
    new_unet,
)

_SEED = 2**62
"""A seed that no gallery has, so that nobody's test pictures are among what is learned."""

_WARMUP, _KEPT, _WEIGHT_DECAY = 200, 0.9995, 0.01


@dataclass(frozen=True)
class Recipe:
    """What a backbone follows from.

    Attributes:
        shape: How large it is.
        hands: Public procedural artists a school.
        pictures: Of each.
        steps: Of learning.
        batch: Pictures a step.
        rate: Largest step size; it falls to nothing along half a cosine.
        plain: Share of pictures that are shown without saying what they are, so that it can be asked for
            nothing in particular.
        seed: Of weights, order and noise.
    """

    shape: Shape = SMALL
    hands: int = 8
    pictures: int = 100
    steps: int = 10_000
    batch: int = 16
    rate: float = 1e-3
    plain: float = 0.1
    seed: int = 0


def recipe_text(recipe: Recipe) -> str:
    """What a backbone follows from, as text: the recipe, and all code that its weights hang on."""
    here = Path(__file__)
    code = sources_digest((*SOURCES, here, here.with_name("network.py")))
    return json.dumps({**asdict(recipe), "sources": code}, sort_keys=True)


def lessons(recipe: Recipe) -> tuple[Tensor, Tensor]:
    """What is learned from: pictures float32 (n, 3, s, s), and the school of each int64 (n,)."""
    artists = recipe.hands * len(SCHOOL_NAMES)
    school = Atelier(
        artists=1,
        pictures=recipe.pictures,
        public=artists,
        size=recipe.shape.size,
        seed=_SEED,
        test_fraction=0,
    )
    shown = [school.portfolio(artist) for artist in school.public_artists]
    names = [SCHOOL_NAMES.index(label) for portfolio in shown for label in portfolio.labels]
    return torch.cat([as_tensor(p.pictures) for p in shown]), torch.tensor(names)


def learned(
    recipe: Recipe, told: Callable[[int, float, Denoiser], None] = lambda step, loss, model: None
) -> Denoiser:
    """A backbone that has learned by a recipe: minutes to hours.

    Args:
        recipe: What it follows from.
        told: Gets each step's number from 1, its loss, and the model as it is.

    Returns:
        The average of its last weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        unet = new_unet(recipe.shape, len(SCHOOL_NAMES)).to(memory_format=torch.channels_last)
    model = Denoiser(unet, new_scheduler(), SCHOOL_NAMES)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=recipe.rate, weight_decay=_WEIGHT_DECAY)
    rate = get_cosine_schedule_with_warmup(optimizer, _WARMUP, recipe.steps)
    average = EMAModel(unet.parameters(), decay=_KEPT, use_ema_warmup=True, power=0.75)
    generator = torch.Generator().manual_seed(recipe.seed)
    shown, schools = lessons(recipe)
    for step, chosen in enumerate(_batches(recipe, len(shown)), start=1):
        noise = torch.randn(shown[chosen].shape, generator=generator)
        time = even_times(len(chosen), model.steps, generator)
        asked = _asked(schools[chosen], model, recipe.plain, generator)
        loss = model.denoising_losses(shown[chosen], noise, time, asked).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
        average.step(unet.parameters())
        told(step, loss.item(), model)
    average.copy_to(unet.parameters())
    return model


def _batches(recipe: Recipe, number: int) -> Iterator[np.ndarray]:
    """Every picture once before one comes again."""
    rng = np.random.default_rng(recipe.seed)
    left = rng.permutation(number)
    for _ in range(recipe.steps):
        if len(left) < recipe.batch:
            left = np.concatenate([left, rng.permutation(number)])
        yield left[: recipe.batch]
        left = left[recipe.batch :]


def _asked(schools: Tensor, model: Denoiser, plain: float, generator: torch.Generator) -> Tensor:
    """What pictures are shown as: their school, or now and then nothing in particular."""
    hidden = torch.rand(len(schools), generator=generator) < plain
    return torch.where(hidden, torch.full_like(schools, model.nothing), schools)
