"""From the shared recogniser to an artist's own."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from fedstyle_secure.devices import placed
from fedstyle_secure.systems.text.recogniser.fitting import fit
from fedstyle_secure.systems.text.recogniser.network import Recogniser
from fedstyle_secure.systems.text.settings import TextSection

_RATE = 1e-3


def trained_on(
    model: Recogniser,
    settings: TextSection,
    crops: Tensor,
    targets: Tensor,
    device: torch.device,
) -> Recogniser:
    """The recogniser of an artist who trains the shared one on for itself.

    Args:
        model: The shared one; stays as it is.
        settings: Which weights, and for how long.
        crops: The artist's own, float32 (n, 1, 32, 128).
        targets: int64 (n, ...).
        device: Where it is trained.
    """
    own = copy.deepcopy(model)
    for name, parameter in own.named_parameters():
        parameter.requires_grad_(settings.personal == "all" or name.startswith("letters."))
    with placed(own, device):
        fit(own, crops.to(device), targets.to(device), settings.personal_epochs, _RATE, seed=0)
    return own
