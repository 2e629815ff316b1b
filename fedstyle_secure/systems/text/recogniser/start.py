"""The public start: a recogniser that has read procedural lettering, and then the platform's own crops."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedstyle_secure.cache import cache_folder, key_of, remembered
from fedstyle_secure.devices import CPU, placed
from fedstyle_secure.errors import GalleryError, RunError
from fedstyle_secure.files import read_arrays, sources_digest
from fedstyle_secure.galleries.assemble import SKIP_HINT, OnBad
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.system import tensors
from fedstyle_secure.systems.text.letterer import SOURCES, Letterer
from fedstyle_secure.systems.text.recogniser.charset import LONGEST, Charset, TextError
from fedstyle_secure.systems.text.recogniser.fitting import fit
from fedstyle_secure.systems.text.recogniser.network import FRAMES, Recogniser, prepare

SHIPPED = "start.safetensors"
"""In this folder: the start by the settings' defaults, so that nobody waits minutes for it."""

_MADE_BY = (*SOURCES, Path(__file__).parent)

_ARTISTS, _WORDS, _SEED = 16, 500, 2**62
"""What is practised on: of a seed that no gallery has, so that nobody's test crops are among it."""

_RATE, _PUBLIC_RATE = 2e-3, 5e-4


def targets_of(
    charset: Charset, portfolio: Portfolio, wanted: np.ndarray, on_bad: OnBad = "refuse"
) -> Tensor:
    """What the loss wants of some crops, int64 (n, ...).

    Args:
        charset: Of the recogniser.
        portfolio: Theirs.
        wanted: bool (crops,), which.
        on_bad: "skip" gives zeros for a text that cannot be trained on: it counts for nothing, and no other
            crop, nor whether its artist answers, hangs on it.

    Raises:
        GalleryError: A text cannot be trained on; says whose and which crop, and not what stands there.
    """
    made = []
    for name, text, there in zip(portfolio.names, portfolio.labels, wanted, strict=True):
        if not there:
            continue
        try:
            made.append(charset.encode(text, FRAMES))
        except TextError as error:
            if on_bad == "refuse":
                raise GalleryError(
                    f"artist {portfolio.artist!r}: the text of {name!r} {error}; mend or remove it, set "
                    f"text.charset, or {SKIP_HINT}"
                ) from None
            made.append(np.zeros(1 + LONGEST, np.int64))
    return torch.from_numpy(np.stack(made) if made else np.zeros((0, 1 + LONGEST), np.int64))


def pooled(
    charset: Charset, portfolios: Sequence[Portfolio], on_bad: OnBad = "refuse"
) -> tuple[Tensor, Tensor]:
    """All training crops of portfolios, prepared, and what the loss wants of them; without those that
    `targets_of` leaves out."""
    crops = torch.cat([prepare(p.train_pictures) for p in portfolios])
    targets = torch.cat([targets_of(charset, p, ~p.test, on_bad) for p in portfolios])
    known = targets[:, 0] > 0
    return crops[known], targets[known]


def public_start(
    charset: Charset,
    practice_epochs: int,
    public: Sequence[Portfolio],
    public_epochs: int,
    on_bad: OnBad = "refuse",
    device: torch.device = CPU,
) -> dict[str, np.ndarray]:
    """The weights before any private training.

    Args:
        charset: Of the recogniser.
        practice_epochs: Passes over procedural lettering.
        public: The platform's own portfolios; all their crops are trained on.
        public_epochs: Passes over these, after that.
        on_bad: What a public text does that cannot be trained on.
        device: Where it is trained.

    Raises:
        GalleryError: A public text cannot be trained on.
    """
    start = practised(charset, practice_epochs, device)
    if not public_epochs:
        return start
    model = Recogniser(charset.classes)
    model.load_state_dict(tensors(start))
    crops, targets = pooled(charset, public, on_bad)
    with placed(model, device):
        fit(model, crops.to(device), targets.to(device), public_epochs, _PUBLIC_RATE, seed=0)
    return weights(model)


def weights(model: Recogniser) -> dict[str, np.ndarray]:
    """All tensors of a recogniser by name, copied."""
    return {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}


def practised(charset: Charset, epochs: int, device: torch.device = CPU) -> dict[str, np.ndarray]:
    """Weights of a recogniser that has read procedural lettering, which is nobody's secret: those that came
    with the package, where it made them so, else made once a machine."""
    with as_file(files("fedstyle_secure.systems.text.recogniser") / SHIPPED) as path, suppress(RunError):
        arrays, told = read_arrays(path)
        if told.get("recipe") == recipe(charset, epochs):
            return arrays
    key = key_of(_MADE_BY, charset.letters, epochs, device.type)
    return remembered(cache_folder() / "text", "start", key, lambda: practise(charset, epochs, device))


def recipe(charset: Charset, epochs: int) -> str:
    """What practised weights follow from, as text."""
    return json.dumps([sources_digest(_MADE_BY), charset.letters, epochs])


def practise(charset: Charset, epochs: int, device: torch.device = CPU) -> dict[str, np.ndarray]:
    """The weights of `practised`, made now: minutes. Words outside the charset are left out."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Recogniser(charset.classes)
    if not epochs:
        return weights(model)
    school = Letterer(artists=1, pictures=_WORDS, public=_ARTISTS, seed=_SEED, test_fraction=0)
    crops, targets = pooled(charset, [school.portfolio(artist) for artist in school.public_artists], "skip")
    with placed(model, device):
        fit(model, crops.to(device), targets.to(device), epochs, _RATE, seed=0)
    return weights(model)
