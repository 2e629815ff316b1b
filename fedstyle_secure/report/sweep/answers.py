"""What a sweep was asked, and the answer: what privacy costs, what still leaks, what choosing costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedstyle_secure.report.page.pieces import (
    Answers,
    Block,
    Break,
    Line,
    Muted,
    Para,
    Piece,
    Strong,
    Table,
    Term,
)
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.report.sweep.facts import Combination, Level, SweepFacts, auc_columns
from fedstyle_secure.report.sweep.leaks import finding_at, leaking, of_runs, told, verdict_line
from fedstyle_secure.report.sweep.points import NO, epsilon, largest, name_of, over_seeds
from fedstyle_secure.sweep.grid import SEED, Axis
from fedstyle_secure.sweep.marks import ENCRYPTION
from fedstyle_secure.sweep.table import AUC, RATE, VIEWS

_MOST_LINES = 4
"""Columns of the small table of utility; more lines than that are in the table of points alone."""

_SEEN = {"platform": "the platform's view", "worst": "the worst of all views"}
_SHORT = {"platform": "platform", "worst": "worst view"}


def asked(facts: SweepFacts) -> list[Block]:
    """What was tried, in a paragraph."""
    figure, rows = facts.sources.figure, range(len(facts.rows))
    line: list[Piece] = [
        figure(facts.at(rows, "cell"), "whole", "count"),
        " runs of one training were planned, which differ in: ",
    ]
    for number, axis in enumerate(facts.axes):
        line += ["; "] * bool(number) + [facts.sources.text(f"report.json#/axes/{number}"), " ("]
        first = {facts.rows[i][f"axis.{axis.name}"]: i for i in reversed(rows)}
        places = [first[point.name] for point in axis.points]
        for i in places:
            line += [", "] * (i != places[0]) + [facts.sources.text(facts.at([i], f"axis.{axis.name}"))]
        line += [")"]
    line = line if facts.axes else [line[0], " run was planned, and nothing varies"]
    line += [". Finished: ", figure("report.json#/checked/runs", "whole"), ". "]
    if facts.asked is None:
        line += [Strong("No run was audited"), ", so nothing measured says what leaks. "]
    else:
        line += [
            "Each was attacked as every adversary could (audit preset ",
            *audited_as(facts),
            ")",
            *_attacked(facts),
            ". ",
        ]
    if any(axis.name == SEED for axis in facts.axes):
        line += [facts.sources.text("sweep.json#/seeds"), " "]
    line += ["Asked: what does privacy cost in use, and what does it keep from whom?"]
    return [Para(line, "lead"), Para(_guarantees(), "note")]


def audited_as(facts: SweepFacts) -> Line:
    """The audits' presets and what was changed in them, as the audits say themselves."""
    if not facts.audits:
        return ["“", facts.sources.text("grid.toml#/sweep/audit/preset"), "”"]
    line: list[Piece] = []
    for place in facts.audits:
        at = f"{facts.rows[place]['folder']}/run/audit/audit.json#/preset"
        line += [", or "] * bool(line) + ["“", facts.sources.text(at), "”"]
    return line


def _attacked(facts: SweepFacts) -> Line:
    """Of how many artists how many were attacked."""
    line: list[Piece] = []
    for i in range(len(facts.own["attacked"])):
        few, of = (facts.sources.figure(f"report.json#/attacked/{i}/{k}", "whole") for k in (0, 1))
        line += [", or " if line else "; ", few, " of ", of, " artists attacked"]
    return line


def _guarantees() -> Line:
    return [
        "A guarantee is called by its target ", Term("epsilon", "epsilon"), ", for which the noise on "
        "everything that leaves an artist is chosen: the smaller, the stronger. “no DP” is a run without "
        "noise; nothing bounds what it gives away. A ", Term("seed", "seed"), " is the number that chance "
        "follows from: runs that differ in nothing else show how much a figure owes to it.",
    ]  # fmt: skip


def answered(facts: SweepFacts) -> list[Block]:
    """The answers in words, then the figures behind them."""
    rows: list[tuple[str, None, Line]] = [
        ("What does privacy cost in use?", None, _cost(facts)),
        ("Does private training help?", None, _gain(facts)),
    ]
    if facts.asked is not None:
        rows += [
            ("What leaks to the platform?", None, _leaks(facts, "platform")),
            ("What leaks in the worst view?", None, _leaks(facts, "worst")),
        ]
    rows += [
        ("What does encryption change?", None, _encryption(facts)),
        ("What does choosing the best run cost?", None, _choosing(facts)),
        ("What was not looked at?", None, _gaps(facts)),
    ]
    return [Answers(rows), *_at_a_glance(facts)]


