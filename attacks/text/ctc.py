"""Connectionist temporal classification that can be differentiated twice.

Gradient matching needs the gradient of a gradient, which torch's own CTC loss has not got, and stacked models
need a loss that vmap can run. This one is made of nothing but gather, where and logsumexp, without a write in
place; it is slower than torch's, and training may use that.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import AttackError

BLANK = 0
"""The class between letters."""

_NEVER = -1e30
"""Log-probability of what cannot be: finite, as differences of infinities have no gradient."""


def ctc_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """-log P(word | logits) (b,): the sum over all alignments (Graves et al. 2006), in log space.

    The forward recursion (equations 6 and 7 there) over words with blanks between letters. It may run under
    `torch.func.vmap` and `grad`, once or twice. Where values cannot be looked at, as under `vmap`, a word
    that does not fit gives NaN, value and gradient.

    Args:
        logits: float (b, frames, classes), or log-probabilities: a softmax changes those no more. Class 0 is
            the blank.
        targets: int64 (b, 1 + most letters): the length, then letters in 1 to classes - 1, padded with 0.

    Raises:
        AttackError: Shapes do not fit, a letter is no class, or a word needs more frames than there are;
            names it.

    Example:
        >>> two_frames = torch.zeros(1, 2, 2)  # "a": a-blank, blank-a or a-a, out of four.
        >>> ctc_loss(two_frames, torch.tensor([[1, 1]])).exp().round(decimals=3)
        tensor([1.3330])
    """
    fits = _fitting(logits, targets)
    lengths, letters = targets[:, 0], targets[:, 1:]
    states = F.pad(torch.stack([letters, torch.zeros_like(letters)], dim=2).flatten(1), (1, 0))
    # A blank may be left out between two letters that differ.
    skips = F.pad((letters[:, 1:] != letters[:, :-1])[:, :, None].expand(-1, -1, 2).flatten(1), (3, 0))
    skips = skips & (states != BLANK)
    frames = logits.log_softmax(dim=2) * torch.where(fits, 1.0, torch.nan).to(logits.dtype)[:, None, None]
    emitted = frames.gather(2, states[:, None].expand(-1, frames.shape[1], -1))
    first = torch.arange(states.shape[1], device=logits.device) < 2
    alpha = torch.where(first, emitted[:, 0], _NEVER)
    for frame in range(1, frames.shape[1]):
        stayed, moved = alpha, F.pad(alpha[:, :-1], (1, 0), value=_NEVER)
        skipped = torch.where(skips, F.pad(alpha[:, :-2], (2, 0), value=_NEVER), _NEVER)
        alpha = torch.stack([stayed, moved, skipped]).logsumexp(dim=0) + emitted[:, frame]
    last = (2 * lengths)[:, None]
    ends = torch.cat([alpha.gather(1, last), alpha.gather(1, (last - 1).clamp(min=0))], dim=1)
    # A word of no letters ends in one way only.
    ends = torch.where((lengths[:, None] == 0) & (torch.arange(2, device=logits.device) == 1), _NEVER, ends)
    return -ends.logsumexp(dim=1)


def frames_needed(targets: Tensor) -> Tensor:
    """Frames that each word takes at least, int64 (b,): its letters, and a blank between equal neighbours.

    Args:
        targets: int64 (b, 1 + most letters), as for `ctc_loss`.

    Example:
        >>> frames_needed(torch.tensor([[3, 1, 1, 2], [2, 1, 2, 0]]))  # "aab" and "ab"
        tensor([4, 2])
    """
    lengths, letters = targets[:, 0], targets[:, 1:]
    inside = torch.arange(1, letters.shape[1], device=targets.device) < lengths[:, None]
    return lengths + ((letters[:, 1:] == letters[:, :-1]) & inside).sum(dim=1)


def _fitting(logits: Tensor, targets: Tensor) -> Tensor:
    """bool (b,): words that fit; an error where some do not and values can be looked at."""
    if logits.ndim != 3 or targets.ndim != 2 or len(logits) != len(targets) or targets.shape[1] < 2:
        raise AttackError(
            "CTC takes logits (b, frames, classes) and targets (b, 1 + letters), not "
            f"{tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    frames, classes, most = *logits.shape[1:], targets.shape[1] - 1
    if targets.is_floating_point() or frames < 1 or classes < 2:
        raise AttackError(f"CTC takes whole targets, not {targets.dtype}, one frame or more and two classes")
    lengths, letters = targets[:, 0], targets[:, 1:]
    inside = torch.arange(most, device=targets.device) < lengths[:, None]
    # Padding is gathered too, so that it must be a class.
    known = ((letters >= inside.long()) & (letters < classes)).all(dim=1) & (lengths >= 0) & (lengths <= most)
    if (wrong := _first(~known)) is not None:
        raise AttackError(
            f"word {wrong}: a length must be 0 to {most}, letters 1 to {classes - 1}, and the rest 0"
        )
    needed = frames_needed(targets)
    if (wrong := _first(needed > frames)) is not None:
        raise AttackError(
            f"word {wrong} needs {int(needed[wrong])} frames, for letters and blanks between equal ones, and "
            f"there are {frames}"
        )
    return known & (needed <= frames)


def _first(flags: Tensor) -> int | None:
    """The first that is set; None where none is, or where a transform does not let anybody look."""
    try:
        return int(flags.int().argmax()) if bool(flags.any()) else None
    except RuntimeError:
        return None
