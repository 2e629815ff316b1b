"""Findings as tables: view by attack, every row, how each attack was made, the worst case per artist."""

from __future__ import annotations

from collections.abc import Sequence

from fedstyle_secure.audit.findings import Finding
from fedstyle_secure.report.page.pieces import (
    Badge,
    Block,
    Break,
    Code,
    Definitions,
    Line,
    Muted,
    Para,
    Picture,
    Piece,
    Range,
    Sign,
    Table,
)
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.page.words import LEVEL_WORDS, MEANINGS, ORDER, worst
from fedstyle_secure.report.run.answers import each_once, view_name, view_span, weighty
from fedstyle_secure.report.run.facts import Facts

NO_AUDIT = Para(
    ["No audit was run on this run: there are no findings. ", Code("fedstyle audit"), " makes them."], "note"
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
    told = attacks(facts)
    groups = _alike_views(facts)
    head: list[Line] = [["Attack"], *(view_names_of(facts, views) for views in groups)]
    rows: list[list[Line]] = []
    for name, places in told:
        cells = [
            _cell(facts, [i for i in places if facts.findings[i].view == facts.views[views[0]][1]["key"]])
            for views in groups
        ]
        rows.append([_attack_name(facts, name), *cells])
    caption = facts.say(
        "A cell shows the worst verdict over all targets and metrics, the figure that has it, over all "
        "artists where there is such a one, and its [confidence interval](interval) below it. Of single "
        "artists those count that fare worse than all together and leak: see the table of artists. "
        "Onlookers for whom everything is the same share a column; who each is stands in “Who holds what”."
    )
    return [Table("matrix", caption, head, rows), legend()]


def _alike_views(facts: Facts) -> list[list[int]]:
    """Places of views in which every attack found the same, and failed for the same reason, told together."""
    groups: dict[str, list[int]] = {}
    for i, view in facts.views:
        told = [
            f.to_dict() | {"view": "", "seconds": 0.0, "reason": f.reason if f.value is not None else ""}
            for f in facts.findings
            if f.view == view["key"]
        ]
        groups.setdefault(repr(told), []).append(i)
    return list(groups.values())


def view_names_of(facts: Facts, places: Sequence[int]) -> Line:
    """The names of some views, in one cell."""
    return listed((facts.sources.text(f"audit.json#/views/{i}/name") for i in places), ", ")


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
        weighty(facts, places),
        key=lambda i: (ORDER.index(worst([facts.findings[i]])), facts.findings[i].target != "all"),
    )
    figure = interval(facts, i) if facts.findings[i].value is not None else []
    return facts.say("{verdict}<\n{figure}>", verdict=Badge(worst([facts.findings[i]])), figure=figure)


def interval(facts: Facts, i: int) -> Line:
    """A finding's figure and its interval."""
    text = "{value:rate}<\n[{low:rate},\N{NO-BREAK SPACE}{high:rate}]>"
    return facts.say(text, at=f"findings.json#/{i}")


def measured(facts: Facts) -> list[Block]:
    """What was measured over all artists, the worst first. Views that see the same share a row."""
    if facts.audit is None:
        return [NO_AUDIT]
    ran = [places for places in _alike(facts) if _over_all(facts.findings[places[0]])]
    if not ran:
        return [Para(["Nothing was measured over all artists; the annex says why of each attack."], "note")]
    head = facts.row(
        "Attack, target, metric | Verdict | Figure, on a scale from none to all | "
        "[Without looking](baseline) | [Guarantee allows](bound) | [Undefended](control) | Trials | "
        "In the view of | What it stands on"
    )
    caption: Line = [
        "What was measured over all artists. Views that hold the same get the same figure, and share a row. "
        "Figures of single artists have a table of their own. On the scale the dot is the figure, the line "
        "its interval, the hollow tick what one gets without looking, the solid tick the most that the "
        "guarantee allows.",
    ]
    rows = [_row(facts, places) for places in ran]
    return [Table("measured", caption, head, rows, frozenset({3, 4, 5, 6}), frozenset({8}))]


def not_run(facts: Facts) -> list[Block]:
    """What was not run, by the reason why not."""
    if facts.audit is None:
        return [NO_AUDIT]
    reasons: dict[str, list[int]] = {}
    for _, places in attacks(facts):
        for i in places:
            if facts.findings[i].value is None:
                reasons.setdefault(facts.findings[i].reason, []).append(i)
    if not reasons:
        return [Para(["Everything that this audit knows was run in every view."], "note")]
    rows = [
        facts.row(
            "{reason} | {what} | {rows:whole count} | {views}",
            at=f"findings.json#/{places[0]}",
            what=listed(_whats(facts, places), Break()),
            rows=" ".join(f"findings.json#/{i}/verdict" for i in places),
            views=view_span(facts, places),
        )
        for places in sorted(reasons.values(), key=lambda places: -len(places))
    ]
    head = facts.row("Why not | Which attack and metric | Rows | In the view of")
    told: Line = ["What was not run, told once for each reason."]
    return [Table("not-run", told, head, rows, frozenset({2}), frozenset({0, 1, 3}))]