def level_name(facts: SweepFacts, level: Level) -> Line:
    """A guarantee as the grid names it."""
    return name_of(facts, level.places[0], facts.guarantee_axes)


def _measuring(facts: SweepFacts) -> list[Level]:
    return [level for level in facts.levels if facts.known(level.done, facts.utility)]


def _cost(facts: SweepFacts) -> Line:
    """How much utility falls against the weakest guarantee, in pairs of runs alike in all else."""
    there = _measuring(facts)
    if not there:
        return ["No run that measures it is finished."]
    mean, *ends = [x for x in spread(facts, there[0].done, facts.utility) if not isinstance(x, Break)]
    line: list[Piece] = [
        "Utility is a share: “", facts.sources.text(f"columns.json#/{facts.utility}"), "” It is ", mean,
        *([" (", *ends, ")"] if ends else []), " with " if facts.guarantee_axes else " in ",
        *level_name(facts, there[0]),
    ]  # fmt: skip
    if len(there) == 1:
        return [*line, ". The sweep does not vary the guarantee."]
    line += [", and falls, on average over pairs of runs that differ in nothing else, by: "]
    for number, level in enumerate(there[1:]):
        pairs = _known_pairs(facts, there[0].done, level.done, facts.guarantee_axes)
        line += ["; "] * bool(number)
        line += [*_difference(facts, pairs), " with "] if pairs else ["no such pair is finished for "]
        line += level_name(facts, level)
    return [*line, ". In brackets the smallest and the largest of these pairs; with a minus it rises."]


def _known_pairs(
    facts: SweepFacts, one: Iterable[int], other: Iterable[int], axes: Sequence[Axis]
) -> list[tuple[int, int]]:
    return facts.pairs(axes, facts.known(one, facts.utility), facts.known(other, facts.utility))


def _difference(facts: SweepFacts, pairs: Sequence[tuple[int, int]], column: str = "") -> Line:
    """Mean, smallest and largest of the first's utility, or another column, less the second's."""
    source = facts.at([i for pair in pairs for i in pair], column or facts.utility)
    figure = facts.sources.figure
    return [
        figure(source, "rate", "mean difference"), " (", figure(source, "rate", "min difference"), " to ",
        figure(source, "rate", "max difference"), ")",
    ]  # fmt: skip


def _gain(facts: SweepFacts) -> Line:
    """In how many runs the finished model is better than the one before any private training."""
    known = facts.known(facts.known(facts.done, facts.utility), facts.start)
    if not known:
        return ["Not measured."]
    source = " ".join(f"{facts.at([i], facts.utility)} {facts.at([i], facts.start)}" for i in known)
    figure, better = facts.sources.figure, facts.sources.value(source, "pairs above")
    said = "Yes" if better == len(known) else "In some runs" if better else "No"
    return [
        said, ": utility is above its start in ", figure(source, "whole", "pairs above"), " of ",
        figure(source, "whole", "pairs"), " runs. The start is: “",
        facts.sources.text(f"columns.json#/{facts.start}"), "” On average the difference is ",
        figure(source, "rate", "mean difference"), " (",
        figure(source, "rate", "min difference"), " to ", figure(source, "rate", "max difference"), ").",
    ]  # fmt: skip


def _leaks(facts: SweepFacts, view: str) -> Line:
    """By guarantee: the verdict on single artworks, and which attacks leak in how many runs."""
    groups = _groups(facts, view)
    line: list[Piece] = []
    if view == "worst" and groups == _groups(facts, "platform"):
        line += ["Of single artworks: no more attacks than in the platform's view, in as many runs."]
    else:
        line += ["Of single artworks, with the number of runs in which an attack succeeds:"]
        for levels in groups.values():
            line += [Break()]
            for number, level in enumerate(levels):
                line += [", "] * bool(number) + [*level_name(facts, level)]
            done = [i for level in levels for i in level.done]
            line += [": ", *(verdict_line(facts, done, view) if done else ["no run is finished"])]
    named = leaking(facts, facts.done, view, "artist")
    if named:
        line += [Break(), "Of artists: "]
        for number, leaks in enumerate(named.values()):
            line += ["; "] * bool(number) + [facts.sources.text(finding_at(facts, leaks[0], "attack"))]
            line += [" (", *of_runs(facts, leaks, facts.done), ")"]
        line += ["."]
    if named and (view == "platform" or not leaking(facts, facts.done, "platform", "artist")):
        line += [" A style card is published so that its artist is found; no epsilon hides that."]
    return line


