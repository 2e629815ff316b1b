"""Findings as tables: view by attack, every row, how each attack was made, the worst case per artist."""

from __future__ import annotations

from collections.abc import Sequence

from fedstyle_secure.audit.findings import Finding
from fedstyle_secure.report.page.pieces import (
    Badge,
    Block,
    Break,
    Definitions,
    Line,
    Muted,
    Para,
    Picture,
    Piece,
    Range,
    Sign,
    Table,
    Term,
)
from fedstyle_secure.report.page.words import LEVEL_WORDS, MEANINGS, ORDER
from fedstyle_secure.report.run.answers import metric, view_name, view_span, worst
from fedstyle_secure.report.run.facts import Facts

NO_AUDIT = Para(
    ["No audit was run on this run: there are no findings. ", "`fedstyle audit` makes them."], "note"
)


def legend() -> Definitions:
    """What the verdicts mean."""
    return Definitions([("", [Badge(verdict)], [MEANINGS[verdict]]) for verdict in ORDER])


def attacks(facts: Facts) -> list[tuple[str, list[int]]]:
    """Attacks by name in the audit's order, each with the places of its findings."""
    order = [attack["name"] for attack in facts.audit["attacks"]] if facts.audit else []
    names = dict.fromkeys([*order, *(finding.attack for finding in facts.findings)])
    return [(name, [i for i, f in enumerate(facts.findings) if f.attack == name]) for name in names]


def matrix(facts: Facts) -> list[Block]:
    """The worst verdict of every attack under every view, with its figure and interval."""
    if facts.audit is None:
        return [NO_AUDIT]
    head: list[Line] = [
        ["Attack"],
        *([facts.sources.text(f"audit.json#/views/{i}/name")] for i, _ in facts.views),
    ]
    rows: list[list[Line]] = []
    for name, places in attacks(facts):
        cells = [
            _cell(facts, [i for i in places if facts.findings[i].view == view["key"]])
            for _, view in facts.views
        ]
        rows.append([_attack_name(facts, name), *cells])
    table = Table(
        "matrix",
        [
            "A cell shows the worst verdict over all targets and metrics, the figure that has it, over all "
            "artists where there is such a one, and its ",
            Term("confidence interval", "interval"),
            " below it. A single artist may fare worse than all together: see the table of artists.",
        ],
        head,
        rows,
    )
    return [table, legend()]


def _attack_name(facts: Facts, name: str) -> Line:
    assert facts.audit is not None
    for i, attack in enumerate(facts.audit["attacks"]):
        if attack["name"] == name:
            return [facts.sources.text(f"audit.json#/attacks/{i}/name")]
    i = next(i for i, finding in enumerate(facts.findings) if finding.attack == name)
    return [facts.sources.text(f"findings.json#/{i}/attack")]


def _cell(facts: Facts, places: Sequence[int]) -> Line:
    if not places:
        return [Muted("not in this audit")]
    i = min(
        places, key=lambda i: (ORDER.index(worst([facts.findings[i]])), facts.findings[i].target != "all")
    )
    line: list[Piece] = [Badge(worst([facts.findings[i]]))]
    return [*line, Break(), *interval(facts, i)] if facts.findings[i].value is not None else line


def interval(facts: Facts, i: int) -> Line:
    """A finding's figure and its interval."""
    finding, at, figure = facts.findings[i], f"findings.json#/{i}", facts.sources.figure
    line: list[Piece] = [figure(f"{at}/value", "rate")]
    if finding.low is not None and finding.high is not None:
        line += [
            Break(),
            "[",
            figure(f"{at}/low", "rate"),
            ",\N{NO-BREAK SPACE}",
            figure(f"{at}/high", "rate"),
            "]",
        ]
    return line


