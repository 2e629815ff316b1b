"""Letters as a pen writes them: the middle of every stroke of the 62 ASCII letters and digits.

A table of our own, so that a hand needs no font. A stroke is points `x,y` and arcs `x,y,rx,ry,from,to`
(degrees, against the clock), joined by straight lines; `/` parts strokes. Heights: of capitals and digits 0
is the baseline and 1 their height; of small letters 1 is the height of an x, 2 the top of a b, -1 the foot of
a p. Widths are in units of the same height (1 = that of capitals, or of an x).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

_STEP = 22.0
"""Most degrees between two points of an arc."""

_WRITTEN: Mapping[str, str] = {
    "a": ".42,.5,.42,.5,0,360 / .84,1 .84,0",
    "b": "0,2 0,0 / .42,.5,.42,.5,180,-180",
    "c": ".45,.5,.45,.5,48,312",
    "d": ".84,2 .84,0 / .42,.5,.42,.5,0,360",
    "e": ".02,.53 .88,.53 .45,.5,.45,.5,4,316",
    "f": ".5,1.6,.27,.4,35,180 .23,0 / 0,1 .55,1",
    "g": ".42,.5,.42,.5,0,360 / .84,1 .84,-.5 .42,-.5,.42,.5,0,-150",
    "h": "0,2 0,0 / 0,.55 .38,.55,.38,.45,180,0 .76,0",
    "i": ".05,1 .05,0 / .05,1.55,.03,.06,0,360",
    "j": ".36,1 .36,-.5 .08,-.5,.28,.5,0,-110 / .36,1.55,.03,.06,0,360",
    "k": "0,2 0,0 / .68,1 .02,.38 / .26,.6 .74,0",
    "l": ".05,2 .05,0",
    "m": "0,1 0,0 / 0,.6 .31,.6,.31,.4,180,0 .62,0 / .62,.6 .93,.6,.31,.4,180,0 1.24,0",
    "n": "0,1 0,0 / 0,.55 .38,.55,.38,.45,180,0 .76,0",
    "o": ".46,.5,.46,.5,90,450",
    "p": "0,1 0,-1 / .42,.5,.42,.5,180,-180",
    "q": ".84,1 .84,-1 / .42,.5,.42,.5,0,360",
    "r": "0,1 0,0 / 0,.5 .38,.55,.38,.45,180,50",
    "s": ".36,.76,.33,.24,30,270 .36,.26,.36,.26,90,-150",
    "t": ".25,1.6 .25,.3 .53,.3,.28,.3,180,305 / 0,1 .6,1",
    "u": "0,1 0,.45 .38,.45,.38,.45,180,360 .76,1 / .76,1 .76,0",
    "v": "0,1 .4,0 .8,1",
    "w": "0,1 .31,0 .62,.95 .93,0 1.24,1",
    "x": "0,1 .76,0 / .76,1 0,0",
    "y": "0,1 .41,0 / .8,1 .2,-.8 -.02,-1",
    "z": "0,1 .72,1 0,0 .75,0",
    "A": "0,0 .39,1 .78,0 / .14,.36 .64,.36",
    "B": "0,0 0,1 / 0,1 .3,1 .3,.76,.26,.24,90,-90 0,.52 / 0,.52 .34,.52 .34,.26,.3,.26,90,-90 0,0",
    "C": ".43,.5,.43,.5,47,313",
    "D": "0,0 0,1 / 0,1 .27,1 .27,.5,.45,.5,90,-90 0,0",
    "E": ".55,1 0,1 0,0 .58,0 / 0,.52 .48,.52",
    "F": ".56,1 0,1 0,0 / 0,.5 .47,.5",
    "G": ".43,.5,.43,.5,47,326 .79,.45 .46,.45",
    "H": "0,0 0,1 / .68,0 .68,1 / 0,.51 .68,.51",
    "I": ".2,0 .2,1 / 0,0 .4,0 / 0,1 .4,1",
    "J": ".48,1 .48,.28 .24,.28,.24,.28,0,-160",
    "K": "0,0 0,1 / .62,1 .02,.4 / .2,.6 .66,0",
    "L": "0,1 0,0 .54,0",
    "M": "0,0 .05,1 .43,.2 .81,1 .86,0",
    "N": "0,0 0,1 .68,0 .68,1",
    "O": ".46,.5,.46,.5,90,450",
    "P": "0,0 0,1 / 0,1 .3,1 .3,.74,.29,.26,90,-90 0,.48",
    "Q": ".46,.5,.46,.5,90,450 / .52,.28 .92,-.1",
    "R": "0,0 0,1 / 0,1 .3,1 .3,.74,.28,.26,90,-90 0,.48 / .28,.48 .64,0",
    "S": ".33,.75,.3,.25,35,270 .33,.25,.33,.25,90,-145",
    "T": "0,1 .72,1 / .36,1 .36,0",
    "U": "0,1 0,.36 .34,.36,.34,.36,180,360 .68,1",
    "V": "0,1 .37,0 .74,1",
    "W": "0,1 .27,0 .54,.9 .81,0 1.08,1",
    "X": "0,0 .68,1 / 0,1 .68,0",
    "Y": "0,1 .35,.48 .7,1 / .35,.48 .35,0",
    "Z": ".02,1 .66,1 0,0 .68,0",
    "0": ".3,.5,.3,.5,90,450",
    "1": ".02,.78 .26,1 .26,0",
    "2": ".29,.71,.28,.29,165,-30 0,0 .6,0",
    "3": ".27,.76,.25,.24,150,-90 .27,.26,.29,.26,90,-150",
    "4": ".46,0 .46,1 0,.3 .62,.3",
    "5": ".52,1 .1,1 .06,.53 .27,.31,.29,.31,135,-150",
    "6": ".5,.3,.5,.7,85,180 .3,.3,.3,.3,180,540",
    "7": "0,1 .58,1 .2,0",
    "8": ".3,.76,.25,.24,-90,270 .3,.26,.3,.26,90,-270",
    "9": ".1,.7,.5,.7,265,360 .3,.7,.3,.3,0,360",
}

OTHER_FORMS: Mapping[str, str] = {
    "a": ".39,.64,.36,.36,150,0 .75,0 / .75,.58 .37,.58 .37,.29,.34,.29,90,270 .75,.16",
    "l": ".05,2 .05,.32 .31,.32,.26,.32,180,280",
    "q": ".84,1 .84,-1 1.04,-.75 / .42,.5,.42,.5,0,360",
    "t": ".3,1.6 .3,0 / 0,1 .6,1",
    "u": "0,1 0,.45 .38,.45,.38,.45,180,360 .76,1",
    "y": "0,1 0,.45 .38,.45,.38,.45,180,360 .76,1 / .76,1 .76,-.5 .38,-.5,.38,.5,0,-150",
    "1": ".02,.78 .26,1 .26,0 / .04,0 .48,0",
    "4": ".5,.98 .0,.36 .62,.36 / .44,.62 .44,0",
    "7": "0,1 .58,1 .2,0 / .12,.5 .54,.5",
    "G": ".43,.5,.43,.5,47,360 .86,.48 .5,.48 / .86,.48 .86,0",
    "M": "0,0 0,1 .42,.2 .84,1 .84,0",
}  # fmt: skip
"""How some hands write some letters instead."""

CHARACTERS = "".join(_WRITTEN)
"""What a label is made of."""


def is_small(character: str) -> bool:
    """Whether heights are in units of the height of an x."""
    return character.islower()


@cache
def strokes(character: str, other_form: bool, roundness: float) -> tuple[np.ndarray, ...]:
    """The strokes of a character.

    Args:
        character: One of `CHARACTERS`.
        other_form: Whether it is written the other way, where there is one.
        roundness: Power of the arcs' curve: 2 is an ellipse, more is squarer.

    Returns:
        float64 (n, 2) a stroke, n >= 2, read-only.
    """
    written = OTHER_FORMS.get(character, _WRITTEN[character]) if other_form else _WRITTEN[character]
    return tuple(_stroke(part.split(), roundness) for part in written.split(" / "))


def _stroke(items: list[str], roundness: float) -> np.ndarray:
    points: list[np.ndarray] = []
    for item in items:
        numbers = [float(number) for number in item.split(",")]
        points.append(_arc(numbers, roundness) if len(numbers) == 6 else np.array([numbers]))
    found = np.concatenate(points)
    apart = np.abs(np.diff(found, axis=0)).max(axis=1) > 1e-6
    found = np.array(found[np.concatenate([[True], apart])])
    found.flags.writeable = False
    return found


def _arc(numbers: list[float], roundness: float) -> np.ndarray:
    x, y, rx, ry, start, end = numbers
    angles = np.radians(np.linspace(start, end, 1 + int(np.ceil(abs(end - start) / _STEP))))
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    curve: np.ndarray = np.sign(unit) * np.abs(unit) ** (2.0 / roundness)
    curve *= [rx, ry]
    curve += [x, y]
    return curve
