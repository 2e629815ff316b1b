"""What a sweep was asked, and the answer: what privacy costs, what still leaks, what choosing costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedstyle_secure.report.page.pieces import Answers, Block, Break, Line, Muted, Para, Piece, Table
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.report.sweep.facts import Combination, Level, SweepFacts, auc_columns
from fedstyle_secure.report.sweep.leaks import finding_at, how_often, leaking, told, verdict_line
from fedstyle_secure.report.sweep.points import epsilon, largest, name_of
from fedstyle_secure.sweep.grid import SEED, Axis
from fedstyle_secure.sweep.marks import ENCRYPTION
from fedstyle_secure.sweep.table import AUC, RATE, VIEWS

_MOST_LINES = 4
"""Columns of the small table of utility; more lines than that are in the table of points alone."""

_SHORT = {"platform": "platform", "worst": "worst view"}


def asked(facts: SweepFacts) -> list[Block]:
    """What was tried, in a paragraph."""
    planned = facts.at(range(len(facts.rows)), "cell")
    line = facts.say(
        "{planned:whole count} runs of one training were planned, which differ in: {axes}"
        if facts.axes
        else "{planned:whole count} run was planned, and nothing varies",
        planned=planned,
        axes=listed((_axis(facts, number) for number in range(len(facts.axes))), "; "),
    )
    line += facts.say(". Finished: {report.json#/checked/runs:whole}. ")
    if facts.asked is None:
        line += facts.say("**No run was audited**, so nothing measured says what leaks. ")
    else:
        line += facts.say(
            "Each was attacked as every adversary could (audit preset {presets})<; {attacked}>. ",
            presets=audited_as(facts),
            attacked=_attacked(facts),
        )
    if any(axis.name == SEED for axis in facts.axes):
        line += facts.say("{sweep.json#/seeds:text} ")
    line += ["Asked: what does privacy cost in use, and what does it keep from whom?"]
    guarantees = facts.say(
        "A guarantee is called by its target [epsilon](epsilon), for which the noise on everything that "
        "leaves an artist is chosen: the smaller, the stronger. “no DP” is a run without noise; nothing "
        "bounds what it gives away. A [seed](seed) is the number that chance follows from: runs that differ "
        "in nothing else show how much a figure owes to it."
    )
    return [Para(line, "lead"), Para(guarantees, "note")]


def _axis(facts: SweepFacts, number: int) -> Line:
    """An axis with its points."""
    column = f"axis.{facts.axes[number].name}"
    first = {facts.rows[i][column]: i for i in reversed(range(len(facts.rows)))}
    points = (facts.at([first[point.name]], column) for point in facts.axes[number].points)
    return facts.say(
        "{name:text} ({points})",
        name=f"report.json#/axes/{number}",
        points=listed(facts.sources.text(point) for point in points),
    )


def audited_as(facts: SweepFacts) -> Line:
    """The audits' presets and what was changed in them, as the audits say themselves."""
    places = [f"{facts.rows[place]['folder']}/run/audit/audit.json#/preset" for place in facts.audits]
    presets = places or ["grid.toml#/sweep/audit/preset"]
    return listed((facts.say("“{preset:text}”", preset=preset) for preset in presets), ", or ")


def _attacked(facts: SweepFacts) -> Line:
    """Of how many artists how many were attacked."""
    pairs = (f"report.json#/attacked/{i}" for i in range(len(facts.own["attacked"])))
    return listed((facts.say("{0:whole} of {1:whole} artists attacked", at=pair) for pair in pairs), ", or ")


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
    falls: list[Line] = []
    for level in there[1:]:
        pairs = _known_pairs(facts, there[0].done, level.done, facts.guarantee_axes)
        falls.append(
            facts.say(
                "{difference} with {level}" if pairs else "no such pair is finished for {level}",
                difference=_difference(facts, pairs) if pairs else [],
                level=level_name(facts, level),
            )
        )
    told = (
        ", and falls, on average over pairs of runs that differ in nothing else, by: {falls}. In brackets "
        "the smallest and the largest of these pairs; with a minus it rises."
        if falls
        else ". The sweep does not vary the guarantee."
    )
    return facts.say(
        "Utility is a share: “{column:text}” It is {mean}< ({ends})> {among} {level}" + told,
        column=f"columns.json#/{facts.utility}",
        mean=mean,
        ends=ends,
        among="with" if facts.guarantee_axes else "in",
        level=level_name(facts, there[0]),
        falls=listed(falls, "; "),
    )


def _known_pairs(
    facts: SweepFacts, one: Iterable[int], other: Iterable[int], axes: Sequence[Axis]
) -> list[tuple[int, int]]:
    return facts.pairs(axes, facts.known(one, facts.utility), facts.known(other, facts.utility))