def every_row(facts: Facts) -> list[Block]:
    """Every finding: what was measured, and what was not run. Views that see the same share a row."""
    if facts.audit is None:
        return [NO_AUDIT]
    groups = _alike(facts)
    ran = [places for places in groups if _over_all(facts.findings[places[0]])]
    rest = [places for places in groups if facts.findings[places[0]].value is None]
    blocks: list[Block] = []
    if ran:
        head: list[Line] = [
            ["Attack, target, metric"],
            ["Verdict"],
            ["Figure, on a scale from none to all"],
            [Term("Without looking", "baseline")],
            [Term("Guarantee allows", "bound")],
            [Term("Undefended", "control")],
            ["Trials"],
            ["In the view of"],
            ["What it stands on"],
        ]
        caption: Line = [
            "What was measured over all artists. Views that hold the same get the same figure, and share a "
            "row. Figures of single artists have a table of their own."
        ]
        rows = [_row(facts, places) for places in ran]
        numeric, wide = frozenset({3, 4, 5, 6}), frozenset({8})
        blocks.append(Table("measured", caption, head, rows, numeric, wide))
    if rest:
        told: Line = ["What was not run, for whom, and why."]
        lines: list[list[Line]] = [
            [
                [facts.sources.text(f"findings.json#/{places[0]}/attack")],
                metric(facts.sources, f"findings.json#/{places[0]}"),
                view_span(facts, places),
                [facts.sources.text(f"findings.json#/{places[0]}/reason")],
            ]
            for places in rest
        ]
        names: list[Line] = [["Attack"], ["Metric"], ["In the view of"], ["Why not"]]
        blocks.append(Table("not-run", told, names, lines, wide=frozenset({2, 3})))
    return blocks or [Para(["This audit has no findings."], "note")]


def _over_all(finding: Finding) -> bool:
    return finding.value is not None and finding.target == "all"


def _alike(facts: Facts) -> list[list[int]]:
    """Places of findings that differ in nothing but the view and the time they took, attack by attack."""
    groups: dict[str, list[int]] = {}
    for _, places in attacks(facts):
        for i in places:
            values = facts.findings[i].to_dict() | {"view": "", "seconds": 0.0}
            groups.setdefault(repr(values), []).append(i)
    return list(groups.values())


def _row(facts: Facts, places: Sequence[int]) -> list[Line]:
    i, figure, text = places[0], facts.sources.figure, facts.sources.text
    finding, at = facts.findings[i], f"findings.json#/{i}"
    none = "none"
    return [
        [text(f"{at}/attack"), Break(), *target(facts, i), ", ", *metric(facts.sources, at)],
        [Badge(worst([finding]))],
        [*interval(facts, i), *([Break(), *drawn] if (drawn := scale(finding)) else [])],
        [figure(f"{at}/baseline", "rate", none=none)],
        [figure(f"{at}/bound", "rate", none=none)],
        [figure(f"{at}/control", "rate", none=none)],
        [figure(f"{at}/n", "whole")],
        view_span(facts, places),
        [text(f"{at}/reason")] if finding.reason else [],
    ]


def target(facts: Facts, i: int) -> Line:
    """Whom a finding is about."""
    return (
        ["all artists"]
        if facts.findings[i].target == "all"
        else [facts.sources.text(f"findings.json#/{i}/target")]
    )


def scale(finding: Finding) -> Line:
    """A finding as a picture, where it lies between none and all."""
    low, value, high = finding.low, finding.value, finding.high
    if value is None or low is None or high is None or min(low, value) < 0 or max(high, value) > 1:
        return []
    inside = [x if x is not None and 0 <= x <= 1 else None for x in (finding.baseline, finding.bound)]
    return [Range(low, value, high, inside[0], inside[1], finding.alarm or finding.verdict == "leaks")]


