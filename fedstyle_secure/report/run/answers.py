"""What was asked, and the answer in five lines: findings in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from fedstyle_secure.audit.findings import PROVEN, Category, Finding, Level
from fedstyle_secure.report.page.pieces import Answers, Badge, Block, Line, Para, Piece, Sign, Strong, Term
from fedstyle_secure.report.page.sources import Sources
from fedstyle_secure.report.page.words import ORDER
from fedstyle_secure.report.run.facts import Facts

QUESTIONS: Sequence[tuple[str, str, tuple[Level, ...]]] = (
    ("pictures", "Can pictures be rebuilt or singled out?", ("L4", "L5")),
    ("membership", "Can one tell that a picture, or an artist, was used?", ("L0", "L1")),
    ("recognition", "Can an artist or its style be recognised?", ("L2", "L3")),
)
"""Questions that findings answer, with the levels that belong to them."""


_UNITS = ("artwork", "artist")
_NO = "no guarantee"


def worst(findings: Iterable[Finding]) -> Sign:
    """The worst verdict; `not run` where there is nothing."""
    found: set[Sign] = {"alarm" if finding.alarm else finding.verdict for finding in findings}
    return next((verdict for verdict in ORDER if verdict in found), "not run")


def asked(facts: Facts) -> list[Block]:
    """What was asked of which run, in a paragraph."""
    private = [f"manifest.json#/gallery/artists/{i}/artist" for i, _ in facts.artists]
    how = (
        "with noise on every release (differential privacy)"
        if facts.dp
        else "without noise: nothing bounds what its releases say"
    )
    sealed = (
        "and with sums that are added up under encryption"
        if facts.config.secure_sum.enabled
        else "and with nothing encrypted"
    )
    line: list[Piece] = [
        "A style-search model was trained over ",
        facts.sources.figure(" ".join(private), "whole", "count"),
        f" artists who keep their pictures, {how}, {sealed}. ",
    ]
    if facts.audit is None:
        line += ["Asked: what leaks? ", Strong("No audit was run"), ", so nothing measured answers that yet."]
    else:
        line += [
            "Asked: if the network, the platform, its helpers or a buyer want the artists' pictures, how far "
            f"do they get? We took their place, with what each of them {_held(facts)}, and attacked the run "
            "(",
            facts.sources.figure("audit.json#/attacks/*/name", "whole", "count"),
            " attacks in ",
            facts.sources.figure("audit.json#/views/*/name", "whole", "count"),
            " adversary views, on ",
            facts.sources.figure("audit.json#/artists/*", "whole", "count"),
            " of ",
            facts.sources.figure(" ".join(private), "whole", "count"),
            " artists, preset ",
            facts.sources.text("audit.json#/preset"),
            ").",
        ]
    return [Para(line, "lead")]


def _held(facts: Facts) -> str:
    assert facts.audit is not None
    lacking = facts.audit["settings"]["without"]
    if not lacking:
        return "really holds"
    return f"would hold if the run lacked what it does not lack ({', '.join(lacking).replace('_', ' ')})"


def five_lines(facts: Facts) -> Answers:
    """The answers, worst news first in each."""
    rows = [
        (question, Badge(verdict), line)
        for _, question, levels in QUESTIONS
        for verdict, line in [answer(facts, levels)]
    ]
    return Answers(
        [
            *rows,
            ("What is guaranteed?", None, _guarantee(facts)),
            ("What was not looked at?", None, _gaps(facts)),
        ]
    )


def answer(facts: Facts, levels: Sequence[Level]) -> tuple[Sign, Line]:
    """The verdict on some levels, and a line that says it."""
    chosen = [
        i
        for i, finding in enumerate(facts.findings)
        if finding.level in levels and (finding.metric != PROVEN or finding.alarm)
    ]
    verdict = worst(facts.findings[i] for i in chosen)
    if verdict == "not run":
        return verdict, ["Nobody looked: no attack of this kind was run.", *_reasons(facts, chosen)]
    line: list[Piece]
    of = {v: [i for i in chosen if worst([facts.findings[i]]) == v] for v in ORDER}
    unknown = _only(facts, of["inconclusive"], of["leaks"])
    if verdict == "alarm":
        line = ["A measurement lies above what the guarantee allows: a bug in the defence or in the attack: "]
        return verdict, [*line, *_measured(facts, of["alarm"][0]), "."]
    if verdict == "leaks":
        top = max(of["leaks"], key=lambda i: _margin(facts.findings[i]))
        line = ["Yes: ", *_measured(facts, top), ". It leaks to: ", *view_names(facts, of["leaks"]), "."]
        kept = _only(facts, of["not broken by this attack"], [*of["leaks"], *unknown])
        line += [" Not known in the view of: ", *view_names(facts, unknown), "."] if unknown else []
        line += [" Not broken in the view of: ", *view_names(facts, kept), "."] if kept else []
        return verdict, [*line, *_also(facts, of["leaks"], top), *_hardest_hit(facts, chosen)]
    tried: Line = ["Not broken by ", *_attacks(facts, of["not broken by this attack"]), "."]
    if verdict == "inconclusive":
        open_: Line = [
            "Not known: ",
            *_attacks(facts, of["inconclusive"]),
            " failed even where nothing is defended, or had too few trials to tell.",
        ]
        return verdict, [*open_, *([" ", *tried] if of["not broken by this attack"] else [])]
    top = max(chosen, key=lambda i: _margin(facts.findings[i]))
    return verdict, [*tried, " Closest: ", *_measured(facts, top), ".", *_hardest_hit(facts, chosen)]


def _also(facts: Facts, leaking: Sequence[int], told: int) -> list[Piece]:
    """The other attacks that leak, each with whom it serves."""
    line: list[Piece] = []
    for name in dict.fromkeys(facts.findings[i].attack for i in leaking):
        places = [i for i in leaking if facts.findings[i].attack == name]
        if name != facts.findings[told].attack:
            line += [" Also by “", facts.sources.text(f"findings.json#/{places[0]}/attack"), "”, to: "]
            line += [*view_names(facts, places), "."]
    return line


def _hardest_hit(facts: Facts, chosen: Sequence[int]) -> list[Piece]:
    """The single artist with the largest figure: a mean over artists can hide one."""
    single = [i for i in chosen if facts.findings[i].target != "all" and facts.findings[i].value is not None]
    if not single:
        return []
    top = max(single, key=lambda i: (facts.findings[i].value or 0.0) - (facts.findings[i].baseline or 0.0))
    at, figure = f"findings.json#/{top}", facts.sources.figure
    return [
        " Largest figure of a single artist: ",
        facts.sources.text(f"{at}/target"),
        ", ",
        *metric(facts.sources, at),
        " ",
        figure(f"{at}/value", "rate"),
        " (between ",
        figure(f"{at}/low", "rate"),
        " and ",
        figure(f"{at}/high", "rate"),
        ").",
    ]


def _reasons(facts: Facts, chosen: Sequence[int]) -> list[Piece]:
    first: dict[str, int] = {}
    for i in chosen:
        first.setdefault(facts.findings[i].reason, i)
    line: list[Piece] = []
    for i in first.values():
        line += ["; " if line else " Why: ", facts.sources.text(f"findings.json#/{i}/reason")]
    return [*line, "."] if line else []


def _measured(facts: Facts, i: int) -> Line:
    finding, at = facts.findings[i], f"findings.json#/{i}"
    figure = facts.sources.figure
    line: list[Piece] = [
        "in the view “",
        *view_name(facts, finding.view),
        "”, “",
        facts.sources.text(f"{at}/attack"),
        "” reaches",
    ]
    if finding.target != "all":
        line += [" for ", facts.sources.text(f"{at}/target")]
    line += [": ", *metric(facts.sources, at), " ", figure(f"{at}/value", "rate")]
    if finding.low is not None and finding.high is not None:
        line += [" (between ", figure(f"{at}/low", "rate"), " and ", figure(f"{at}/high", "rate"), ")"]
    if finding.baseline is not None:
        line += [", where ", figure(f"{at}/baseline", "rate"), " is reached without looking"]
    if finding.reason:
        line += [" (", facts.sources.text(f"{at}/reason"), ")"]
    return line


def _margin(finding: Finding) -> float:
    """How far a finding lies above its baseline; for choosing which one is told."""
    if finding.value is None:
        return -float("inf")
    return (finding.value if finding.low is None else finding.low) - (finding.baseline or 0.0)


def metric(sources: Sources, at: str) -> Line:
    """What the finding at a pointer measured, cited: its metric, and the rate that belongs to it."""
    known = sources.value(f"{at}/fpr") is not None
    return [sources.text(f"{at}/metric"), *([" of ", sources.figure(f"{at}/fpr")] if known else [])]


def view_name(facts: Facts, key: str) -> Line:
    """A view's name, cited."""
    return [
        facts.sources.text(f"audit.json#/views/{i}/name") for i, view in facts.views if view["key"] == key
    ]