def _difference(facts: SweepFacts, pairs: Sequence[tuple[int, int]], column: str = "") -> Line:
    """Mean, smallest and largest of the first's utility, or another column, less the second's."""
    return facts.say(
        "{pairs:rate mean difference} ({pairs:rate min difference} to {pairs:rate max difference})",
        pairs=facts.at([i for pair in pairs for i in pair], column or facts.utility),
    )


def _gain(facts: SweepFacts) -> Line:
    """In how many runs the finished model is better than the one before any private training."""
    known = facts.known(facts.known(facts.done, facts.utility), facts.start)
    if not known:
        return ["Not measured."]
    pairs = " ".join(f"{facts.at([i], facts.utility)} {facts.at([i], facts.start)}" for i in known)
    better = facts.sources.value(pairs, "pairs above")
    return facts.say(
        "{said}: utility is above its start in {pairs:whole pairs above} of {pairs:whole pairs} runs. The "
        "start is: “{column:text}” On average the difference is {pairs:rate mean difference} ({pairs:rate "
        "min difference} to {pairs:rate max difference}).",
        said="Yes" if better == len(known) else "In some runs" if better else "No",
        pairs=pairs,
        column=f"columns.json#/{facts.start}",
    )


def _leaks(facts: SweepFacts, view: str) -> Line:
    """By guarantee: the verdict on single artworks, and which attacks leak in how many runs."""
    groups = _groups(facts, view)
    line: list[Piece] = []
    if view == "worst" and groups == _groups(facts, "platform"):
        line += ["Of single artworks: no more attacks than in the platform's view, in as many runs."]
    else:
        line += ["Of single artworks, with the number of runs in which an attack succeeds:"]
        for levels in groups.values():
            done = [i for level in levels for i in level.done]
            line += facts.say(
                "\n{levels}: {verdict}",
                levels=listed(level_name(facts, level) for level in levels),
                verdict=verdict_line(facts, done, view) if done else "no run is finished",
            )
    named = leaking(facts, facts.done, view, "artist").values()
    told = listed((how_often(facts, leaks, facts.done) for leaks in named), "; ")
    line += facts.say("<\nOf artists: {named}.>", named=told)
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
    line: list[Piece] = [
        "What is encrypted, prototype sums and, where the settings say so, model updates, the platform gets "
        "as a sum over artists only. What is published in the end, model, prototypes and cards, stays what "
        "it is."
    ]
    for places in groups:
        if places != plain:
            line += [Break(), *_against(facts, axis, plain, places)]
    return line


def _sealed(facts: SweepFacts, place: int) -> int:
    """How much of what artists send is encrypted."""
    row = facts.rows[place]
    return int(row["secure_sum.enabled"] * (1 + row["secure_sum.updates"]))


def _against(facts: SweepFacts, axis: Axis, plain: Sequence[int], sealed: Sequence[int]) -> Line:
    with_, without = (name_of(facts, places[0], [axis]) for places in (sealed, plain))
    line: list[Piece] = []
    if facts.asked is not None:
        line += facts.say(
            "With {sealed} the platform can try to rebuild a picture from one artist's update in {of_sealed} "
            "runs, with {plain} in {of_plain}. {attacks} ",
            sealed=with_,
            plain=without,
            of_sealed=_tried(facts, sealed),
            of_plain=_tried(facts, plain),
            attacks=_same_attacks(facts, axis, plain, sealed),
        )
    times = [facts.at(facts.known(places, "time.wall_s"), "time.wall_s") for places in (sealed, plain)]
    if all(times):
        line += facts.say(
            "Training takes on average {first:seconds mean} seconds with {sealed}, {second:seconds mean} "
            "with {plain}. ",
            first=times[0],
            second=times[1],
            sealed=with_,
            plain=without,
        )
    pairs = _known_pairs(facts, plain, sealed, [axis])
    if pairs:
        line += facts.say(
            "Utility falls, on average over pairs of runs that differ in nothing else, by {difference}: "
            "noise is drawn anew in every run.",
            difference=_difference(facts, pairs),
        )
    return line


def _tried(facts: SweepFacts, places: Sequence[int]) -> Line:
    done = [i for i in places if i in facts.runs]
    if not done:
        return ["no finished run"]
    known = facts.at(facts.known(done, f"platform.{RATE}"), "cell")
    some = facts.say("{known:whole count}", known=known) if known else "none"
    return facts.say("{some} of {done:whole count}", some=some, done=facts.at(done, "cell"))


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
    return facts.say(
        "Of attacks on membership that ran with both, in the platform's view, the [AUC](auc) is lower with "
        "{sealed} than with {plain}, on average over pairs of runs that differ in nothing else, by: {found}. "
        "With a minus it is higher. Attacks that ran with one alone are not compared.",
        sealed=name_of(facts, sealed[0], [axis]),
        plain=name_of(facts, plain[0], [axis]),
        found=listed(found, "; "),
    )


