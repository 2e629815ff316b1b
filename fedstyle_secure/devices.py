"""Where is computed what no guarantee hangs on: learning from public pictures, an artist's own adapter or
recogniser, drawing. The CPU is the reference.

What artists release is computed on the CPU whatever is set here. There each record's row is the same to the
bit alone and in company (`privacy.alone`), and what a clip bounds is what was computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from fedstyle_secure.errors import ConfigError

CPU = torch.device("cpu")


def device_named(name: str) -> torch.device:
    """The device on this machine that is called cpu, cuda or mps; "auto" is cuda where torch finds it, else
    mps, else the CPU.

    Raises:
        ConfigError: Torch finds no such device here; says what there is.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    here = [one for one, there in found.items() if there]
    if name == "auto":
        return torch.device(here[0])
    if name not in here:
        raise ConfigError(
            f"device {name!r}: torch finds none on this machine; valid: auto, {', '.join(here)}"
        )
    return torch.device(name)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's tensors lie; the CPU where it has none."""
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return CPU


@contextmanager
def placed(module: nn.Module, device: torch.device) -> Iterator[None]:
    """A module on a device inside, and on the CPU after."""
    module.to(device)
    try:
        yield
    finally:
        module.cpu()
