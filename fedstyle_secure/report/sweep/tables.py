"""A sweep's tables and plots: a row a combination of settings, a row a run, and what all runs share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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
)
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.report.sweep.answers import audited_as, interval, spread
from fedstyle_secure.report.sweep.facts import Combination, SweepFacts
from fedstyle_secure.report.sweep.leaks import told, verdict_line
from fedstyle_secure.report.sweep.points import epsilon, largest, name_of, worst_verdict
from fedstyle_secure.sweep.plots import CAPTIONS
from fedstyle_secure.sweep.table import AUC, RATE, VIEWS

_CAPTIONS = f"plots/{CAPTIONS}"

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
        "dashed one what Gaussian noise of that epsilon allows at most.",
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
    "gallery.dataset", "run.rounds", "training.local_steps",
    "training.expected_pictures", "training.learning_rate", "secure_sum.enabled", "secure_sum.updates",
    "privacy.dp", "privacy.unit", "privacy.target_epsilon", "privacy.delta", "privacy.noise_multiplier",
    "privacy.noise", "privacy.clip_norm", "privacy.min_cohort", "privacy.colluders", "audit.canaries",
)  # fmt: skip
"""Told where the grid does not vary them; other settings where they differ from the default."""

_UNTOLD = ("run.seed", "audit.record")
"""Never told, as each run has its own; nor are places on somebody's machine."""

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
            said = facts.sources.text(f"{_CAPTIONS}#/{escape(Path(name).stem)}")
            blocks.append(Picture(facts.sweep.folder / name, alt, [f"{caption} ", said], wide=True))
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
    rows = [_point(facts, one) for one in facts.combinations]
    head = facts.row("Settings | Runs finished | Epsilon: artwork, artist | Utility | Before training")
    caption: list[Piece] = [
        "A row a combination of settings; its runs differ in their seed alone. All but epsilon are means "
        "over seeds, with the smallest to the largest below where they differ. Epsilon is the largest of a "
        "run by itself."
    ]
    if facts.asked is None:
        return [Table("points", caption, head, rows, frozenset(range(1, len(head))))]
    head += facts.row(
        "Membership [AUC](auc), platform | Membership [AUC](auc), worst view | Pictures identified, "
        "platform | Pictures identified, worst view | Artworks: platform, any view"
    )
    caption += facts.say(
        " Of leakage there follow, for the seed with the largest figure, the [confidence "
        "interval](interval), what is reached blind, [without looking](baseline), and the limit that the "
        "[guarantee allows](bound). Verdicts are the worst over seeds."
    )
    table = Table("points", caption, head, rows, frozenset(range(1, len(head) - 1)))
    return [table, _leaks_by_point(facts), Para([_OF_VERDICTS], "note")]


_OF_VERDICTS = (
    "“Inconclusive” means that at least one attack could not have shown anything, as it fails even where "
    "nothing is defended, or had too few trials; others of that row were tried in earnest and found nothing. "
    "Attacks on artists as a whole are left out of these verdicts, as a style card is published so that its "
    "artist is found; the table of runs has a verdict on everything."
)


def _point(facts: SweepFacts, one: Combination) -> list[Line]:
    row = facts.row(
        "{settings} | {finished} of {all:whole count} | {epsilons} | {utility} | {start}",
        settings=name_of(facts, one.places[0], facts.varied),
        finished=facts.say("{done:whole count}", done=facts.at(one.done, "cell")) if one.done else "none",
        all=facts.at(one.places, "cell"),
        epsilons=_epsilons(facts, one),
        utility=spread(facts, one.done, facts.utility),
        start=spread(facts, one.done, facts.start),
    )
    if facts.asked is None:
        return row
    row += [_leak(facts, one, f"{view}.{leak}") for leak in (AUC, RATE) for view in VIEWS]
    verdicts = (worst_verdict(facts, one.done, f"{view}.verdict_artwork") for view in VIEWS)
    return [*row, listed((Badge(v[0]) if v else Muted("none") for v in verdicts), Break())]