def view_names(facts: Facts, chosen: Sequence[int]) -> Line:
    """The names of the views of some findings, in the audit's order."""
    keys = {facts.findings[i].view for i in chosen}
    return _list(
        [facts.sources.text(f"audit.json#/views/{i}/name") for i, view in facts.views if view["key"] in keys]
    )


def view_span(facts: Facts, chosen: Sequence[int]) -> Line:
    """The same, short: where most views are meant, those that are not."""
    keys = {facts.findings[i].view for i in chosen}
    others = [i for i, view in facts.views if view["key"] not in keys]
    if not others:
        return ["every view"]
    if 2 * len(others) < len(keys):
        return ["all but ", *_list([facts.sources.text(f"audit.json#/views/{i}/name") for i in others])]
    return view_names(facts, chosen)


def _attacks(facts: Facts, chosen: Sequence[int]) -> Line:
    first: dict[str, int] = {}
    for i in chosen:
        first.setdefault(facts.findings[i].attack, i)
    return _list([facts.sources.text(f"findings.json#/{i}/attack") for i in first.values()], "“", "”")


def _only(facts: Facts, chosen: Sequence[int], but: Sequence[int]) -> list[int]:
    leaking = {facts.findings[i].view for i in but}
    return [i for i in chosen if facts.findings[i].view not in leaking]


