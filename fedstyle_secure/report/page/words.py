"""The words of the report: verdicts, the glossary, and names of levels in plain English."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fedstyle_secure.audit.findings import Category, Finding, Level, Metric
from fedstyle_secure.report.page.pieces import Sign

SIGNS: Mapping[Sign, str] = {
    "alarm": "▲",
    "leaks": "●",
    "inconclusive": "?",
    "by design": "◆",
    "not broken by this attack": "○",
    "not run": "-",
    "met": "✓",
    "not met": "✗",
    "no policy": "·",
}
"""A sign beside the word, so that no verdict rests on colour."""

SHORT: Mapping[Sign, str] = {
    "alarm": "above its bound",
    "leaks": "leaks",
    "inconclusive": "inconclusive",
    "by design": "by design",
    "not broken by this attack": "not broken",
    "not run": "not run",
    "met": "met",
    "not met": "not met",
    "no policy": "nobody set one",
}
"""Verdicts as they fit a narrow column; of a policy, what came of it."""

MEANINGS: Mapping[Sign, str] = {
    "alarm": "the measurement lies above what the guarantee allows: a bug in the defence or in the attack.",
    "leaks": "the whole interval lies above what one gets without looking.",
    "inconclusive": "the attack failed even where nothing is defended, or there were too few trials: "
    "it says nothing about the defence.",
    "by design": "it succeeds at what something is published for, by artists who agreed to that and have not "
    "withdrawn. Without their consent it would be a leak.",
    "not broken by this attack": "this attack, with this budget, found no more than one gets without "
    "looking. Another attack may.",
    "not run": "nobody looked, or there was too little to tell. The reason is given.",
}

ORDER: tuple[Sign, ...] = (
    "alarm",
    "leaks",
    "inconclusive",
    "by design",
    "not broken by this attack",
    "not run",
)
"""Verdicts, the worst first."""


def worst(findings: Iterable[Finding]) -> Sign:
    """The worst verdict; `not run` where there is nothing."""
    found: set[Sign] = {"alarm" if finding.alarm else finding.verdict for finding in findings}
    return next((verdict for verdict in ORDER if verdict in found), "not run")


CATEGORIES: Mapping[Category, str] = {
    "membership inference": "Learning that a work or an artist was used.",
    "attribute inference": "Learning a property that was not given, such as the main style.",
    "exfiltration": "Getting personal data out that was to stay inside, such as who is behind a publication.",
    "regurgitation": "The model itself giving back what it was trained on, without an attacker's effort.",
    "model inversion": "Working from the finished model back to its training data.",
    "reconstruction": "Rebuilding a work from what was sent during training.",
}

METRIC_WORDS: Mapping[Metric, str] = {
    "membership AUC": "of one that was used and one that was not, how often the attack names the used one "
    "(one half is guessing)",
    "participation AUC": "of an artist who took part and one who did not, how often the attack names the one "
    "who did (one half is guessing)",
    "identification rate": "how often the attack picks the right one among all candidates",
    "near copies": "the share of what the model gives back that is nearly a copy of a work it was trained on",
    "style named rightly": "how often the attack names the right style",
    "main style named rightly": "how often the attack names an artist's main style",
    "artist named rightly": "how often the attack names the right artist",
    "letters named rightly": "the share of the letters that it names that are there",
}
"""What a figure in the unit interval counts, for whoever reads it for the first time."""

LEVEL_WORDS: Mapping[Level, str] = {
    "L0": "whether the artist took part",
    "L1": "whether an artwork was used",
    "L2": "which artist it is",
    "L3": "attributes of the style",
    "L4": "a recognisable artwork",
    "L5": "a near copy of an artwork",
}

CONSEQUENCES: Mapping[Level, str] = {
    "L0": "somebody who knows an artist's works can tell, better than by guessing, that it took part.",
    "L1": "somebody who already holds a work can tell, better than by guessing, that it was used; the work "
    "itself does not come out by this.",
    "L2": "an artist can be recognised where no name stands.",
    "L3": "a property of an artist's works becomes known.",
    "L4": "a work can be recognised in what was sent or published.",
    "L5": "a near copy of a work can be had.",
}
"""What follows for somebody whose works were used, where an attack of a level leaks."""

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
    "interval": (
        "confidence interval",
        "The range that holds the true figure with the stated confidence, given how few trials there were.",
    ),
    "control": (
        "positive control",
        "The same attack where nothing stands in its way: releases made anew without clip, noise and "
        "encryption, or a model that was made to know its records by heart. Where it fails there, its "
        "failure elsewhere proves nothing.",
    ),
    "delta": (
        "delta",
        "A small probability with which the guarantee of epsilon may fail. It has to be far below one over "
        "the number of artworks.",
    ),
    "epsilon": (
        "epsilon",
        "How much more likely any conclusion can become because one unit took part: by a factor of at most e "
        "to the power of epsilon. Smaller is stronger; infinite is no guarantee.",
    ),
    "gradient": (
        "gradient",
        "The direction in which a record would change the model. It can hold the record itself.",
    ),
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