def how_made(facts: Facts) -> list[Block]:
    """How every attack was made: in words, level, method, budget, seed, time."""
    if facts.audit is None:
        return [NO_AUDIT]
    blocks: list[Block] = []
    rows: list[tuple[str, Line, Line]] = []
    text, figure = facts.sources.text, facts.sources.figure
    for name, places in attacks(facts):
        line: list[Piece] = []
        for j, attack in enumerate(facts.audit["attacks"]):
            if attack["name"] == name and attack.get("explains"):
                line += [text(f"audit.json#/attacks/{j}/explains"), " "]
        ran = [i for i in places if facts.findings[i].value is not None]
        if places:
            some = facts.findings[places[0]]
            line += ["It would leak ", LEVEL_WORDS[some.level], f" ({some.category}). "]
        if not ran:
            line += ["It was not run."]
        for key, words in (("method", "Figure: "), ("budget", "Budget: ")):
            seen = {
                getattr(facts.findings[i], key): i for i in reversed(ran) if getattr(facts.findings[i], key)
            }
            for i in sorted(seen.values()):
                line += [words, text(f"findings.json#/{i}/{key}"), ". "]
        if ran:
            line += [
                "Seed ",
                figure(f"findings.json#/{ran[0]}/seed", "whole"),
                ", confidence of an interval ",
            ]
            line += [figure(f"findings.json#/{ran[0]}/confidence"), ", "]
            line += [figure(f"findings.json#/{ran[0]}/seconds", "seconds"), " seconds."]
        rows.append(("", _attack_name(facts, name), line))
    return [*blocks, Definitions(rows)]


def per_artist(facts: Facts) -> list[Block]:
    """The worst case of every artist, one scale below the other."""
    if facts.audit is None:
        return [NO_AUDIT]
    own = {
        name: [
            i
            for i, finding in enumerate(facts.findings)
            if finding.target == name and finding.value is not None
        ]
        for _, name in facts.artists
    }
    rows: list[list[Line]] = []
    skipped: list[Piece] = []
    without: list[Piece] = []
    for place, name in facts.artists:
        called = facts.sources.text(f"manifest.json#/gallery/artists/{place}/artist")
        if not own[name]:
            names = without if name in facts.audit["artists"] else skipped
            names += [", "] * bool(names) + [called]
            continue
        i = min(own[name], key=lambda i: _how_bad(facts.findings[i]))
        finding = facts.findings[i]
        what: Line = [
            facts.sources.text(f"findings.json#/{i}/attack"),
            Break(),
            *view_name(facts, finding.view),
            ", ",
            *metric(facts.sources, f"findings.json#/{i}"),
        ]
        rows.append(
            [
                [called],
                [Badge(worst([finding]))],
                scale(finding),
                interval(facts, i),
                [facts.sources.figure(f"findings.json#/{i}/baseline", "rate")],
                what,
            ]
        )
    blocks: list[Block] = []
    if rows:
        head: list[Line] = [
            ["Artist"],
            ["Verdict"],
            ["From none to all"],
            ["Figure"],
            [Term("Without looking", "baseline")],
            ["Attack, view, metric"],
        ]
        caption: Line = [
            "The worst finding of each artist alone; its interval allows for having looked at all of them. "
            "Every figure of every artist is in findings.csv. The dot is the figure, the line its interval, "
            "the hollow tick what one gets without looking, the solid tick the most that the guarantee "
            "allows."
        ]
        blocks.append(Table("artists", caption, head, rows, frozenset({4}), frozenset({5})))
    if without:
        said = ". What was measured over all artists is all there is."
        blocks.append(Para(["No finding of their own have: ", *without, said], "note"))
    if skipped:
        said = ". Its setting for the number of artists may be raised; a setting of nought attacks all."
        blocks.append(Para(["This audit did not attack: ", *skipped, said], "note"))
    return blocks


def _how_bad(finding: Finding) -> tuple[int, float]:
    """For sorting, the worst first. What proves nothing comes last: it would hide figures that do."""
    order: tuple[Sign, ...] = ("alarm", "leaks", "not broken by this attack", "inconclusive")
    return order.index(worst([finding])), (finding.baseline or 0.0) - (finding.value or 0.0)


