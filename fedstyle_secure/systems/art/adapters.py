"""An artist's own adapter: a low-rank change by which the shared model draws in that artist's manner.

It is trained after a run, on the artist's machine, on its own consented works, and is no release of any kind:
nothing sends it. What it would give away if it were published is measured (`attacks.adapter`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from torch import Tensor

from fedstyle_secure.devices import device_named, device_of
from fedstyle_secure.errors import RunError, WithdrawnError
from fedstyle_secure.files import PRIVATE, private_folder, read_arrays, require_secret, write_arrays
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.names import nfc
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import personal_file
from fedstyle_secure.system import tensors
from fedstyle_secure.systems.art.backbone.latent import codes
from fedstyle_secure.systems.art.backbone.network import Denoiser, even_times
from fedstyle_secure.systems.art.backbone.sampling import Prediction
from fedstyle_secure.systems.art.factors import OWN, add_factors
from fedstyle_secure.systems.art.settings import MOST_RANK, ArtSection
from fedstyle_secure.systems.art.system import LARGEST, finished

_WARMUP = 10


@dataclass(frozen=True)
class Adapter:
    """An artist's own change of a model.

    Attributes:
        arrays: Its factors, float32 by name.
        rank: Of the change in each layer.
        condition: What its pictures are asked to be beside.
        works: Names of those that it was trained on.
    """

    arrays: dict[str, np.ndarray]
    rank: int
    condition: int
    works: tuple[str, ...] = ()


def learned(
    shared: Denoiser, pictures: np.ndarray, condition: int, settings: ArtSection, seed: int
) -> Adapter:
    """Train an adapter, where the shared model lies.

    Args:
        shared: What it changes; stays as it is.
        pictures: The artist's own, uint8 (n, s, s, 3), n >= 1.
        condition: What they are asked to be beside.
        settings: Rank, steps and step size.
        seed: Of first weights, order and noise; the same pictures and seed give the same adapter.
    """
    model = _changed(shared, settings.adapter_rank, seed)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=settings.adapter_rate, weight_decay=0.0)
    rate = get_cosine_schedule_with_warmup(optimizer, _WARMUP, settings.adapter_steps)
    device = device_of(shared)
    generator, shown = torch.Generator().manual_seed(seed), codes(shared, pictures)
    asked = torch.full((settings.adapter_batch,), condition, device=device)
    for _ in range(settings.adapter_steps):
        chosen = shown[torch.randint(len(shown), (settings.adapter_batch,), generator=generator)]
        noise = torch.randn(chosen.shape, generator=generator)
        time = even_times(len(chosen), model.steps, generator)
        drawn = (chosen.to(device), noise.to(device), time.to(device))
        model.denoising_losses(*drawn, asked).mean().backward()
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
    named = model.unet.named_parameters()
    arrays = {n: p.detach().cpu().numpy().copy() for n, p in named if p.requires_grad}
    return Adapter(arrays, settings.adapter_rank, condition)


def adapted(shared: Denoiser, adapter: Adapter) -> Denoiser:
    """The model with an adapter on it.

    Raises:
        RunError: The adapter is none of this model.
    """
    if not 0 <= adapter.condition <= shared.nothing:
        raise RunError(f"the adapter asks for condition {adapter.condition}; valid: 0 to {shared.nothing}")
    if not 1 <= adapter.rank <= MOST_RANK:
        raise RunError(f"the adapter has rank {adapter.rank}; valid: 1 to {MOST_RANK}")
    model = _changed(shared, adapter.rank, seed=0)
    known = {n: p for n, p in model.unet.named_parameters() if p.requires_grad}
    if sorted(known) != sorted(adapter.arrays):
        raise RunError("the adapter belongs to another backbone: its layers are not the same")
    for name, array in adapter.arrays.items():
        shape = tuple(known[name].shape)
        # Others would be turned into float32, where a number may become none.
        if array.dtype != np.float32 or array.shape != shape or not (np.abs(array) <= LARGEST).all():
            raise RunError(
                f"the adapter's tensor {name!r} is not float32 of shape {shape} with numbers to {LARGEST:g}"
            )
    with torch.no_grad():
        for name, value in tensors(adapter.arrays).items():
            known[name].copy_(value)
    return model.requires_grad_(False).eval()


def led(model: Denoiser, plain: Denoiser, condition: int, guidance: float) -> Prediction:
    """The prediction of a model with an adapter, led away from that of the model without it."""

    def predict(noisy: Tensor, time: Tensor) -> Tensor:
        asked = torch.full((len(noisy),), condition, device=noisy.device)
        told: Tensor = model(noisy, time, asked)
        if guidance == 1:
            return told
        without: Tensor = plain(noisy, time, asked)
        return without + guidance * (told - without)

    return predict


def adapt(run: RunFolder, artist: str, studios: Path | None = None, device: str | None = None) -> Path:
    """Train an artist's own adapter of a finished run, on that artist's machine, and keep it there.

    Args:
        run: A finished run.
        artist: Whose works.
        studios: Where the artists' own folders lie; None: where the run says.
        device: Where it is trained; None: as the run's settings say.

    Returns:
        The file, in the artist's own folder, for its owner's eyes alone.

    Raises:
        RunError: The run is not finished, the artist's folder is not there, or no numbers came of it.
        PrivacyError: The artist has withdrawn, or others could write into its folder.
        GalleryError: There is no such artist.
        ConfigError: It is a run of another system, or there is no such device here.
    """
    system, shared = finished(run)
    shared.to(device_named(device or system.config.run.device))
    path = personal_file(run, artist, studios)
    require_present(path, artist)
    private_folder(path.parent)
    portfolio = open_gallery(system.config.gallery).portfolio(artist)
    condition = condition_of(shared, portfolio.train_labels)
    made = learned(shared, portfolio.train_pictures, condition, system.config.art, system.config.run.seed)
    # Or steps that were too large would take the place of an adapter that draws.
    adapted(shared, made)
    works = [name for name, test in zip(portfolio.names, portfolio.test, strict=True) if not test]
    told = {
        "artist": artist, "rank": str(made.rank), "condition": str(made.condition),
        "works": json.dumps(works),
    }  # fmt: skip
    write_arrays(path, made.arrays, told, mode=PRIVATE)
    return path


def own_adapter(run: RunFolder, artist: str, studios: Path | None = None) -> Adapter:
    """What `adapt` made.

    Raises:
        RunError: It did not, or the file is damaged or another artist's.
        PrivacyError: The artist has withdrawn, or others can read the file.
    """
    path = personal_file(run, artist, studios)
    require_present(path, artist)
    if not path.is_file():
        raise RunError(f"{artist} has no adapter of its own yet: `fedstyle adapt` makes one")
    require_secret(path, "adapter")
    arrays, told = read_arrays(path)
    try:
        works, owner = json.loads(told["works"]), told["artist"]
        found = Adapter(arrays, int(told["rank"]), int(told["condition"]), tuple(works))
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{path}: is no adapter: {error!r}") from None
    # Consent is asked for these works of this artist: without them nobody's refusal would be heard.
    if nfc(owner) != nfc(artist):
        raise RunError(f"{path}: is the adapter of {owner!r}, not of {artist!r}")
    if not isinstance(works, list) or not works or not all(isinstance(name, str) for name in works):
        raise RunError(f"{path}: is no adapter: it names no works that it was trained on")
    return found


def require_present(path: Path, artist: str) -> None:
    """Check that an artist has not withdrawn.

    Args:
        path: Its adapter, there or not: two floors below its studio.
        artist: Whose.

    Raises:
        WithdrawnError: It has.
        PrivacyError: Nobody can tell: its ledger is damaged, or its studio is a link or open to others.
    """
    gone = Ledger(private_folder(path.parent.parent) / "ledger.jsonl").withdrawal
    if gone is not None:
        raise WithdrawnError(
            f"{artist} has withdrawn, at {gone.at}: no adapter is trained on its works, and none draws"
        )


def require_allowed(adapter: Adapter, portfolio: Portfolio) -> None:
    """Check that all works which an adapter was trained on are still allowed to be.

    Args:
        adapter: An artist's own.
        portfolio: That artist's, as its consent is now.

    Raises:
        RunError: The use of one was refused since; says of how many, and what helps.
    """
    refused = sorted({one.name for one in portfolio.refused} & set(adapter.works))
    if refused:
        raise RunError(
            f"the use of {len(refused)} of the {len(adapter.works)} works that {portfolio.artist}'s adapter "
            f"was trained on is refused since ({refused[0]!r}): `fedstyle adapt` makes one without them"
        )


def condition_of(model: Denoiser, labels: tuple[str, ...]) -> int:
    """What works with these labels are asked to be beside: their condition where they share one."""
    asked = set(model.asked_by(labels).tolist())
    return asked.pop() if len(asked) == 1 else model.nothing


def _changed(shared: Denoiser, rank: int, seed: int) -> Denoiser:
    model = shared.copied()
    add_factors(model.unet, rank, OWN, seed, first_trains=True)
    return model