def _groups(facts: SweepFacts, view: str) -> dict[object, list[Level]]:
    """Guarantees, those together under which nothing leaks and the verdict is the same."""
    groups: dict[object, list[Level]] = {}
    for level in facts.levels:
        said = told(facts, level.done, view)
        groups.setdefault((said, level.name if said[-1] else ""), []).append(level)
    return groups


def _encryption(facts: SweepFacts) -> Line:
    """Against the runs without: the attack on one artist's update, what else the views get, utility, time."""
    axis = next((axis for axis in facts.varied if frozenset(axis.keys) <= ENCRYPTION), None)
    if axis is None:
        kinds = {row["secure_sum.enabled"] for row in facts.rows}
        said = "some runs sum" if len(kinds) == 2 else "all runs sum" if kinds == {True} else "no run sums"
        return [f"No axis of the grid varies it alone; {said} under encryption."]
    groups = [
        tuple(i for i, row in enumerate(facts.rows) if row[f"axis.{axis.name}"] == point.name)
        for point in axis.points
    ]
    plain = min(groups, key=lambda places: _sealed(facts, places[0]))
    found: list[Piece] = [
        "What is encrypted, prototype sums and, where the settings say so, model updates, the platform gets "
        "as a sum over artists only. What is published in the end, model, prototypes and cards, stays what "
        "it is."
    ]
    for places in groups:
        if places != plain:
            found += [Break(), *_against(facts, axis, plain, places)]
    return found


def _sealed(facts: SweepFacts, place: int) -> int:
    """How much of what artists send is encrypted."""
    row = facts.rows[place]
    return row["secure_sum.enabled"] * (1 + row["secure_sum.updates"])


def _against(facts: SweepFacts, axis: Axis, plain: Sequence[int], sealed: Sequence[int]) -> Line:
    names = [name_of(facts, places[0], [axis]) for places in (sealed, plain)]
    line: list[Piece] = []
    if facts.asked is not None:
        line += [
            "With ",
            *names[0],
            " the platform can try to rebuild a picture from one artist's update in ",
        ]
        line += [*_tried(facts, sealed), " runs, with ", *names[1], " in ", *_tried(facts, plain), ". "]
        line += [*_same_attacks(facts, axis, plain, sealed), " "]
    times = [facts.at(facts.known(places, "time.wall_s"), "time.wall_s") for places in (sealed, plain)]
    if all(times):
        means = [facts.sources.figure(source, "seconds", "mean") for source in times]
        line += ["Training takes on average ", means[0], " seconds with ", *names[0], ", ", means[1]]
        line += [" with ", *names[1], ". "]
    pairs = _known_pairs(facts, plain, sealed, [axis])
    if pairs:
        line += ["Utility falls, on average over pairs of runs that differ in nothing else, by "]
        line += [*_difference(facts, pairs), ": noise is drawn anew in every run."]
    return line


def _tried(facts: SweepFacts, places: Sequence[int]) -> Line:
    done = [i for i in places if i in facts.runs]
    known = facts.known(done, f"platform.{RATE}")
    if not done:
        return ["no finished run"]
    whole = facts.sources.figure(facts.at(done, "cell"), "whole", "count")
    if not known:
        return ["none of ", whole]
    return [facts.sources.figure(facts.at(known, "cell"), "whole", "count"), " of ", whole]


def _same_attacks(facts: SweepFacts, axis: Axis, plain: Sequence[int], sealed: Sequence[int]) -> Line:
    """Attack by attack, for those that ran in both: the largest of many attacks and that of few cannot be
    compared, as the largest of more lies higher by chance alone."""
    found: list[Line] = []
    for column in auc_columns(facts.rows):
        pairs = facts.pairs([axis], facts.known(plain, column), facts.known(sealed, column))
        if pairs:
            found.append(_one_attack(facts, column, pairs))
    if not found:
        return ["No attack on membership ran with both in the platform's view, so no AUC is compared."]
    line: list[Piece] = [
        "Of attacks on membership that ran with both, in the platform's view, the ", Term("AUC", "auc"),
        " is lower with ", *name_of(facts, sealed[0], [axis]), " than with ",
        *name_of(facts, plain[0], [axis]), ", on average over pairs of runs "
        "that differ in nothing else, by: ",
    ]  # fmt: skip
    for number, one in enumerate(found):
        line += ["; "] * bool(number) + list(one)
    return [*line, ". With a minus it is higher. Attacks that ran with one alone are not compared."]


