"""A backbone's weights: a file on this machine, known by its SHA-256, read without running what is in it."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import torch
from torch import Tensor

from fedstyle_secure.errors import ConfigError

_WRAPPERS = ("model_state_dict", "state_dict", "model")
"""Names under which checkpoints keep the weights beside other things."""


def read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a file by name.

    The bytes that are loaded are those that were hashed: the path is read once.

    Args:
        path: A safetensors file, by its ending, or one that `torch.save` wrote.
        sha256: 64 hexadecimal digits.

    Raises:
        ConfigError: The file cannot be read, is another one, or holds something else than tensors.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"style.weights = {str(path)!r} cannot be read: {error.strerror}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ConfigError(
            f"style.weights = {str(path)!r} has the SHA-256 {found}, and style.weights_sha256 says {sha256}: "
            "name the file that was meant, or its own hash if you trust where it comes from"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load

            loaded = load(data)
        else:
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        # Whatever a parser of foreign bytes raises; its first line says what.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"style.weights = {str(path)!r} does not hold plain tensors ({reason}); valid: a safetensors "
            "file by its ending, or a state dict that `torch.load(..., weights_only=True)` reads"
        ) from None
    return _tensors(loaded, path)


def _tensors(loaded: object, path: Path) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
            break
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in loaded.items()
    ):
        raise ConfigError(f"style.weights = {str(path)!r} holds something else than tensors by name")
    # Weights that were trained on several processors at once.
    return {name.removeprefix("module."): tensor for name, tensor in loaded.items()}


def require_named(backbone: str, weights: str, sha256: str) -> None:
    """Check the settings that name a backbone, before anything is read.

    Raises:
        ConfigError: One is missing or malformed; names it, and what would be valid.
    """
    given = {"style.backbone": backbone, "style.weights": weights, "style.weights_sha256": sha256}
    missing = [key for key, value in given.items() if not value]
    if missing:
        raise ConfigError(
            f"{missing[0]} is empty, and style.encoder = 'backbone' needs {', '.join(given)} together: "
            "weights are a file on the platform's machine, known by its hash, and are never downloaded"
        )
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ConfigError(
            f"style.weights_sha256 = {sha256!r}: valid are 64 hexadecimal digits in lower case, as "
            "`sha256sum FILE` prints them"
        )
    if not Path(weights).is_file():
        raise ConfigError(f"style.weights = {weights!r} is no file")
