"""A sweep's tables and plots: a row a combination of settings, a row a run, and what all runs share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedstyle_secure.config import Config
from fedstyle_secure.report.page.pieces import (
    Badge,
    Block,
    Break,
    Line,
    Muted,
    Para,
    Picture,
    Piece,
    Ref,
    Table,
    Term,
)
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.report.sweep.answers import audited_as, interval, spread
from fedstyle_secure.report.sweep.facts import Combination, SweepFacts
from fedstyle_secure.report.sweep.leaks import told, verdict_line
from fedstyle_secure.report.sweep.points import epsilon, largest, name_of, worst_verdict
from fedstyle_secure.sweep.table import AUC, RATE, VIEWS

_PLOTS: Mapping[str, tuple[str, str]] = {
    "utility_epsilon": (
        "Utility on the upright axis against epsilon on the level one. Its figures are in the tables.",
        "Utility against epsilon, and what private training adds to it. The dotted line is the start: what "
        "is reached before any private training, with the same published cards.",
    ),
    "leakage_epsilon": (
        "Leakage to the platform on the upright axis against epsilon on the level one. Its figures are in "
        "the tables.",
        "Leakage to the platform against epsilon. The dotted line is what is reached without looking, the "
        "dashed one the most that the guarantee allows. The AUC is the largest of several attacks; the note "
        "in the plot says of how many for each line, and the largest of more lies higher by chance alone.",
    ),
    "utility_leakage": (
        "Utility on the upright axis against leakage to the platform on the level one. Its figures are in "
        "the tables.",
        "Utility against leakage to the platform. No combination beats those on the line: none has both less "
        "leakage and more utility, as far as means can tell. Differences smaller than the bars are noise, "
        "and so is then who is on the line.",
    ),
}
"""What each plot shows: for whoever cannot see it, and below it."""

_SHARED = (
    "gallery.source", "gallery.artists", "gallery.pictures", "gallery.size", "gallery.public_artists",
    "gallery.dataset", "run.rounds", "style.encoder", "style.train", "styles.source", "styles.count",
    "cards.consent", "cards.releases", "prototypes.releases", "metrics.releases", "training.local_steps",
    "training.expected_pictures", "training.learning_rate", "secure_sum.enabled", "secure_sum.updates",
    "privacy.dp", "privacy.unit", "privacy.target_epsilon", "privacy.delta", "privacy.noise_multiplier",
    "privacy.clip_norm", "privacy.min_cohort", "privacy.colluders", "audit.canaries",
)  # fmt: skip
"""Told where the grid does not vary them; other settings where they differ from the default."""

_UNTOLD = ("run.seed", "run.folder", "run.studios", "gallery.path", "audit.record")
"""Never told: each run has its own, or it is a place on somebody's machine."""

_OF_ATELIER = ("gallery.artists", "gallery.pictures", "gallery.size", "gallery.public_artists")


def plots(facts: SweepFacts) -> list[Block]:
    """The sweep's own plots, with what their bars are."""
    files = [
        name for name in facts.sweep.about["files"] if name.startswith("plots/") and name.endswith(".png")
    ]
    blocks: list[Block] = []
    for name in files:
        kind = next((key for key in _PLOTS if name.removeprefix("plots/").startswith(key)), None)
        if kind is not None:
            alt, caption = _PLOTS[kind]
            blocks.append(Picture(facts.sweep.folder / name, alt, [caption], wide=True))
    if not blocks:
        return [Para(["Nothing was drawn, as no run is finished."], "note")]
    several = any(len(one.done) > 1 for one in facts.combinations)
    bars = (
        "Marks are means over seeds, bars one standard deviation of the seeds to either side, small dots "
        "single seeds. Those bars say how much seeds differ, not how sure a single measurement is."
        if several
        else "There is one seed, so there are no bars: nothing here says how much seeds differ."
    )
    if facts.asked is not None:
        bars += (
            " The pale bars of leakage are the audits' own intervals, from the smallest lower end to the "
            "largest upper end of the seeds: what a single measurement leaves open."
        )
    return [Para([bars]), *blocks]