def _one_attack(facts: SweepFacts, column: str, pairs: Sequence[tuple[int, int]]) -> Line:
    """By how much an attack's AUC falls, and whether that is more than seeds differ by themselves."""
    line: list[Piece] = [*_difference(facts, pairs, column), " for ", _attack_of(facts, column, pairs[0][0])]
    spread = facts.own["spread"].get(column)
    if spread is None:
        return [*line, ", with one seed to go by"]
    at = facts.at([i for pair in pairs for i in pair], column)
    within = abs(facts.sources.value(at, "mean difference")) <= spread
    said = ", within the spread of the seeds, " if within else ", beyond the spread of the seeds, "
    return [*line, said, facts.sources.figure(f"report.json#/spread/{escape(column)}", "rate")]


def _attack_of(facts: SweepFacts, column: str, place: int) -> Piece:
    """The name of the attack that a column of AUCs belongs to."""
    key, run = column.removeprefix("platform.auc."), facts.runs[place]
    attacks = (run.audit or {})["attacks"]
    i = next(i for i, attack in enumerate(attacks) if attack["key"] == key)
    return facts.sources.text(f"{facts.rows[place]['folder']}/run/audit/audit.json#/attacks/{i}/name")


def _choosing(facts: SweepFacts) -> Line:
    """What all runs together would cost one unit: that is what choosing the best of them costs."""
    cost, figure = facts.sweep.about["tuning_cost"], facts.sources.figure
    at = "sweep.json#/tuning_cost"
    if not cost["cells"] and not cost["damaged"]:
        return ["Nothing yet: no run released anything."]
    if cost["cells"] == len(facts.rows) == 1:
        return ["Nothing: there is one run, so nothing was chosen."]
    if cost["damaged"]:
        return ["No figure can be given: ", facts.sources.text(f"{at}/damaged"), "."]
    played = cost["procedural"]
    line: list[Piece] = [
        "The best of many runs was found by looking at all of them, so its own epsilon is not what choosing "
        "it costs. ",
        "Had these been real artists' pictures, all "
        if played
        else "In truth the same artists were in all of them; all ",
        figure(f"{at}/cells", "whole"),
        " runs",
        ""
        if cost["cells"] == len(facts.rows)
        else " that released anything, of this grid and of earlier ones,",
        " together would cost, at " if played else " together cost, at ",
        Term("delta", "delta"),
        " ",
        figure(f"{at}/delta"),
        ":",
    ]
    for unit in ("artwork", "artist"):
        ours = cost[f"epsilon_{unit}"]
        line += [Break(), f"One {unit}: "]
        if ours["all_cells"] is not None:
            line += [Term("epsilon", "epsilon"), " ", figure(f"{at}/epsilon_{unit}/all_cells", "epsilon")]
        else:
            line += [figure(f"{at}/epsilon_{unit}/all_cells", none=NO)]
        if ours["all_cells"] is None and ours["those_cells"] is not None:
            line += [
                ", as some give none; those that give one, ",
                figure(f"{at}/epsilon_{unit}/cells_with_a_guarantee", "whole"),
                " of ",
                figure(f"{at}/cells", "whole"),
                ", together ",
                Term("epsilon", "epsilon"),
                " ",
                figure(f"{at}/epsilon_{unit}/those_cells", "epsilon"),
            ]
        sound = [i for i in facts.done if facts.rows[i][f"privacy.epsilon_{unit}_max"] is not None]
        if sound:
            line += [", where the dearest of them by itself states ", epsilon(facts, sound, unit)]
        line += ["."]
    return [*line, " Runs that were deleted, or made in another folder, are not counted."]


def _gaps(facts: SweepFacts) -> Line:
    line: list[Piece] = []
    if facts.lost:
        lost = facts.sources.figure(facts.at(facts.lost, "cell"), "whole", "count")
        line += ["Runs that failed or were not finished, named at the top: ", lost, ". "]
    if facts.asked is None:
        return [*line, "What leaks: no run was audited."]
    missing = [
        (run, i)
        for run, own in facts.runs.items()
        for i, finding in enumerate(own.findings)
        if finding.verdict == "not run" and finding.target == "all"
    ]
    if missing:
        names: dict[str, tuple[int, int]] = {}
        ran = {f.attack for own in facts.runs.values() for f in own.findings if f.verdict != "not run"}
        for run, i in missing:
            names.setdefault(facts.runs[run].findings[i].attack, (run, i))
        never = [place for name, place in names.items() if name not in ran]
        if never:
            line += ["Attacks that ran in no run and no view, for reasons that each run's own report gives: "]
            for number, place in enumerate(never):
                line += ["; "] * bool(number) + [facts.sources.text(finding_at(facts, place, "attack"))]
            line += [". "]
    return [
        *line,
        "Attacks that nobody has published yet were not tried, and side channels were not looked at.",
    ]