def _one_attack(facts: SweepFacts, column: str, pairs: Sequence[tuple[int, int]]) -> Line:
    """By how much an attack's AUC falls, and whether that is more than seeds differ by themselves."""
    spread = facts.own["spread"].get(column)
    at = facts.at([i for pair in pairs for i in pair], column)
    within = spread is not None and abs(facts.sources.value(at, "mean difference")) <= spread
    return facts.say(
        "{difference} for {attack}, with one seed to go by"
        if spread is None
        else "{difference} for {attack}, {where} the spread of the seeds, {spread:rate}",
        difference=_difference(facts, pairs, column),
        attack=_attack_of(facts, column, pairs[0][0]),
        where="within" if within else "beyond",
        spread=f"report.json#/spread/{escape(column)}",
    )


def _attack_of(facts: SweepFacts, column: str, place: int) -> Line:
    """The name of the attack that a column of AUCs belongs to."""
    key, run = column.removeprefix("platform.auc."), facts.runs[place]
    attacks = (run.audit or {})["attacks"]
    i = next(i for i, attack in enumerate(attacks) if attack["key"] == key)
    return [facts.sources.text(f"{facts.rows[place]['folder']}/run/audit/audit.json#/attacks/{i}/name")]


def _choosing(facts: SweepFacts) -> Line:
    """What all runs together would cost one unit: that is what choosing the best of them costs."""
    cost, at = facts.sweep.about["tuning_cost"], "sweep.json#/tuning_cost"
    if not cost["cells"] and not cost["damaged"]:
        return ["Nothing yet: no run released anything."]
    if cost["cells"] == len(facts.rows) == 1:
        return ["Nothing: there is one run, so nothing was chosen."]
    if cost["damaged"]:
        return facts.say("No figure can be given: {damaged:text}.", at=at)
    whose, costs = (
        ("Had these been real artists' pictures, all", "would cost")
        if cost["procedural"]
        else ("In truth the same artists were in all of them; all", "cost")
    )
    earlier = (
        ""
        if cost["cells"] == len(facts.rows)
        else " that released anything, of this grid and of earlier ones,"
    )
    return facts.say(
        "The best of many runs was found by looking at all of them, so its own epsilon is not what choosing "
        "it costs. {whose} {cells:whole} runs{earlier} together {costs}, at [delta](delta) {delta}:{units} "
        "Runs that were deleted, or made in another folder, are not counted.",
        at=at,
        whose=whose,
        earlier=earlier,
        costs=costs,
        units=[*_together(facts, "artwork"), *_together(facts, "artist")],
    )


def _together(facts: SweepFacts, unit: str) -> Line:
    """What all runs cost one unit, on a line of its own."""
    at, ours = "sweep.json#/tuning_cost", facts.sweep.about["tuning_cost"][f"epsilon_{unit}"]
    known = ours["all_cells"] is not None
    some = facts.say(
        ", as some give none; those that give one, {cells_with_a_guarantee:whole} of {cells:whole}, together "
        "[epsilon](epsilon) {those_cells:epsilon}",
        at=f"{at}/epsilon_{unit}",
        cells=f"{at}/cells",
    )
    sound = [i for i in facts.done if facts.rows[i][f"privacy.epsilon_{unit}_max"] is not None]
    total = "[epsilon](epsilon) {all_cells:epsilon}" if known else "{all_cells:epsilon|no guarantee}"
    return facts.say(
        f"\nOne {unit}: {total}{{some}}<, where the dearest of them by itself states {{dearest}}>.",
        at=f"{at}/epsilon_{unit}",
        some=[] if known or ours["those_cells"] is None else some,
        dearest=epsilon(facts, sound, unit) if sound else [],
    )


def _gaps(facts: SweepFacts) -> Line:
    lost = facts.say("{lost:whole count}", lost=facts.at(facts.lost, "cell")) if facts.lost else []
    line = facts.say("<Runs that failed or were not finished, named at the top: {lost}. >", lost=lost)
    if facts.asked is None:
        return [*line, "What leaks: no run was audited."]
    names: dict[str, tuple[int, int]] = {}
    for run, own in facts.runs.items():
        for i, finding in enumerate(own.findings):
            if finding.verdict == "not run" and finding.target == "all":
                names.setdefault(finding.attack, (run, i))
    ran = {f.attack for own in facts.runs.values() for f in own.findings if f.verdict != "not run"}
    never = (finding_at(facts, place, "attack") for name, place in names.items() if name not in ran)
    return line + facts.say(
        "<Attacks that ran in no run and no view, for reasons that each run's own report gives: {never}. >"
        "Attacks that nobody has published yet were not tried, and side channels were not looked at.",
        never=listed((facts.sources.text(at) for at in never), "; "),
    )