def points(facts: SweepFacts) -> list[Block]:
    """A row a combination of settings, its seeds taken together."""
    audited = facts.asked is not None
    head: list[Line] = [
        ["Settings"],
        ["Runs finished"],
        ["Epsilon: artwork, artist"],
        ["Utility"],
        ["Before training"],
    ]
    if audited:
        whose = ("platform", "worst view")
        head += [["Membership ", Term("AUC", "auc"), f", {view}"] for view in whose]
        head += [[f"Pictures identified, {view}"] for view in whose]
        head += [["Artworks: platform, any view"]]
    rows = [_point(facts, one, audited) for one in facts.combinations]
    caption: list[Piece] = [
        "A row a combination of settings; its runs differ in their seed alone. All but epsilon are means "
        "over seeds, with the smallest to the largest below where they differ. Epsilon is the largest of a "
        "run by itself."
    ]
    if audited:
        caption += [
            " Of leakage there follow, for the seed with the largest figure, the ",
            Term("confidence interval", "interval"), ", what is reached blind, ",
            Term("without looking", "baseline"), ", and the limit that the ",
            Term("guarantee allows", "bound"), ". Verdicts are the worst over seeds.",
        ]  # fmt: skip
    numeric = frozenset(range(1, len(head) - audited))
    blocks: list[Block] = [Table("points", caption, head, rows, numeric)]
    if audited:
        blocks += [_leaks_by_point(facts), Para(_of_verdicts(), "note")]
    return blocks


def _of_verdicts() -> Line:
    return [
        "“Inconclusive” means that at least one attack could not have shown anything, as it fails even where "
        "nothing is defended, or had too few trials; others of that row were tried in earnest and found "
        "nothing. Attacks on artists as a whole are left out of these verdicts, as a style card is "
        "published so that its artist is found; the table of runs has a verdict on everything."
    ]


def _point(facts: SweepFacts, one: Combination, audited: bool) -> list[Line]:
    figure, at = facts.sources.figure, facts.at
    finished: Line = [figure(at(one.done, "cell"), "whole", "count")] if one.done else ["none"]
    row: list[Line] = [
        name_of(facts, one.places[0], facts.varied),
        [*finished, " of ", figure(at(one.places, "cell"), "whole", "count")],
        _epsilons(facts, one),
        spread(facts, one.done, facts.utility),
        spread(facts, one.done, facts.start),
    ]
    if audited:
        for leak in (AUC, RATE):
            row += [_leak(facts, one, f"{view}.{leak}") for view in VIEWS]
        verdicts: list[Piece] = []
        for view in VIEWS:
            verdict = worst_verdict(facts, one.done, f"{view}.verdict_artwork")
            verdicts += [Break()] * bool(verdicts) + [Badge(verdict[0]) if verdict else Muted("none")]
        row.append(verdicts)
    return row


def _epsilons(facts: SweepFacts, one: Combination) -> Line:
    if not one.done:
        return ["none"]
    return [epsilon(facts, one.done, "artwork"), ",", Break(), epsilon(facts, one.done, "artist")]


def _leak(facts: SweepFacts, one: Combination, column: str) -> Line:
    """Mean and range over seeds; of the largest its interval, baseline and bound."""
    place = largest(facts, one.done, column)
    if place is None:
        return [Muted("not run" if one.done else "none")]
    line: list[Piece] = [*spread(facts, one.done, column), *interval(facts, place, column)]
    source = facts.at([place], f"{column}_bound")
    return [*line, Break(), Muted("limit "), facts.sources.figure(source, "rate", none="none")]


def _leaks_by_point(facts: SweepFacts) -> Table:
    """Which attacks leak, by name."""
    rows: list[list[Line]] = []
    for one in facts.combinations:
        cells = [verdict_line(facts, one.done, view) for view in VIEWS]
        same = len({told(facts, one.done, view) for view in VIEWS}) == 1
        rows.append(
            [name_of(facts, one.places[0], facts.varied), cells[0], ["the same"] if same else cells[1]]
        )
    head: list[Line] = [["Settings"], ["In the platform's view"], ["In any view"]]
    caption: Line = ["Which attacks on single artworks leak, and in how many runs."]
    return Table("leaks", caption, head, rows, wide=frozenset({1, 2}))