def _at_a_glance(facts: SweepFacts) -> list[Block]:
    """A row a guarantee: utility, a column for each line of the plots, and the largest leakage."""
    levels = [level for level in facts.levels if level.done]
    lines = list(dict.fromkeys((one.series, one.encryption) for one in facts.combinations))
    lines = lines if len(lines) <= _MOST_LINES else []
    views = [view for view in VIEWS if facts.known(facts.done, f"{view}.{AUC}")]
    if not levels or not (lines or views):
        return []
    rest = [axis for axis in facts.varied if axis not in facts.guarantee_axes]
    head: list[Line] = [["Guarantee"], ["Epsilon of one run"]]
    for line in lines:
        name = name_of(facts, _of_line(facts, line)[0].places[0], rest) if rest else []
        head.append(["Utility", *([", "] if name else []), *name])
    for what in ("Membership AUC", "Pictures identified"):
        head += [[f"{what}, {_SHORT[view]}"] for view in views]
    rows: list[list[Line]] = []
    for level in levels:
        unit = facts.rows[level.done[0]]["privacy.unit"]
        row: list[Line] = [level_name(facts, level), [epsilon(facts, level.done, unit)]]
        for line in lines:
            ours = [one for one in _of_line(facts, line) if one.level == level.name]
            row.append(spread(facts, [i for one in ours for i in one.done], facts.utility))
        row += [worst_of(facts, level.done, f"{view}.{leak}") for leak in (AUC, RATE) for view in views]
        rows.append(row)
    caption: list[Piece] = [
        "At a glance. ", Term("Epsilon", "epsilon"), " is that of one run by itself, at ",
        Term("delta", "delta"), " ", *_deltas(facts), ", per ", Term("unit of privacy", "unit"), " ",
        *_units(facts), "; utility a mean over seeds, smallest to largest below it where they differ",
    ]  # fmt: skip
    if views:
        caption += [
            "; leakage the largest figure of all runs with this guarantee, whatever else varies, then its ",
            Term("confidence interval", "interval"), " and what is reached blind, ",
            Term("without looking", "baseline"), ". The largest of many lies above its true value by chance",
        ]  # fmt: skip
    return [Table("glance", [*caption, "."], head, rows, frozenset(range(1, len(head))))]


def _of_line(facts: SweepFacts, line: tuple[str, str]) -> list[Combination]:
    return [one for one in facts.combinations if (one.series, one.encryption) == line]


def spread(facts: SweepFacts, places: Iterable[int], column: str) -> Line:
    """Mean over seeds; below it the smallest and the largest, where they differ."""
    places = tuple(places)
    values = over_seeds(facts, places, column)
    if not values:
        return [Muted("none")]
    if facts.sources.value(facts.at(facts.known(places, column), column), "distinct") == 1:
        return values[:1]
    return [values[0], Break(), values[1], "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}", values[2]]


def _deltas(facts: SweepFacts) -> Line:
    source = facts.at(range(len(facts.rows)), "privacy.delta")
    if facts.sources.value(source, "distinct") == 1:
        return [facts.sources.figure(facts.at([0], "privacy.delta"))]
    return [facts.sources.figure(source, rule="min"), " to ", facts.sources.figure(source, rule="max")]


def _units(facts: SweepFacts) -> Line:
    first = {row["privacy.unit"]: i for i, row in reversed(list(enumerate(facts.rows)))}
    line: list[Piece] = []
    for i in sorted(first.values()):
        line += [" or "] * bool(line) + [facts.sources.text(facts.at([i], "privacy.unit"))]
    return line


def worst_of(facts: SweepFacts, places: Iterable[int], column: str) -> Line:
    """The largest value of some runs, its interval, and what is reached without looking."""
    place = largest(facts, places, column)
    if place is None:
        return [Muted("not run")]
    return [facts.sources.figure(facts.at([place], column), "rate"), *interval(facts, place, column)]


def interval(facts: SweepFacts, place: int, column: str) -> Line:
    """On lines of their own: the interval of a run's figure, and what is reached without looking."""
    at, figure = facts.at([place], column), facts.sources.figure
    line: list[Piece] = []
    if facts.rows[place][f"{column}_low"] is not None:
        line += [Break(), "[", figure(f"{at}_low", "rate"), ",\N{NO-BREAK SPACE}"]
        line += [figure(f"{at}_high", "rate"), "]"]
    return [*line, Break(), Muted("blind "), figure(f"{at}_baseline", "rate", none="none")]
