"""What a sweep's report does not say, what it was made from, and the words that it uses."""

from __future__ import annotations

from collections.abc import Mapping

from fedstyle_secure.report.page.pieces import Block, Bullets, Definitions, Line, Para, Piece, Ref, Table
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.report.page.words import GLOSSARY
from fedstyle_secure.report.sweep.facts import SweepFacts
from fedstyle_secure.sweep.grid import SEED

_FEW = 5
"""Below this many seeds, their spread is hardly known."""

_WORDS: Mapping[str, tuple[str, str]] = {
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

_LEFT_OUT = ("gradient", "tpr", "embedding", "adjacency")
"""Words of a run's report that a sweep's does not use."""


def limits(facts: SweepFacts) -> list[Block]:
    """What nobody may read out of this report."""
    figure = facts.sources.figure
    items: list[Line] = []
    seeds = max((len(one.done) for one in facts.combinations), default=0)
    if seeds < _FEW:
        many = next((one for one in facts.combinations if len(one.done) == seeds and seeds), None)
        count: Piece = figure(facts.at(many.done, "cell"), "whole", "count") if many else "none"
        items.append(
            [
                "Seeds are few: at most ",
                count,
                " finished for one combination of settings. Smallest and "
                "largest of so few say little about the next seed, and small differences between rows may be "
                "chance.",
            ]
        )
    items.append([_dependence(facts)])
    if facts.asked is not None:
        items.append(
            [
                "The largest AUC of several attacks lies above one half by chance even where none of them "
                "works, and the worst of several seeds still more so. Compare it with its interval and with "
                "what is reached without looking."
            ]
        )
        items.append(
            [
                "Every interval holds by itself. There are ",
                figure("report.json#/chance/intervals", "whole"),
                " of them in this sweep, and chance alone puts up to about ",
                figure("report.json#/chance/above", "short"),
                " wholly above the true figure: what “leaks” in a single run of several may be one of these.",
            ]
        )
        items.append(
            [
                "The audits had the budget that is stated. “Not broken” means that these attacks did no "
                "better than not looking; stronger ones may."
            ]
        )
    items.append(
        [
            "A combination that was picked because it looks best here looks better than it is. What it is "
            "worth takes a fresh run with another seed."
        ]
    )
    items.append(
        [
            "Utility was measured on test pictures on the experimenter's side, outside the guarantee. Every "
            "run has ledgers of its own, as a sweep tries out what one run would cost; with real artists' "
            "pictures all of them would add up."
        ]
    )
    if facts.embedded:
        items.append(
            [
                "The pictures are the embedded procedural gallery, drawn by a program. How well styles are "
                "told apart and what leaks of them may differ for artists' real pictures; repeat the sweep "
                "on those before relying on it."
            ]
        )
    items.append(
        [
            "This is evidence against the executed attacks under the stated conditions only. It is no "
            "finding of anonymity, and no statement on the lawfulness of anything."
        ]
    )
    return [Bullets(items)]


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
    text, figure, own = facts.sources.text, facts.sources.figure, facts.own
    first = {row["run.seed"]: i for i, row in reversed(list(enumerate(facts.rows)))}
    seeds: list[Piece] = []
    for i in sorted(first.values()):
        seeds += [", "] * bool(seeds) + [figure(facts.at([i], "run.seed"), "whole")]
    identity: list[list[Line]] = [
        [["Sweep"], [text("report.json#/sweep") if own["sweep"] else "unnamed"]],
        [["Began"], [text("sweep.json#/began")]],
        [["Took in all, seconds"], [figure("sweep.json#/wall_s", "seconds")]],
        [["In so many goes"], [figure("sweep.json#/sessions", "whole")]],
        [["Sources of the program, by ", Ref("SHA-256", "name")], [text("sweep.json#/code")]],
        [["What a seed sets"], [text("sweep.json#/seeds")]],
        [["Runs at a time"], [figure("sweep.json#/processes", "whole")]],
        [["Seeds of the runs"], seeds],
    ]
    varied = {key for axis in facts.axes for key in axis.keys}
    if facts.asked is not None and "audit.seed" not in varied:
        identity.append([["Seed of the audits"], [figure("grid.toml#/sweep/audit/seed", "whole")]])
    identity += [
        [["Not used"], [text(f"sweep.json#/left_over/{key}")]] for key in facts.sweep.about["left_over"]
    ]
    hashes: list[list[Line]] = [
        [[Ref(name, "name")], [text(f"report.json#/hashes/{escape(name)}")]] for name in own["hashes"]
    ]
    return [
        Table("identity", ["Which sweep."], [["What"], ["Value"]], identity, wide=frozenset({1})),
        Table(
            "hashes", ["Files, by ", Ref("SHA-256", "name"), "."], [["File"], ["Hash"]], hashes,
            wide=frozenset({1}),
        ),
        Table("versions", ["Software."], [["Package"], ["Version"]], _versions(facts)),
        Para(_checked(facts), "note"),
    ]  # fmt: skip


def _versions(facts: SweepFacts) -> list[list[Line]]:
    text, own = facts.sources.text, facts.own
    rows: list[list[Line]] = []
    for name, versions in own["packages"].items():
        said: list[Piece] = []
        for i in range(len(versions)):
            said += [", "] * bool(i) + [text(f"report.json#/packages/{escape(name)}/{i}")]
        rows.append([[Ref(name, "name"), ", of the runs"], said])
    rows += [
        [[Ref(name, "name"), ", for tables and plots"], [text(f"sweep.json#/versions/{escape(name)}")]]
        for name in facts.sweep.about["versions"]
    ]
    return rows + [
        [[Ref(name, "name"), ", for this report"], [text(f"report.json#/made_with/{escape(name)}")]]
        for name in own["made_with"]
    ]


def _checked(facts: SweepFacts) -> Line:
    line: list[Piece] = [
        "Before this page was written, tables and plots were compared with the hashes in ",
        Ref("sweep.json", "name"), "; of ", facts.sources.figure("report.json#/checked/runs", "whole"),
        " finished runs every file with its hash, the ledgers with the stated epsilons, and the figures with "
        "their row of the table. ",
    ]  # fmt: skip
    return [
        *line,
        "All ledgers of all runs were added up again, and cost what is said above."
        if facts.own["checked"]["tuning_cost"]
        else "Ledgers of some runs are not there or cannot be read, so what all runs cost together was not "
        "added up again.",
    ]


def glossary() -> list[Block]:
    """The words of the field, and those of a sweep, by their names."""
    words = {key: words for key, words in GLOSSARY.items() if key not in _LEFT_OUT} | dict(_WORDS)
    rows = sorted(words.items(), key=lambda item: item[1][0].lower())
    return [Definitions([(key, [name], [meaning]) for key, (name, meaning) in rows])]