def runs(facts: SweepFacts) -> list[Block]:
    """A row a run, whatever became of it."""
    audited = facts.asked is not None
    head: list[Line] = [["Run"], ["Seed"], ["State"], ["Epsilon"], ["Utility"]]
    if audited:
        head += [["Artworks, platform"], ["Artworks, any view"], ["Anything, any view"], ["Alarms"]]
    head += [["Training, seconds"]] + ([["Audit, seconds"]] if audited else [])
    rows = [_run(facts, i, audited) for i in range(len(facts.rows))]
    numeric = frozenset({1, 3, 4} | ({8, 9, 10} if audited else {5}))
    caption: Line = [
        "Every run, by the name of its folder in the sweep's. Each can have a report of its own."
    ]
    return [Table("runs", caption, head, rows, numeric)]


def _run(facts: SweepFacts, i: int, audited: bool) -> list[Line]:
    row, sources = facts.rows[i], facts.sources

    def cell(column: str, style: str) -> Line:
        if row[column] is None:
            return [Muted("none")]
        return [sources.figure(facts.at([i], column), style)]

    cells: list[Line] = [
        [sources.text(facts.at([i], "cell"))],
        cell("run.seed", "whole"),
        [sources.text(facts.at([i], "state"))],
        [epsilon(facts, [i], row["privacy.unit"])] if i in facts.runs else [Muted("none")],
        cell(facts.utility, "rate"),
    ]
    if audited:
        for column in ("platform.verdict_artwork", "worst.verdict_artwork", "worst.verdict"):
            cells.append([Badge(row[column])] if row[column] else [Muted("none")])
        cells.append(cell("alarms", "whole"))
    return [*cells, cell("time.wall_s", "seconds"), *([cell("time.audit_s", "seconds")] if audited else [])]


def shared(facts: SweepFacts) -> list[Block]:
    """Settings that all runs share, and how they were audited."""
    defaults = Config().to_flat()
    varied = {key for axis in facts.axes for key in axis.keys}
    told = [
        key
        for key, value in facts.base.items()
        if key not in varied
        and key not in _UNTOLD
        and (key in _SHARED or value != defaults.get(key))
        and (key not in _OF_ATELIER or facts.base["gallery.source"] == "atelier")
        and value != ""
    ]
    rows = [_setting(facts, key) for key in told]
    head: list[Line] = [["Setting"], ["Value"], ["What it is"]]
    caption: Line = [
        "Settings that all runs share: the weighty ones, and those that are not the default. All are in ",
        Ref("grid.toml", "name"), ".",
    ]  # fmt: skip
    return [Table("shared", caption, head, rows, wide=frozenset({2})), *_audit(facts)]


def _setting(facts: SweepFacts, key: str) -> list[Line]:
    known = key in facts.own["settings"]
    meaning: Line = [facts.sources.text(f"report.json#/settings/{escape(key)}/meaning")] if known else []
    return [
        [Ref(key, "name")],
        _said(facts, f"grid.toml#/base/{escape(key)}", facts.base[key]),
        meaning,
    ]


def _audit(facts: SweepFacts) -> list[Block]:
    """The audit's settings beside those of the preset that they began with."""
    if facts.asked is None:
        return [Para(["No run was audited."], "note")]
    preset, varied = facts.own["preset"], {key for axis in facts.axes for key in axis.keys}
    rows = [
        [
            [Ref(key, "name")],
            _said(facts, f"grid.toml#/sweep/audit/{escape(key)}", value),
            _said(facts, f"report.json#/preset/{escape(key)}", preset[key]),
        ]
        for key, value in facts.asked.items()
        if key != "preset" and f"audit.{key}" not in varied
    ]
    head: list[Line] = [["Setting of the audit"], ["Here"], ["In this version's preset"]]
    caption: Line = [
        "How every run was audited: preset ", *audited_as(facts), ". What the grid varies is left out.",
    ]  # fmt: skip
    return [Table("audit", caption, head, rows)]


def _said(facts: SweepFacts, at: str, value: Any) -> Line:
    if isinstance(value, list | tuple):
        line: list[Piece] = []
        for i in range(len(value)):
            line += [", "] * bool(i) + [facts.sources.figure(f"{at}/{i}")]
        return line or ["none"]
    return [facts.sources.figure(at)]