def _epsilons(facts: SweepFacts, one: Combination) -> Line:
    if not one.done:
        return ["none"]
    artwork, artist = (epsilon(facts, one.done, unit) for unit in ("artwork", "artist"))
    return facts.say("{artwork},\n{artist}", artwork=artwork, artist=artist)


def _leak(facts: SweepFacts, one: Combination, column: str) -> Line:
    """Mean and range over seeds; of the largest its interval, baseline and bound."""
    place = largest(facts, one.done, column)
    if place is None:
        return [Muted("not run" if one.done else "none")]
    return facts.say(
        "{spread}{interval}\n{limit}{bound:rate}",
        spread=spread(facts, one.done, column),
        interval=interval(facts, place, column),
        limit=Muted("limit "),
        bound=facts.at([place], f"{column}_bound"),
    )


def _leaks_by_point(facts: SweepFacts) -> Table:
    """Which attacks leak, by name."""
    rows: list[list[Line]] = []
    for one in facts.combinations:
        cells = [verdict_line(facts, one.done, view) for view in VIEWS]
        same = len({told(facts, one.done, view) for view in VIEWS}) == 1
        rows.append(
            [name_of(facts, one.places[0], facts.varied), cells[0], ["the same"] if same else cells[1]]
        )
    head = facts.row("Settings | In the platform's view | In any view")
    caption: Line = ["Which attacks on single artworks leak, and in how many runs."]
    return Table("leaks", caption, head, rows, wide=frozenset({1, 2}))


_FAIR = (
    "smallest",
    "largest",
    "gap_after",
    "gap_before",
    "lowest",
    "least_gain",
    "label_gap_after",
    "label_gap_before",
)


def fairness(facts: SweepFacts) -> list[Block]:
    """Small portfolios beside large ones, with and without privacy: a row a combination of settings."""
    there = {column.name for column in facts.sweep.table.columns}
    done = [i for one in facts.combinations for i in one.done]
    shown = [key for key in _FAIR if f"fairness.{key}" in there and facts.known(done, f"fairness.{key}")]
    if not shown:
        return [Para(["Nothing was measured artist by artist in these runs."], "note")]
    titles = facts.row(
        "Small portfolios | Large portfolios | Gap between them | Gap before training | Lowest artist | "
        "Least gain of an artist | Gap between labels | That gap before training"
    )
    heads = dict(zip(_FAIR, titles, strict=True))
    rows = [
        [
            name_of(facts, one.places[0], facts.varied),
            *(spread(facts, one.done, f"fairness.{key}") for key in shown),
        ]
        for one in facts.combinations
    ]
    caption: Line = [
        "What the runs are judged by, artist by artist: means over the quarter of artists with the smallest "
        "and the largest portfolios, how far apart they are, and the artist worst off; means over seeds. "
        "What privacy does to a gap is the difference between a row with a guarantee and one without. "
        "Columns without any figure are left out, as where all portfolios are of one size."
    ]
    head = [*facts.row("Settings"), *(heads[key] for key in shown)]
    note = (
        "These figures look at every artist's private test records, as utility does: the experimenter's. The "
        "lowest of many artists is low by chance alone; compare it between rows only."
    )
    table = Table("fairness", caption, head, rows, frozenset(range(1, len(head))))
    return [table, Para([note], "note")]


def runs(facts: SweepFacts) -> list[Block]:
    """A row a run, whatever became of it."""
    audited = facts.asked is not None
    head = facts.row(
        "Run | Seed | State | Epsilon | Utility | Artworks, platform | Artworks, any view | Anything, any "
        "view | Alarms | Training, seconds | Audit, seconds"
        if audited
        else "Run | Seed | State | Epsilon | Utility | Training, seconds"
    )
    rows = [_run(facts, i, audited) for i in range(len(facts.rows))]
    numeric = frozenset({1, 3, 4} | ({8, 9, 10} if audited else {5}))
    caption: Line = [
        "Every run, by the name of its folder in the sweep's. Each can have a report of its own."
    ]
    return [Table("runs", caption, head, rows, numeric)]


