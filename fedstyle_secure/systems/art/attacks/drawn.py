"""Whether what the final model draws is a near copy of a work that it was trained on."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from attacks.diffusion.copies import Extraction, extraction
from fedstyle_secure.audit.measures import AttackCard, Outcome, Panel, Setting, copies
from fedstyle_secure.audit.scene import Scene, Works
from fedstyle_secure.audit.targets import as_pictures
from fedstyle_secure.devices import device_named, placed
from fedstyle_secure.errors import AuditError
from fedstyle_secure.systems.art.backbone.network import Denoiser
from fedstyle_secure.systems.art.backbone.sampling import Drawing, drawn
from fedstyle_secure.systems.art.records import Looker
from fedstyle_secure.systems.art.settings import ArtConfig

_DRAWN = 128
"""Pictures that are drawn."""

_FALSE_ALARM = 0.05
"""Of each; more where there are too few held-out works to state that little."""

_NEIGHBOURS, _SHOWN = 10, 6


def regurgitation(scene: Scene, card: AttackCard) -> Outcome:
    """Pictures drawn by the final model, as the training works were asked for, and the near copies among
    them."""
    scene.require_trained()
    scene.require_trained_as_assumed()
    started, settings = time.perf_counter(), scene.settings
    parts = [scene.works(artist, "train") for artist in scene.artists]
    works, owners = _without_doubles(parts, ())
    held_out, _ = _without_doubles([scene.works(artist, "test") for artist in scene.artists], works)
    if min(len(works), len(held_out)) < 2:
        raise AuditError(
            f"{len(works)} works and {len(held_out)} held-out ones: valid are two of each at least"
        )
    model = _denoiser(scene)
    asked = sorted({int(c) for part in parts for c in model.asked_by(part.portfolio.labels)})
    with placed(model, device_named(settings.device)):
        made = drawn(model, [asked[i % len(asked)] for i in range(_DRAWN)], _how(scene), settings.seed)
    generated = as_pictures(made)
    # What no copy looks like is told by held-out works: drawings are held against more works than those are.
    found = extraction(
        card.name, generated, as_pictures(works), as_pictures(held_out),
        max(_FALSE_ALARM, 1 / (len(held_out) + 1)), "works",
        neighbours=min(_NEIGHBOURS, len(held_out), len(works)), confidence=settings.confidence,
    )  # fmt: skip
    how = Setting(
        card, settings.seed, settings.confidence, time.perf_counter() - started, f"{_DRAWN} pictures drawn",
        "drawn as works with the same labels were asked for",
    )  # fmt: skip
    return Outcome((copies(how, found),), panel=_panel(card, found, generated, works, held_out, owners))


def _denoiser(scene: Scene) -> Denoiser:
    model = scene.model(scene.last)
    assert isinstance(model, Looker)
    return model.denoiser.eval()


def _how(scene: Scene) -> Drawing:
    config = scene.config
    assert isinstance(config, ArtConfig)
    return Drawing(config.art.steps, config.art.guidance)


def _without_doubles(
    parts: Sequence[Works], but: Sequence[np.ndarray] | np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Pictures uint8 (n, s, s, 3), none twice and none of some others, and whose each is."""
    seen = {picture.tobytes() for picture in but}
    found, owners = [], []
    for part in parts:
        for picture in part.pictures:
            if (told := picture.tobytes()) not in seen:
                seen.add(told)
                found.append(picture)
                owners.append(part.artist)
    return np.stack(found) if found else np.zeros((0, 1, 1, 3), np.uint8), owners


def _panel(
    card: AttackCard,
    found: Extraction,
    generated: torch.Tensor,
    works: np.ndarray,
    held_out: np.ndarray,
    owners: Sequence[str],
) -> Panel:
    """The drawn pictures that come nearest to a work, beside that work."""
    order = found.distances.argsort(kind="stable")[:_SHOWN]
    places = found.nearest[order]
    return Panel(
        as_pictures(works[places]), {"drawn by the model": generated[torch.from_numpy(order)]},
        f"{card.name}: what comes nearest to a work", tuple(owners[i] for i in places),
    )  # fmt: skip
