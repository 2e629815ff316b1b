"""A contact sheet: each target's truth beside what attacks and baselines made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from attacks.errors import AttackError
from attacks.metrics import PSNR_CAP, psnr
from attacks.ranges import whole

_MARGIN, _GAP, _ROW_GAP = 28, 14, 16
_INK, _QUIET, _LINE = (35, 35, 35), (120, 120, 120), (225, 225, 225)
_MOST = 40


def contact_sheet(
    truths: Tensor,
    columns: Mapping[str, Tensor],
    title: str,
    labels: Sequence[str] = (),
    cell: int = 128,
    picked: bool = False,
) -> Image.Image:
    """Draw a row a target: the truth, then a column each for attacks and baselines, with how near they came.

    Args:
        truths: (n, c, h, w) in [0, 1], c 1 or 3, n from 1 to 40.
        columns: Heading and pictures (n, c, h, w) in [0, 1], in the truths' order, left to right.
        title: One line over all, such as the attack, the setting and the seed.
        labels: A name for every row, or none.
        cell: Side in pixels that the longer side of a picture is brought to, >= 32.
        picked: The pictures were chosen from some that are there, not drawn: say whether each is the truth
            itself instead of a PSNR.

    Returns:
        An RGB image.

    Raises:
        AttackError: Shapes, numbers or ranges that do not fit.

    Example:
        >>> truth = torch.zeros(2, 3, 8, 8)
        >>> sheet = contact_sheet(truth, {"guess": truth + 0.5}, "Guesses", cell=32)
        >>> sheet.mode, sheet.width > 64
        ('RGB', True)
    """
    if truths.ndim != 4 or truths.shape[1] not in (1, 3) or not 1 <= len(truths) <= _MOST:
        raise AttackError(f"a sheet shows 1 to {_MOST} truths (n, 1 or 3, h, w), not {tuple(truths.shape)}")
    if labels and len(labels) != len(truths):
        raise AttackError(f"{len(labels)} labels for {len(truths)} rows")
    whole("cell", cell, 32)
    if "truth" in columns:
        raise AttackError("the column 'truth' is drawn from `truths`; name yours otherwise")
    values = {name: psnr(pictures, truths) for name, pictures in columns.items()}
    heading, small = ImageFont.load_default(size=13), ImageFont.load_default(size=12)
    large = ImageFont.load_default(size=16)
    height, width = truths.shape[2:]
    high, wide = (max(1, round(side * cell / max(height, width))) for side in (height, width))
    shown = {"truth": truths, **columns}
    pitch = max(wide, *(int(heading.getlength(name)) + 1 for name in shown)) + _GAP
    left = _MARGIN + (max(int(small.getlength(label)) for label in labels) + _GAP if labels else 0)
    top = _MARGIN + 62
    row_pitch = high + 20 + _ROW_GAP
    total = (
        max(left + pitch * len(shown) - _GAP, _MARGIN + int(large.getlength(title))) + _MARGIN,
        top + row_pitch * len(truths) - _ROW_GAP + _MARGIN,
    )
    sheet = Image.new("RGB", total, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN - 4), title, fill=_INK, font=large)
    draw.line((_MARGIN, top - 10, total[0] - _MARGIN, top - 10), fill=_LINE)
    for column, name in enumerate(shown):
        draw.text((left + column * pitch, top - 32), name, fill=_INK, font=heading)
    for row in range(len(truths)):
        y = top + row * row_pitch
        if labels:
            draw.text((_MARGIN, y + high // 2), labels[row], fill=_QUIET, font=small, anchor="lm")
        for column, name in enumerate(shown):
            x = left + column * pitch
            sheet.paste(_image(shown[name][row], (wide, high)), (x, y))
            draw.rectangle((x - 1, y - 1, x + wide, y + high), outline=_LINE)
            if name in values:
                draw.text(
                    (x, y + high + 4), _caption(float(values[name][row]), picked), fill=_QUIET, font=small
                )
    return sheet


def _caption(value: float, picked: bool) -> str:
    if picked:
        return "this very picture" if value >= PSNR_CAP else "another picture"
    return f"{value:.1f} dB" if value < PSNR_CAP else f"{PSNR_CAP:.0f}+ dB"


def _image(picture: Tensor, size: tuple[int, int]) -> Image.Image:
    """Whole multiples keep hard pixels hard; anything else is resampled smoothly."""
    levels = (picture.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    array = np.ascontiguousarray(levels.permute(1, 2, 0).expand(-1, -1, 3).numpy())
    image = Image.fromarray(array)
    whole = size[0] % image.width == 0 and size[1] % image.height == 0
    return image.resize(size, Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS)