def _at_a_glance(facts: SweepFacts) -> list[Block]:
    """A row a guarantee: utility, a column for each line of the plots, and the largest leakage."""
    levels = [level for level in facts.levels if level.done]
    lines = list(dict.fromkeys((one.series, one.encryption) for one in facts.combinations))
    lines = lines if len(lines) <= _MOST_LINES else []
    views = [view for view in VIEWS if facts.known(facts.done, f"{view}.{AUC}")]
    if not levels or not (lines or views):
        return []
    rest = [axis for axis in facts.varied if axis not in facts.guarantee_axes]
    head = facts.row("Guarantee | Epsilon of one run")
    for line in lines:
        name = name_of(facts, _of_line(facts, line)[0].places[0], rest) if rest else []
        head.append(facts.say("Utility<, {name}>", name=name))
    for what in ("Membership AUC", "Pictures identified"):
        head += [[f"{what}, {_SHORT[view]}"] for view in views]
    rows = [_level_at_a_glance(facts, level, lines, views) for level in levels]
    caption = facts.say(
        "At a glance. [Epsilon](epsilon) is that of one run by itself, at [delta](delta) {deltas}, per "
        "[unit of privacy](unit) {units}; utility a mean over seeds, smallest to largest below it where they "
        "differ",
        deltas=_deltas(facts),
        units=_units(facts),
    )
    if views:
        caption += facts.say(
            "; leakage the largest figure of all runs with this guarantee, whatever else varies, then its "
            "[confidence interval](interval) and what is reached blind, [without looking](baseline). The "
            "largest of many lies above its true value by chance"
        )
    return [Table("glance", [*caption, "."], head, rows, frozenset(range(1, len(head))))]


def _level_at_a_glance(
    facts: SweepFacts, level: Level, lines: Sequence[tuple[str, str]], views: Sequence[str]
) -> list[Line]:
    unit = facts.rows[level.done[0]]["privacy.unit"]
    row: list[Line] = [level_name(facts, level), [epsilon(facts, level.done, unit)]]
    for line in lines:
        ours = [one for one in _of_line(facts, line) if one.level == level.name]
        row.append(spread(facts, [i for one in ours for i in one.done], facts.utility))
    return row + [worst_of(facts, level.done, f"{view}.{leak}") for leak in (AUC, RATE) for view in views]


def _of_line(facts: SweepFacts, line: tuple[str, str]) -> list[Combination]:
    return [one for one in facts.combinations if (one.series, one.encryption) == line]


def spread(facts: SweepFacts, places: Iterable[int], column: str) -> Line:
    """Mean over seeds; below it the smallest and the largest, where they differ."""
    known = facts.at(facts.known(places, column), column)
    if not known:
        return [Muted("none")]
    if facts.sources.value(known, "distinct") == 1:
        return facts.say("{known:rate mean}", known=known)
    text = "{known:rate mean}\n{known:rate min}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{known:rate max}"
    return facts.say(text, known=known)


def _deltas(facts: SweepFacts) -> Line:
    deltas = facts.at(range(len(facts.rows)), "privacy.delta")
    if facts.sources.value(deltas, "distinct") == 1:
        return facts.say("{delta:short}", delta=facts.at([0], "privacy.delta"))
    return facts.say("{deltas:short min} to {deltas:short max}", deltas=deltas)


def _units(facts: SweepFacts) -> Line:
    first = {row["privacy.unit"]: i for i, row in reversed(list(enumerate(facts.rows)))}
    units = (facts.at([i], "privacy.unit") for i in sorted(first.values()))
    return listed((facts.sources.text(unit) for unit in units), " or ")


def worst_of(facts: SweepFacts, places: Iterable[int], column: str) -> Line:
    """The largest value of some runs, its interval, and what is reached without looking."""
    place = largest(facts, places, column)
    if place is None:
        return [Muted("not run")]
    return [facts.sources.figure(facts.at([place], column), "rate"), *interval(facts, place, column)]


def interval(facts: SweepFacts, place: int, column: str) -> Line:
    """On lines of their own: the interval of a run's figure, and what is reached without looking."""
    at = facts.at([place], column)
    return facts.say(
        "<\n[{low:rate},\N{NO-BREAK SPACE}{high:rate}]>\n{blind}{baseline:rate}",
        low=f"{at}_low",
        high=f"{at}_high",
        blind=Muted("blind "),
        baseline=f"{at}_baseline",
    )
