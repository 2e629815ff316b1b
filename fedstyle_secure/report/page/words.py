"""The words of the report: verdicts, the glossary, and names of levels in plain English."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fedstyle_secure.audit.findings import Category, Finding, Level
from fedstyle_secure.report.page.pieces import Sign

SIGNS: Mapping[Sign, str] = {
    "alarm": "▲",
    "leaks": "●",
    "inconclusive": "?",
    "not broken by this attack": "○",
    "not run": "-",
}
"""A sign beside the word, so that no verdict rests on colour."""

SHORT: Mapping[Sign, str] = {
    "alarm": "above its bound",
    "leaks": "leaks",
    "inconclusive": "inconclusive",
    "not broken by this attack": "not broken",
    "not run": "not run",
}
"""Verdicts as they fit a narrow column."""

MEANINGS: Mapping[Sign, str] = {
    "alarm": "the measurement lies above what the guarantee allows: a bug in the defence or in the attack.",
    "leaks": "the whole interval lies above what one gets without looking.",
    "inconclusive": "the attack failed even where nothing is defended, or there were too few trials: "
    "it says nothing about the defence.",
    "not broken by this attack": "this attack, with this budget, found no more than one gets without "
    "looking. Another attack may.",
    "not run": "nobody looked, or the pictures were too few to tell. The reason is given.",
}

ORDER: tuple[Sign, ...] = ("alarm", "leaks", "inconclusive", "not broken by this attack", "not run")
"""Verdicts, the worst first."""


def worst(findings: Iterable[Finding]) -> Sign:
    """The worst verdict; `not run` where there is nothing."""
    found: set[Sign] = {"alarm" if finding.alarm else finding.verdict for finding in findings}
    return next((verdict for verdict in ORDER if verdict in found), "not run")


CATEGORIES: Mapping[Category, str] = {
    "membership inference": "Learning that a picture or an artist was used.",
    "attribute inference": "Learning a property that was not given, such as the main style.",
    "exfiltration": "Getting personal data out that was to stay inside, such as who stands behind a card.",
    "regurgitation": "The model itself giving back what it was trained on, without an attacker's effort.",
    "model inversion": "Working from the finished model back to its training data.",
    "reconstruction": "Rebuilding a picture from what was sent during training.",
}

LEVEL_WORDS: Mapping[Level, str] = {
    "L0": "whether the artist took part",
    "L1": "whether an artwork was used",
    "L2": "which artist it is",
    "L3": "attributes of the style",
    "L4": "a recognisable artwork",
    "L5": "a near copy of an artwork",
}

GLOSSARY: Mapping[str, tuple[str, str]] = {
    "adjacency": (
        "adjacency",
        "Which two worlds the guarantee compares. Here: the same run with one unit added or removed.",
    ),
    "auc": (
        "AUC",
        "How well scores tell members from non-members: the probability that a random member scores higher. "
        "One half is guessing, one is perfect.",
    ),
    "baseline": (
        "blind baseline",
        "What one reaches without looking at the run at all: chance, or the same attack fed with something "
        "else.",
    ),
    "bound": (
        "bound",
        "The most that any attack can reach if the guarantee holds. A measurement above it is a bug.",
    ),
    "card": (
        "style card",
        "The noised mean of one artist's embeddings, published under the artist's name so that buyers find "
        "it.",
    ),
    "interval": (
        "confidence interval",
        "The range that holds the true figure with the stated confidence, given how few trials there were.",
    ),
    "control": (
        "positive control",
        "The same attack where nothing stands in its way: releases made anew without clip, noise and "
        "encryption, or a model that was made to know its pictures by heart. Where it fails there, its "
        "failure elsewhere proves nothing.",
    ),
    "delta": (
        "delta",
        "A small probability with which the guarantee of epsilon may fail. It has to be far below one over "
        "the number of artworks.",
    ),
    "embedding": (
        "embedding",
        "A list of numbers that the encoder makes of a picture; near means alike in style.",
    ),
    "epsilon": (
        "epsilon",
        "How much more likely any conclusion can become because one unit took part: by a factor of at most e "
        "to the power of epsilon. Smaller is stronger; infinite is no guarantee.",
    ),
    "gradient": (
        "gradient",
        "The direction in which a picture would change the model. It can hold the picture itself.",
    ),
    "prototype": ("prototype", "The mean embedding of a style, summed over several artists."),
    "tpr": (
        "TPR at an FPR",
        "The share of members that an attack names (true-positive rate) while it accuses no more than the "
        "stated share of non-members (false-positive rate).",
    ),
    "unit": (
        "unit of privacy",
        "What is added or removed in the comparison: one artwork, or one artist with the whole portfolio.",
    ),
}
"""Words of the field: name, and what it means."""

SWEEP_WORDS: Mapping[str, tuple[str, str]] = {
    "front": (
        "Pareto front",
        "The combinations that no other beats in leakage and utility at once. It is drawn through means, so "
        "chance has a part in who is on it.",
    ),
    "identified": (
        "pictures identified",
        "The share of pictures that an attack, given one update, ranks first among many candidates.",
    ),
    "run": ("run", "One training with one choice of all settings, with the audit that followed it."),
    "seed": (
        "seed",
        "The number that the order of data and all other chance but the noise follows from; where a program "
        "draws the pictures, those too. Runs with other seeds show how much a figure owes to chance; noise "
        "is drawn anew in every run whatever its seed.",
    ),
    "target": (
        "target epsilon",
        "The epsilon that a run's noise is chosen for. What a run states in the end is never above it.",
    ),
    "verdict": (
        "verdicts",
        "Leaks: the whole interval of an attack lies above what one reaches without looking. Not broken: "
        "this attack, with this budget, found no more than that; another may. Inconclusive: an attack fails "
        "even where nothing is defended, or had too few trials. Not run: nobody looked, for a stated reason.",
    ),
}
"""Words of a sweep that a run's report has no need of."""
