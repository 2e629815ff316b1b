"""What influences a model, and a picture that it drew: bounds first, then what is measured beside them.

For what artists trained together the guarantee bounds every work's influence, whatever is measured. For a
drawn picture nothing says what made it so; the nearest works are those that look most like it, and how near
is near is said by works that no model saw, or where there are none by how near works lie to one another. An
artist's own works are looked through on its own machine alone, and private works of others never.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from attacks.diffusion.copies import tiled_distances
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.federation.simulation import play
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.galleries.pictures import PictureError, decode_picture
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.system import State, plan_of, system_bound
from fedstyle_secure.systems.art.backbone.latent import codes
from fedstyle_secure.systems.art.backbone.network import Denoiser, as_tensor, even_times
from fedstyle_secure.systems.art.system import ArtSystem, finished

NEAREST = 3
"""Works that are named."""

_READABLE = 10.0
"""Largest epsilon whose odds are written out."""


@dataclass(frozen=True)
class Near:
    """A work near a picture.

    Attributes:
        artist: Whose.
        name: Of the work.
        distance: Root mean square difference in the sixteenth of the picture where it is largest, [0, 1].
        as_near: Share of held-out works, which nothing was trained on, that lie as near to one of these
            works: a small one is near indeed. Where nothing is held out, of these works themselves, each
            beside the others; None where there is but one.
    """

    artist: str
    name: str
    distance: float
    as_near: float | None


@dataclass(frozen=True)
class Moved:
    """How much a model's predictions of the public set change, mean square.

    Attributes:
        artist: Who was left out.
        without: With everybody's but this artist's works, against a run with all.
        again: Of two runs with all: what noise alone does; 0 where there is none.
        training: Of a run with all against the start: what all works and all noise do together.
    """

    artist: str
    without: float
    again: float
    training: float


def bound(run: RunFolder) -> str:
    """What the guarantee of a run says of any one work's influence on what was trained together."""
    system, _ = finished(run)
    privacy, config = run.summary()["privacy"], system.config
    epsilon = privacy["epsilon_artwork_max"]
    if epsilon is None:
        return (
            "No guarantee bounds what one work did to the shared model: the run's summary states no epsilon "
            f"for works (privacy.dp = {config.privacy.dp!r}, privacy.unit = {config.privacy.unit!r}, "
            f"secure_sum.enabled = {config.secure_sum.enabled})."
        )
    return (
        f"No work can have moved the shared model by more than its epsilon of {_up(epsilon)} says: whatever "
        f"anybody may observe of it is at most {_times(epsilon)} times as likely with the work as without "
        f"it, and as without it as with it, but for a chance of {config.privacy.delta:g}."
    )


def _up(value: float) -> str:
    """In two decimals, never less than it is."""
    return f"{math.ceil(value * 100) / 100:,.2f}"


def _times(epsilon: float) -> str:
    """e to the epsilon, never less than it is; in powers of ten where it means nothing any more."""
    return _up(math.exp(epsilon)) if epsilon <= _READABLE else f"10^{math.ceil(epsilon / math.log(10))}"


def left_out(run: RunFolder, artists: Sequence[str]) -> list[Moved]:
    """Play a run again with and without artists: the experimenter's, who has everybody's works.

    Args:
        run: A finished run.
        artists: Whom to leave out, one after another.

    Raises:
        GalleryError: There is no such artist.
        ConfigError: Two artists are not left.
    """
    system, _ = finished(run)
    gallery = open_gallery(system.config.gallery)
    every = {artist: gallery.portfolio(artist) for artist in gallery.artists}
    for artist in artists:
        if artist not in every:
            raise GalleryError(f"{artist!r} is no artist of the run; valid: {', '.join(every)}")
    if len(every) < 3:
        raise ConfigError(
            f"leaving one out of {len(every)} artists leaves no sum; valid: three artists or more"
        )
    public = [gallery.portfolio(artist) for artist in gallery.public_artists]
    if not public:
        raise ConfigError("changes are measured on the public set, and gallery.public names no artist")
    start = system.begun(State.load(run.product_file))
    probe = codes(system.product(start), np.concatenate([p.pictures[:4] for p in public]))

    def told(artists: Sequence[Portfolio]) -> torch.Tensor:
        return _predictions(_played(system, start, artists, public), probe)

    whole, again = (told(list(every.values())) for _ in range(2))
    untrained = _predictions(system.product(start), probe)
    found = []
    for artist in artists:
        others = [p for name, p in every.items() if name != artist]
        found.append(
            Moved(artist, _apart(told(others), whole), _apart(again, whole), _apart(untrained, whole))
        )
    return found


def nearest(run: RunFolder, picture: Path, artist: str = "") -> list[Near]:
    """Works that a picture is nearest to: of the public set, and of one artist's own portfolio.

    Args:
        run: A finished run.
        picture: A file.
        artist: Whose portfolio is looked through, on this artist's machine; "": nobody's.

    Raises:
        ConfigError: The file is no picture.
        GalleryError: There is no such artist.
    """
    system, model = finished(run)
    try:
        decoded = decode_picture(picture.read_bytes(), model.size)
    except (OSError, PictureError) as error:
        raise ConfigError(f"{picture}: {error}") from None
    gallery = open_gallery(system.config.gallery)
    if artist and artist not in gallery.artists:
        raise GalleryError(f"{artist!r} is no artist of the run; valid: {', '.join(gallery.artists)}")
    found = _near(decoded, [gallery.portfolio(a) for a in gallery.public_artists])
    return found + (_near(decoded, [gallery.portfolio(artist)]) if artist else [])


def _near(picture: np.ndarray, portfolios: Sequence[Portfolio]) -> list[Near]:
    """The nearest of some artists' works that are not held out."""
    owners = [(p.artist, p.names[i]) for p in portfolios for i in np.flatnonzero(~p.test)]
    if not owners:
        return []
    works = _unit(np.concatenate([p.train_pictures for p in portfolios]))
    apart = np.concatenate([p.test_pictures for p in portfolios])
    if len(apart):
        usual = tiled_distances(_unit(apart), works).min(axis=1)
    else:
        between = tiled_distances(works, works)
        np.fill_diagonal(between, np.inf)
        usual = between.min(axis=1)
    distances = tiled_distances(_unit(picture[None]), works)[0]
    known = bool(np.isfinite(usual).all())
    return [
        Near(
            owners[i][0],
            owners[i][1],
            float(distances[i]),
            float((usual <= distances[i]).mean()) if known else None,
        )
        for i in np.argsort(distances, kind="stable")[:NEAREST]
    ]


def _unit(pictures: np.ndarray) -> torch.Tensor:
    return (as_tensor(pictures) + 1) / 2


def _played(
    system: ArtSystem, start: State, artists: Sequence[Portfolio], public: Sequence[Portfolio]
) -> Denoiser:
    config = system.config
    if not config.shares_noise:
        # Changes nothing but who reads what.
        config = config.model_copy(
            update={"secure_sum": config.secure_sum.model_copy(update={"enabled": False})}
        )
    played = system_bound(config)
    model = played.model(start)
    inputs = {p.artist: played.inputs(model, p) for p in artists}
    return system.product(play(played, plan_of(config, len(artists)), start, artists, inputs, public))


@torch.no_grad()
def _predictions(model: Denoiser, probe: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(probe.shape, generator=generator)
    time = even_times(len(probe), model.steps, generator)
    told: torch.Tensor = model(
        model.noised(probe, noise, time), time, torch.full((len(probe),), model.nothing)
    )
    return told


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).square().mean())