def _whats(facts: Facts, places: Sequence[int]) -> list[Line]:
    """Attacks with their metrics, and artists where it is of single ones, each once."""
    first: dict[tuple[str, str, str], int] = {}
    for i in places:
        f = facts.findings[i]
        first.setdefault((f.attack, f.quantity, f.target), i)
    return [
        facts.say(
            "{attack}, {metric}< of {fpr}><, {whom}>",
            at=f"findings.json#/{i}",
            whom=[] if facts.findings[i].target == "all" else target(facts, i),
        )
        for i in first.values()
    ]


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
    i, finding = places[0], facts.findings[places[0]]
    return facts.row(
        "{attack}\n{whom}, {metric}< of {fpr}> | {verdict} | {figure}<\n{drawn}> | {baseline:rate} | "
        "{bound:rate} | {control:rate} | {n:whole} | {views} | <{reason}>",
        at=f"findings.json#/{i}",
        whom=target(facts, i),
        verdict=Badge(worst([finding])),
        figure=interval(facts, i),
        drawn=scale(finding),
        views=view_span(facts, places),
    )


def target(facts: Facts, i: int) -> Line:
    """Whom a finding is about."""
    if facts.findings[i].target == "all":
        return ["all artists"]
    return [facts.sources.text(f"findings.json#/{i}/target")]


def scale(finding: Finding) -> Line:
    """A finding as a picture, where it lies between none and all."""
    drawn = Range.of(finding)
    return [] if drawn is None else [drawn]


def how_made(facts: Facts) -> list[Block]:
    """How every attack was made: in words, level, method, budget, seed, time."""
    if facts.audit is None:
        return [NO_AUDIT]
    rows = [("", _attack_name(facts, name), _how(facts, name, places)) for name, places in attacks(facts)]
    return [Definitions(rows)]


def _how(facts: Facts, name: str, places: Sequence[int]) -> Line:
    """How one attack was made."""
    assert facts.audit is not None
    line: list[Piece] = []
    for j, attack in enumerate(facts.audit["attacks"]):
        if attack["name"] == name and attack.get("explains"):
            line += facts.say("{explains:text} ", at=f"audit.json#/attacks/{j}")
    if places:
        some = facts.findings[places[0]]
        line.append(f"It would leak {LEVEL_WORDS[some.level]} ({some.category}). ")
    ran = [i for i in places if facts.findings[i].value is not None]
    if not ran:
        return [*line, "It was not run."]
    for key, word in (("method", "Figure"), ("budget", "Budget")):
        said = [i for i in ran if getattr(facts.findings[i], key)]
        line += [piece for told in each_once(facts, said, key) for piece in (f"{word}: ", told, ". ")]
    return line + facts.say(
        "Seed {seed:whole}, confidence of an interval {confidence}, {seconds:seconds} seconds.",
        at=f"findings.json#/{ran[0]}",
    )


def per_artist(facts: Facts, most: int | None = None) -> list[Block]:
    """The worst case of every artist, the most exposed first, one scale below the other.

    Args:
        facts: A checked run.
        most: Show so many; None: all, and who was not attacked.
    """
    if facts.audit is None:
        return [NO_AUDIT]
    worst_of: list[tuple[Piece, int]] = []
    skipped: list[Piece] = []
    without: list[Piece] = []
    for place, name in facts.artists:
        called = facts.sources.text(f"manifest.json#/gallery/artists/{place}/artist")
        own = [i for i, f in enumerate(facts.findings) if f.target == name and f.value is not None]
        if own:
            worst_of.append((called, min(own, key=lambda i: _how_bad(facts.findings[i]))))
        else:
            (without if name in facts.audit["artists"] else skipped).append(called)
    worst_of.sort(key=lambda found: _how_bad(facts.findings[found[1]]))
    shown = worst_of if most is None else worst_of[:most]
    head = facts.row(
        "Artist | Verdict | From none to all | Figure | [Without looking](baseline) | Attack, view, metric"
    )
    caption: list[Piece] = [
        "The worst finding of each artist alone, the most exposed first; its interval allows for having "
        "looked at all of them. "
    ]
    if len(shown) < len(worst_of):
        caption.append("All artists are in the annex, and every figure of each is in findings.csv.")
    else:
        caption.append("Every figure of every artist is in findings.csv.")
    key = "artists" if most is None else "most-exposed"
    rows = [_worst_case(facts, called, i) for called, i in shown]
    blocks: list[Block] = [Table(key, caption, head, rows, frozenset({4}), frozenset({5}))] if rows else []
    alone = facts.say(
        "<No finding of their own have: {artists}. What was measured over all artists is all there is.>",
        artists=listed(without),
    )
    if most is not None:
        return blocks or [Para(["No finding is of a single artist."], "note")]
    left = facts.say(
        "<This audit did not attack: {artists}. Its setting for the number of artists may be raised; a "
        "setting of nought attacks all.>",
        artists=listed(skipped),
    )
    return blocks + [Para(line, "note") for line in (alone, left) if line]


