"""A finished run for other programs: the recogniser in ONNX, with all that one must know to read with it."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedstyle_secure.errors import ConfigError, RunError
from fedstyle_secure.files import write_bytes
from fedstyle_secure.systems.text.reading import Reader
from fedstyle_secure.systems.text.recogniser.charset import BLANK, Charset
from fedstyle_secure.systems.text.recogniser.network import HEIGHT, WIDTH, Recogniser
from fedstyle_secure.version import __version__

INPUT, OUTPUT = "crops", "scores"

CLOSE = 1e-4
"""How far a score may lie from torch's."""

PREPROCESSING = (
    f"RGB picture of one word. Resize (Lanczos) to a height of {HEIGHT} pixels with its proportions, to a "
    f"width of {WIDTH} where it were wider. Put it at the left of {HEIGHT} x {WIDTH} pixels; the rest has "
    "the median colour of its first row, last row and last column. grey = mean of R, G, B in 0..255. low, "
    "middle, high = percentiles 2, 50, 98 of grey. ink = (grey - low) / max(high - low, 8); ink = 1 - ink "
    "where middle - low > high - middle. crops = 2 * clip(ink, 0, 1) - 1, float32 (n, 1, height, width)."
)
"""What becomes of a picture before the model sees it: `crops.line_of_text` and `network.prepare` in words."""

DECODING = (
    f"scores are log probabilities, float32 (n, frames, classes). Class {BLANK} is no letter, class k is the "
    "k-th letter of charset. Take the likeliest class of each frame, repeats as one, and leave out class "
    f"{BLANK} (CTC)."
)

_TOOLS = ("onnx", "onnxscript")


def export(reader: Reader, path: Path, *, force: bool = False) -> int:
    """Write a recogniser as an ONNX file, whole or not at all.

    The file takes `crops`, float32 (n, 1, 32, 128) in [-1, 1], and gives `scores`, log probabilities, float32
    (n, 32, classes); n is free. Hashed weights are written out as plain ones. Its `metadata_props` tell
    charset, preprocessing and decoding; no path and no source line of this machine is in it. Before it is
    written, ONNX's own reference implementation must give torch's scores to `CLOSE`.

    Args:
        reader: Of a finished run; its model is left as it is.
        path: Where.
        force: Whether a file that is there is overwritten.

    Returns:
        Bytes of the file.

    Raises:
        ConfigError: The extra `onnx` is not installed.
        RunError: There is such a file and `force` is False, or the scores are others.
        OSError: The file cannot be written.
    """
    if path.exists() and not force:
        raise RunError(f"{path}: is there already; --force overwrites it")
    for tool in _TOOLS:
        try:
            importlib.import_module(tool)
        except ImportError:
            raise ConfigError('export needs an extra: pip install "fedstyle-secure[onnx]"') from None
    scorer = _Scorer(_plain(reader)).eval()
    made = _traced(scorer)
    _tell(made, reader.system.charset)
    _compare(made, scorer)
    data: bytes = made.SerializeToString(deterministic=True)
    write_bytes(path, data)
    return len(data)


class _Scorer(nn.Module):
    """Crops to log probabilities."""

    def __init__(self, model: Recogniser) -> None:
        super().__init__()
        self.model = model

    def forward(self, crops: Tensor) -> Tensor:
        scores: Tensor = self.model(crops).log_softmax(dim=-1)
        return scores


def _plain(reader: Reader) -> Recogniser:
    """A recogniser of the same function whose weights are tensors and nothing else."""
    plain = Recogniser(reader.system.charset.classes)
    weights = {}
    for name in plain.state_dict():
        place, _, last = name.rpartition(".")
        # A hashed weight is an attribute like any other: what its numbers stand for.
        weights[name] = getattr(reader.model.get_submodule(place), last).detach()
    plain.load_state_dict(weights)
    return plain


def _traced(scorer: _Scorer) -> Any:
    """As an onnx.ModelProto."""
    # Of two crops, as torch takes a number of one for fixed.
    example = torch.zeros(2, 1, HEIGHT, WIDTH)
    with _quiet():
        program = torch.onnx.export(
            scorer,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"crops": {0: torch.export.Dim("n")}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _tell(made: Any, charset: Charset) -> None:
    """Say what the file is, and take out where and from which lines it was made."""
    del made.metadata_props[:], made.graph.metadata_props[:]
    graph = made.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    made.producer_name, made.producer_version = "fedstyle_secure", __version__
    told = {
        "charset": charset.letters,
        "case": "ignored" if charset.folded else "kept",
        "preprocessing": PREPROCESSING,
        "decoding": DECODING,
    }
    for key, value in told.items():
        made.metadata_props.add(key=key, value=value)


def _compare(made: Any, scorer: _Scorer) -> None:
    from onnx.reference import ReferenceEvaluator

    crops = torch.rand(3, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        wanted = scorer(crops).numpy()
    reference: Any = ReferenceEvaluator(made)
    (found,) = reference.run([OUTPUT], {INPUT: crops.numpy()})
    if found.shape != wanted.shape or not np.abs(found - wanted).max() <= CLOSE:
        raise RunError("export: the ONNX model gives other scores than torch does; nothing was written")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch tells about itself while it exports: its deprecations, libraries it looks for."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