def _list(names: Sequence[Piece], left: str = "", right: str = "") -> list[Piece]:
    joined: list[Piece] = []
    for i, name in enumerate(names):
        joined += [" and " if i == len(names) - 1 else ", "] * (i > 0)
        joined += [left, name, right] if left else [name]
    return joined


def _guarantee(facts: Facts) -> Line:
    figure = facts.sources.figure
    line: list[Piece] = []
    for unit, whom in (("artwork", "one artwork"), ("artist", "one artist with the whole portfolio")):
        source = f"summary.json#/privacy/epsilon_{unit}_max"
        known = facts.sources.value(source) is not None
        line += [f"For {whom}: ", Term("epsilon", "epsilon"), " "] if known else [f"For {whom}: "]
        line += [figure(source, "epsilon", none="no guarantee")]
        line += [" at ", Term("delta", "delta"), " ", figure("summary.json#/privacy/delta")] if known else []
        line += [". "]
    if any(facts.sources.value(f"summary.json#/privacy/epsilon_{unit}_max") is not None for unit in _UNITS):
        line += [
            "Epsilon bounds how much likelier any conclusion can become because one of them took part: by a "
            "factor of e to the power of epsilon, so small is strong and large says little. "
        ]
    line += _proven(facts)
    compared = [f for f in facts.findings if f.bound is not None and f.low is not None]
    if not compared:
        return [*line, "No measurement was set against it."]
    said = (
        "some measurements lie above it"
        if facts.alarms
        else "no measurement lies above it beyond its interval"
    )
    return [*line, f"Set against what was measured: {said}."]


def _proven(facts: Facts) -> Line:
    """What canaries prove to have been given away at least."""
    found = [i for i, f in enumerate(facts.findings) if f.metric == PROVEN and f.value is not None]
    if not found:
        return []
    at = f"findings.json#/{max(found, key=lambda i: facts.findings[i].value or 0.0)}"
    figure = facts.sources.figure
    return [
        "Records that an auditor planted prove that at least epsilon ",
        figure(f"{at}/value"),
        " was given away by what they were sought in, for which the ledger states ",
        figure(f"{at}/bound", "epsilon", none=_NO),
        ". ",
    ]


def _gaps(facts: Facts) -> Line:
    if facts.audit is None:
        return ["Everything: no audit was run."]
    missing = [f"findings.json#/{i}/verdict" for i, f in enumerate(facts.findings) if f.verdict == "not run"]
    ran = {f.category for f in facts.findings if f.verdict != "not run"}
    classes = [category for category in get_args(Category) if category not in ran]
    line: list[Piece] = []
    if missing:
        figure = facts.sources.figure(" ".join(missing), "whole", "count")
        line += ["Rows marked “not run”, each with its reason: ", figure, ". "]
    line += (
        [f"Of the attack classes that the EDPB names, nothing was run for: {', '.join(classes)}. "]
        if classes
        else ["Each attack class that the EDPB names was tried at least once. "]
    )
    return [
        *line,
        "Attacks that nobody has published yet were not tried, and side channels were not looked at.",
    ]