def panels(facts: Facts) -> list[Block]:
    """Contact sheets of truth, reconstruction and what a blind attack draws, if pictures may be shown."""
    if facts.audit is None:
        return [NO_AUDIT]
    if not facts.audit["show_pictures"]:
        return [Para(["The auditor's setting does not allow pictures, so none is shown here."], "note")]
    gone = [artist for artist in facts.audit["artists"] if artist in facts.own["withdrawn"]]
    if gone:
        names = [piece for artist in gone for piece in (", ", facts.called(artist))][1:]
        told = "Pictures are kept back, as artists whose works they may show have withdrawn: "
        return [Para([told, *names, "."], "note")]
    blocks: list[Block] = []
    for name in dict.fromkeys(name for finding in facts.findings for name in finding.pictures):
        places = [i for i, finding in enumerate(facts.findings) if name in finding.pictures]
        i = places[0]
        caption: Line = [
            facts.sources.text(f"findings.json#/{i}/attack"),
            ", ",
            *target(facts, i),
            ", in the view of ",
            *view_span(facts, places),
            ": a row a target: the truth first, then what the attack picked or drew, and what the same "
            "attack picks or draws without the run. Verdict: ",
            Badge(worst([facts.findings[i]])),
            ".",
        ]
        alt = "Contact sheet: true pictures, their reconstructions, and blind baselines side by side."
        blocks.append(Picture(facts.run.path / "audit" / name, alt, caption))
    if not blocks:
        return [Para(["No attack of this audit draws pictures, so there is none to show."], "note")]
    told = "Look at the columns on the right first: what is picked or drawn without the run is no leak."
    private = "Artists' own pictures are on this page: keep it among those to whom they allow them."
    return [Para([private], "note"), Para([told]), *blocks]


def curves(facts: Facts) -> list[Block]:
    """ROC curves with the limit that the guarantee sets."""
    if facts.audit is None:
        return [NO_AUDIT]
    blocks: list[Block] = []
    for name in dict.fromkeys(finding.curve for finding in facts.findings if finding.curve):
        places = [i for i, finding in enumerate(facts.findings) if finding.curve == name]
        i = places[0]
        bounded = facts.findings[i].bound is not None
        limit = (
            "The limit drawn is the most that the guarantee allows."
            if bounded
            else "No limit is drawn, as none follows: what the finding stands on says why."
            if facts.dp
            else "No limit is drawn, as there is no guarantee."
        )
        if bounded and facts.findings[i].details.get("hops", 1) > 1:
            limit += (
                " A member and a non-member differ in two records, one taken out and one put in, so that "
                "epsilon counts twice in it, and is larger than the ledger's."
            )
        caption: Line = [
            facts.sources.text(f"findings.json#/{i}/attack"),
            ", ",
            *target(facts, i),
            ", in the view of ",
            *view_span(facts, places),
            f": share of members that are found, at each share of non-members that are accused. {limit}",
        ]
        blocks.append(
            Picture(facts.run.path / "audit" / name, "ROC curve; its figures are in the tables.", caption)
        )
    return blocks or [Para(["This audit drew no curves."], "note")]


def alarms(facts: Facts) -> list[Block]:
    """What stands at the very top: findings above their bound."""
    blocks: list[Block] = []
    for i in facts.alarms:
        at = f"findings.json#/{i}"
        line: Line = [
            Badge("alarm"),
            " ",
            *view_name(facts, facts.findings[i].view),
            ", ",
            facts.sources.text(f"{at}/attack"),
            ", ",
            *target(facts, i),
            ": ",
            *metric(facts.sources, at),
            " ",
            facts.sources.figure(f"{at}/value", "rate"),
            " (at least ",
            facts.sources.figure(f"{at}/low", "rate"),
            ") lies above ",
            facts.sources.figure(f"{at}/bound", "rate"),
            ", the most that the guarantee allows. This is a bug in the defence or in the attack. Until it "
            "is "
            "found, rely on no figure below.",
        ]
        blocks.append(Para(line, "alarm"))
    return blocks