def _worst_case(facts: Facts, artist: Piece, i: int) -> list[Line]:
    finding = facts.findings[i]
    return facts.row(
        "{artist} | {verdict} | {drawn} | {figure} | {baseline:rate} | {attack}\n{view}, {metric}< of {fpr}>",
        at=f"findings.json#/{i}",
        artist=artist,
        verdict=Badge(worst([finding])),
        drawn=scale(finding),
        figure=interval(facts, i),
        view=view_name(facts, finding.view),
    )


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
        line = facts.say(
            "Pictures are kept back, as artists whose works they may show have withdrawn: {gone}.",
            gone=listed(facts.called(artist) for artist in gone),
        )
        return [Para(line, "note")]
    unknown = [artist for artist in facts.audit["artists"] if artist in facts.own["withdrawal_unknown"]]
    if unknown:
        line = facts.say(
            "Pictures are kept back, as nobody here can tell whether these artists have withdrawn: "
            "{unknown}. Their own ledgers say it (`--studios`).",
            unknown=listed(facts.called(artist) for artist in unknown),
        )
        return [Para(line, "note")]
    blocks: list[Block] = []
    for name in dict.fromkeys(name for finding in facts.findings for name in finding.pictures):
        places = [i for i, finding in enumerate(facts.findings) if name in finding.pictures]
        i = places[0]
        caption = facts.say(
            "{attack}, {whom}, in the view of {views}: a row a target: the truth first, then what the attack "
            "picked or drew, and what the same attack picks or draws without the run. Verdict: {verdict}.",
            at=f"findings.json#/{i}",
            whom=target(facts, i),
            views=view_span(facts, places),
            verdict=Badge(worst([facts.findings[i]])),
        )
        alt = "Contact sheet: true pictures, their reconstructions, and blind baselines side by side."
        blocks.append(Picture(facts.run.path / "audit" / name, alt, caption))
    if not blocks:
        return [Para(["No attack of this audit draws pictures, so there is none to show."], "note")]
    told = "Look at the columns on the right first: what is picked or drawn without the run is no leak."
    private = "Artists' own pictures are on this page: keep it among those to whom they allow them."
    return [Para([private], "note"), Para([told]), *blocks]


def curves(facts: Facts) -> list[Block]:
    """ROC curves with the limit that the guarantee sets, those with a limit first, told once how to read."""
    if facts.audit is None:
        return [NO_AUDIT]
    names = dict.fromkeys(finding.curve for finding in facts.findings if finding.curve)
    if not names:
        return [Para(["This audit drew no curves."], "note")]
    read = (
        "Each curve shows the share of members that are found, at each share of non-members that are "
        "accused: on the diagonal the attack guesses, in the upper left corner it is always right. The "
        "dashed curve is the same attack with nothing defended. Where a limit is drawn, it is the most that "
        "the guarantee allows; a member and a non-member differ in two records, one taken out and one put "
        "in, so epsilon counts twice in it, and is larger than the ledger's."
    )
    blocks: list[Block] = [Para([read])]
    first = {name: next(i for i, f in enumerate(facts.findings) if f.curve == name) for name in names}
    order = sorted(names, key=lambda name: (facts.findings[first[name]].bound is None, first[name]))
    for name in order:
        i = first[name]
        places = [j for j, finding in enumerate(facts.findings) if finding.curve == name]
        limit = "" if facts.findings[i].bound is not None else _no_limit(facts)
        caption = facts.say(
            "{attack}, {whom}, in the view of {views}.{limit}",
            at=f"findings.json#/{i}",
            whom=target(facts, i),
            views=view_span(facts, places),
            limit=limit,
        )
        alt = f"ROC curve of “{facts.findings[i].attack}”; its figures are in the tables."
        blocks.append(Picture(facts.run.path / "audit" / name, _spelt(alt), caption))
    return blocks


def _spelt(text: str) -> str:
    """A text without digits, as those of alternatives cite nothing."""
    return "".join("_" if c.isdigit() else c for c in text)


def _no_limit(facts: Facts) -> str:
    if facts.dp:
        return " No limit is drawn, as none follows: what the finding stands on says why."
    return " No limit is drawn, as there is no guarantee."


def alarms(facts: Facts) -> list[Block]:
    """What stands at the very top: findings above their bound."""
    return [
        Para(
            facts.say(
                "{alarm} {view}, {attack}, {whom}: {metric}< of {fpr}> {value:rate} (at least {low:rate}) "
                "lies above {bound:rate}, the most that the guarantee allows. This is a bug in the defence "
                "or in the attack. Until it is found, rely on no figure below.",
                at=f"findings.json#/{i}",
                alarm=Badge("alarm"),
                view=view_name(facts, facts.findings[i].view),
                whom=target(facts, i),
            ),
            "alarm",
        )
        for i in facts.alarms
    ]