def _run(facts: SweepFacts, i: int, audited: bool) -> list[Line]:
    row = facts.rows[i]

    def cell(column: str, style: str) -> Line:
        if row[column] is None:
            return [Muted("none")]
        return [facts.sources.figure(facts.at([i], column), style)]

    cells = [
        *facts.row("{cell:text}", at=f"results.csv#/{i}"),
        cell("run.seed", "whole"),
        *facts.row("{state:text}", at=f"results.csv#/{i}"),
        [epsilon(facts, [i], row["privacy.unit"]) if i in facts.runs else Muted("none")],
        cell(facts.utility, "rate"),
    ]
    if not audited:
        return [*cells, cell("time.wall_s", "seconds")]
    verdicts = (row[key] for key in ("platform.verdict_artwork", "worst.verdict_artwork", "worst.verdict"))
    cells += [[Badge(verdict) if verdict else Muted("none")] for verdict in verdicts]
    times = [cell(column, "seconds") for column in ("time.wall_s", "time.audit_s")]
    return [*cells, cell("alarms", "whole"), *times]


def shared(facts: SweepFacts) -> list[Block]:
    """Settings that all runs share, and how they were audited."""
    defaults = Config().to_flat()
    places = Config.of_system(str(facts.base["run.system"])).places
    varied = {key for axis in facts.axes for key in axis.keys}
    told = [
        key
        for key, value in facts.base.items()
        if key not in varied
        and key not in (*_UNTOLD, *places)
        and (key in (*_SHARED, *facts.words.told) or value != defaults.get(key))
        and (key not in _OF_ATELIER or facts.base["gallery.source"] == "atelier")
        and value != ""
    ]
    rows = [
        facts.row(
            "{key} | {value} | {meaning}",
            key=Ref(key, "name"),
            value=_said(facts, f"grid.toml#/base/{escape(key)}", facts.base[key]),
            meaning=_meaning(facts, key),
        )
        for key in told
    ]
    caption = facts.say(
        "Settings that all runs share: the weighty ones, and those that are not the default. All are in "
        "{file}.",
        file=Ref("grid.toml", "name"),
    )
    head = facts.row("Setting | Value | What it is")
    return [Table("shared", caption, head, rows, wide=frozenset({2})), *_audit(facts)]


def _meaning(facts: SweepFacts, key: str) -> Line:
    known = key in facts.own["settings"]
    return [facts.sources.text(f"report.json#/settings/{escape(key)}/meaning")] if known else []


def _audit(facts: SweepFacts) -> list[Block]:
    """The audit's settings beside those of the preset that they began with."""
    if facts.asked is None:
        return [Para(["No run was audited."], "note")]
    preset, varied = facts.own["preset"], {key for axis in facts.axes for key in axis.keys}
    rows = [
        facts.row(
            "{key} | {here} | {preset}",
            key=Ref(key, "name"),
            here=_said(facts, f"grid.toml#/sweep/audit/{escape(key)}", value),
            preset=_said(facts, f"report.json#/preset/{escape(key)}", preset[key]),
        )
        for key, value in facts.asked.items()
        if key != "preset" and f"audit.{key}" not in varied
    ]
    head = facts.row("Setting of the audit | Here | In this version's preset")
    caption = facts.say(
        "How every run was audited: preset {presets}. What the grid varies is left out.",
        presets=audited_as(facts),
    )
    return [Table("audit", caption, head, rows)]


def _said(facts: SweepFacts, at: str, value: Any) -> Line:
    if isinstance(value, list | tuple):
        return listed(facts.sources.figure(f"{at}/{i}") for i in range(len(value))) or ["none"]
    return [facts.sources.figure(at)]
