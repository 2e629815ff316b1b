"""What a sweep's report does not say, what it was made from, and the words that it uses."""

from __future__ import annotations

from fedstyle_secure.report.page.pieces import Block, Bullets, Definitions, Line, Para, Ref, Table
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.report.page.words import GLOSSARY, SWEEP_WORDS
from fedstyle_secure.report.run.closing import EVIDENCE, cited, hashes
from fedstyle_secure.report.sweep.facts import SweepFacts
from fedstyle_secure.sweep.grid import SEED

_FEW = 5
"""Below this many seeds, their spread is hardly known."""

_LEFT_OUT = ("gradient", "tpr", "embedding", "adjacency")
"""Words of a run's report that a sweep's does not use."""

_ALWAYS = (
    "A combination that was picked because it looks best here looks better than it is. What it is worth "
    "takes a fresh run with another seed.",
    "Utility was measured on test pictures on the experimenter's side, outside the guarantee. Every run has "
    "ledgers of its own, as a sweep tries out what one run would cost; with real artists' pictures all of "
    "them would add up.",
)
"""What holds of every sweep."""

_AUDITED = (
    "The largest AUC of several attacks lies above one half by chance even where none of them works, and the "
    "worst of several seeds still more so. Compare it with its interval and with what is reached without "
    "looking.",
    "Every interval holds by itself. There are {report.json#/chance/intervals:whole} of them in this sweep, "
    "and chance alone puts up to about {report.json#/chance/above:short} wholly above the true figure: what "
    "“leaks” in a single run of several may be one of these.",
    "The audits had the budget that is stated. “Not broken” means that these attacks did no better than not "
    "looking; stronger ones may.",
)
"""What holds where the runs were audited."""

_SEALED = (
    "Where sums are encrypted and privacy.noise is not “own”, artists add shares of one noise to them: "
    "epsilon then holds against everybody but platform and opener together, and colluding artists up to "
    "privacy.colluders are subtracted. Where each artist adds all of its noise, epsilon holds against those "
    "two as well: the same epsilon is not the same promise."
)
"""What holds where sums are encrypted and have noise."""

_EMBEDDED = (
    "The pictures are the embedded procedural gallery, drawn by a program. How well styles are told apart "
    "and what leaks of them may differ for artists' real pictures; repeat the sweep on those before relying "
    "on it."
)


def limits(facts: SweepFacts) -> list[Block]:
    """What nobody may read out of this report."""
    audited = _AUDITED if facts.asked is not None else ()
    embedded = [_EMBEDDED] if facts.embedded else []
    sealed = [_SEALED] if any(r["secure_sum.enabled"] and r["privacy.dp"] == "on" for r in facts.rows) else []
    texts = [_dependence(facts), *audited, *sealed, *_ALWAYS, *embedded, EVIDENCE]
    return [Bullets([*_few_seeds(facts), *(facts.say(text) for text in texts)])]


def _few_seeds(facts: SweepFacts) -> list[Line]:
    most = max(facts.combinations, key=lambda one: len(one.done), default=None)
    if most is not None and len(most.done) >= _FEW:
        return []
    told = (
        "Seeds are few: at most {count} finished for one combination of settings. Smallest and largest of so "
        "few say little about the next seed, and small differences between rows may be chance."
    )
    if most is None or not most.done:
        return [facts.say(told, count="none")]
    return [facts.say(told, count=facts.say("{done:whole count}", done=facts.at(most.done, "cell")))]


def _dependence(facts: SweepFacts) -> str:
    """What the spread over seeds is the spread of."""
    if "gallery.seed" in {key for axis in facts.axes if axis.name == SEED for key in axis.keys}:
        return (
            "Runs of one seed share their pictures, so they are not independent of each other. "
            "Seeds draw pictures of one kind: their spread says nothing of other kinds."
        )
    return (
        "All seeds use the same pictures and the same split into training and test, so they are not "
        "independent: their spread is that of training, noise and attacks alone, and other pictures may give "
        "other figures."
    )


def provenance(facts: SweepFacts) -> list[Block]:
    """Hashes, versions, seeds."""
    first = {row["run.seed"]: i for i, row in reversed(list(enumerate(facts.rows)))}
    seeds = (facts.at([i], "run.seed") for i in sorted(first.values()))
    identity = facts.cells(
        f"Sweep | {'{report.json#/sweep:text}' if facts.own['sweep'] else 'unnamed'}",
        "Began | {began:text}",
        "Took in all, seconds | {wall_s:seconds}",
        "In so many goes | {sessions:whole}",
        "Sources of the program, by {sha} | {code:text}",
        "What a seed sets | {seeds:text}",
        "Runs at a time | {processes:whole}",
        "Seeds of the runs | {seeds_of_runs}",
        at="sweep.json#",
        sha=Ref("SHA-256", "name"),
        seeds_of_runs=listed(facts.sources.figure(seed, "whole") for seed in seeds),
    )
    varied = {key for axis in facts.axes for key in axis.keys}
    if facts.asked is not None and "audit.seed" not in varied:
        identity += facts.cells("Seed of the audits | {grid.toml#/sweep/audit/seed:whole}")
    for key in facts.sweep.about["left_over"]:
        identity += facts.cells("Not used | {left:text}", left=f"sweep.json#/left_over/{escape(key)}")
    return [
        Table("identity", ["Which sweep."], [["What"], ["Value"]], identity, wide=frozenset({1})),
        hashes(facts, facts.own["hashes"]),
        Table("versions", ["Software."], [["Package"], ["Version"]], _versions(facts)),
        Para(_checked(facts), "note"),
    ]


def _versions(facts: SweepFacts) -> list[list[Line]]:
    rows = []
    for name, versions in facts.own["packages"].items():
        places = (f"report.json#/packages/{escape(name)}/{i}" for i in range(len(versions)))
        found = listed(facts.sources.text(place) for place in places)
        rows.append(facts.row("{name}, of the runs | {found}", name=Ref(name, "name"), found=found))
    return [
        *rows,
        *cited(facts, "sweep.json#/versions", facts.sweep.about["versions"], ", for tables and plots"),
        *cited(facts, "report.json#/made_with", facts.own["made_with"], ", for this report"),
    ]


def _checked(facts: SweepFacts) -> Line:
    ledgers = (
        "All ledgers of all runs were added up again, and cost what is said above."
        if facts.own["checked"]["tuning_cost"]
        else "Ledgers of some runs are not there or cannot be read, so what all runs cost together was not "
        "added up again."
    )
    return facts.say(
        "Before this page was written, tables and plots were compared with the hashes in {file}; of "
        "{report.json#/checked/runs:whole} finished runs every file with its hash, the ledgers with the "
        "stated epsilons, and the figures with their row of the table. {ledgers}",
        file=Ref("sweep.json", "name"),
        ledgers=ledgers,
    )


def glossary() -> list[Block]:
    """The words of the field, and those of a sweep, by their names."""
    words = {key: words for key, words in GLOSSARY.items() if key not in _LEFT_OUT} | dict(SWEEP_WORDS)
    rows = sorted(words.items(), key=lambda item: item[1][0].lower())
    return [Definitions([(key, [name], [meaning]) for key, (name, meaning) in rows])]
