"""What was asked, and the answer in five lines: findings in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from fedstyle_secure.audit.findings import PROVEN, Category, Finding, Level
from fedstyle_secure.report.page.pieces import Answers, Badge, Block, Line, Para, Piece, Sign
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.page.words import ORDER, worst
from fedstyle_secure.report.run.facts import Facts

QUESTIONS: Sequence[tuple[str, str, tuple[Level, ...]]] = (
    ("pictures", "Can pictures be rebuilt or singled out?", ("L4", "L5")),
    ("membership", "Can one tell that a picture, or an artist, was used?", ("L0", "L1")),
    ("recognition", "Can an artist or its style be recognised?", ("L2", "L3")),
)
"""Questions that findings answer, with the levels that belong to them."""


_UNITS = ("artwork", "artist")


def weighty(facts: Facts, places: Iterable[int]) -> list[int]:
    """Findings that speak for an attack in a view: those over all artists, and of single artists those that
    leak, or all where there is none over all. So few pictures as one artist has are often inconclusive."""
    places = list(places)
    over = {
        (f.attack, f.view) for i in places if (f := facts.findings[i]).target == "all" and f.value is not None
    }
    return [
        i
        for i in places
        if (f := facts.findings[i]).target == "all"
        or (f.attack, f.view) not in over
        or worst([f]) in ("alarm", "leaks")
    ]


def asked(facts: Facts) -> list[Block]:
    """What was asked of which run, in a paragraph."""
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
    private, trained = (
        " ".join(f"manifest.json#/gallery/artists/{i}/artist" for i, _ in some)
        for some in (facts.artists, facts.trained)
    )
    line = facts.say(
        "A shared model was trained over {trained:whole count} artists who keep their pictures, {how}, "
        "{sealed}. ",
        trained=trained,
        how=how,
        sealed=sealed,
    )
    if apart := [artist for one in facts.artists if one not in facts.trained for artist in one[1:]]:
        line += facts.say(
            "Of the gallery's artists these released nothing for it: {apart}. ",
            apart=listed([facts.called(artist) for artist in apart]),
        )
    if facts.audit is None:
        line += facts.say("Asked: what leaks? **No audit was run**, so nothing measured answers that yet.")
    else:
        line += facts.say(
            "Asked: if the network, the platform, its helpers or a buyer want the artists' pictures, how far "
            "do they get? We took their place, with what each of them {held}, and attacked the run "
            "({audit.json#/attacks/*/name:whole count} attacks in {audit.json#/views/*/name:whole count} "
            "adversary views, on {audit.json#/artists/*:whole count} of {private:whole count} artists, "
            "preset {audit.json#/preset:text}).",
            held=facts.held,
            private=private,
        )
    return [Para(line, "lead")]


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
        why = listed(each_once(facts, chosen, "reason"), "; ")
        return verdict, facts.say("Nobody looked: no attack of this kind was run.< Why: {why}.>", why=why)
    of = {v: [i for i in chosen if worst([facts.findings[i]]) == v] for v in ORDER}
    if verdict == "alarm":
        return verdict, facts.say(
            "A measurement lies above what the guarantee allows: a bug in the defence or in the attack: "
            "{measured}.",
            measured=_measured(facts, of["alarm"][0]),
        )
    kept = of["not broken by this attack"]
    if verdict == "by design":
        meant = facts.say(
            "Meant to: {measured}.< Not broken: {kept}.>",
            measured=_measured(facts, of["by design"][0]),
            kept=_attacks(facts, _not_by(facts, kept, of["by design"])),
        )
        return verdict, meant
    if verdict == "leaks":
        line = _leaks(facts, of["leaks"], of["inconclusive"], kept)
        return verdict, [*line, *_hardest_hit(facts, chosen)]
    if verdict == "inconclusive":
        weak = of["inconclusive"]
        return verdict, facts.say(
            "Not known: {attacks} failed even where nothing is defended, or had too few trials to tell, in "
            "one view at least.< Not broken by {kept}.>",
            attacks=_attacks(facts, weak),
            kept=_attacks(facts, _not_by(facts, kept, weak)),
        )
    tried = facts.say("<Not broken by {attacks}.>", attacks=_attacks(facts, kept))
    closest = _measured(facts, max(chosen, key=lambda i: margin(facts.findings[i])))
    return verdict, [*tried, " Closest: ", *closest, ".", *_hardest_hit(facts, chosen)]


def _leaks(facts: Facts, leaking: Sequence[int], weak: Sequence[int], kept: Sequence[int]) -> Line:
    """What leaks most and to whom, in which other views nobody can tell, and which keep it."""
    top = max(leaking, key=lambda i: margin(facts.findings[i]))
    unknown = _only(facts, weak, leaking)
    return facts.say(
        "Yes: {measured}. It leaks to: {whom}.< Not known in the view of: {unknown}.>"
        "< Not broken in the view of: {kept}.>{also}",
        measured=_measured(facts, top),
        whom=view_names(facts, leaking),
        unknown=view_names(facts, unknown),
        kept=view_names(facts, _only(facts, kept, [*leaking, *unknown])),
        also=_also(facts, leaking, top),
    )


def _also(facts: Facts, leaking: Sequence[int], told: int) -> list[Piece]:
    """The other attacks that leak, each with whom it serves."""
    line: list[Piece] = []
    for name in dict.fromkeys(facts.findings[i].attack for i in leaking):
        places = [i for i in leaking if facts.findings[i].attack == name]
        if name != facts.findings[told].attack:
            at, whom = f"findings.json#/{places[0]}", view_names(facts, places)
            line += facts.say(" Also by “{attack}”, to: {whom}.", at=at, whom=whom)
    return line


def _hardest_hit(facts: Facts, chosen: Sequence[int]) -> list[Piece]:
    """The single artist with the largest figure: a mean over artists can hide one."""
    single = [i for i in chosen if facts.findings[i].target != "all" and facts.findings[i].value is not None]
    if not single:
        return []
    top = max(single, key=lambda i: (facts.findings[i].value or 0.0) - (facts.findings[i].baseline or 0.0))
    return facts.say(
        " Largest figure of a single artist: {target}, {metric}< of {fpr}> {value:rate} (between {low:rate} "
        "and {high:rate}).",
        at=f"findings.json#/{top}",
    )


def _measured(facts: Facts, i: int) -> Line:
    finding, at = facts.findings[i], f"findings.json#/{i}"
    return facts.say(
        "in the view “{view}”, “{attack}” reaches< for {whom}>: {metric}< of {fpr}> {value:rate}"
        "< (between {low:rate} and {high:rate})><, where {baseline:rate} is reached without looking>"
        "< ({reason})>",
        at=at,
        view=view_name(facts, finding.view),
        whom=[] if finding.target == "all" else facts.say("{target}", at=at),
    )


def margin(finding: Finding) -> float:
    """How far a finding lies above its baseline; for choosing which one is told."""
    if finding.value is None:
        return -float("inf")
    return (finding.value if finding.low is None else finding.low) - (finding.baseline or 0.0)


def view_name(facts: Facts, key: str) -> Line:
    """A view's name, cited."""
    return [_view(facts, i) for i, view in facts.views if view["key"] == key]


def _view(facts: Facts, i: int) -> Piece:
    return facts.sources.text(f"audit.json#/views/{i}/name")


def _quoted(facts: Facts, i: int) -> Line:
    """A view's name between marks, as names have an “and” in them themselves."""
    return ["“", _view(facts, i), "”"]


def view_names(facts: Facts, chosen: Sequence[int]) -> Line:
    """The names of the views of some findings, in the audit's order."""
    keys = {facts.findings[i].view for i in chosen}
    return listed([_quoted(facts, i) for i, view in facts.views if view["key"] in keys], last=" and ")


def view_span(facts: Facts, chosen: Sequence[int]) -> Line:
    """The same, short: where most views are meant, those that are not."""
    keys = {facts.findings[i].view for i in chosen}
    others = [i for i, view in facts.views if view["key"] not in keys]
    if not others:
        return ["every view"]
    if 2 * len(others) < len(keys):
        return ["all but ", *listed([_quoted(facts, i) for i in others], last=" and ")]
    return view_names(facts, chosen)


def _attacks(facts: Facts, chosen: Sequence[int]) -> Line:
    names = each_once(facts, chosen, "attack")
    return listed((["“", name, "”"] for name in names), last=" and ")


def each_once(facts: Facts, chosen: Sequence[int], key: str) -> list[Piece]:
    """What some findings say, each text once, cited where it stands first."""
    first = {getattr(facts.findings[i], key): i for i in reversed(chosen)}
    return [facts.sources.text(f"findings.json#/{i}/{key}") for i in sorted(first.values())]


def _not_by(facts: Facts, chosen: Sequence[int], but: Sequence[int]) -> list[int]:
    """Those of other attacks: one that is named with a worse verdict is not named again."""
    named = {facts.findings[i].attack for i in but}
    return [i for i in chosen if facts.findings[i].attack not in named]


def _only(facts: Facts, chosen: Sequence[int], but: Sequence[int]) -> list[int]:
    leaking = {facts.findings[i].view for i in but}
    return [i for i in chosen if facts.findings[i].view not in leaking]


def _guarantee(facts: Facts) -> Line:
    """What is guaranteed to whom, and what was measured against it."""
    line: list[Piece] = []
    for unit, whom in (("artwork", "one artwork"), ("artist", "one artist with the whole portfolio")):
        told = (
            "{epsilon:epsilon|no guarantee}"
            if facts.summary["privacy"][f"epsilon_{unit}_max"] is None
            else "[epsilon](epsilon) {epsilon:epsilon} at [delta](delta) {summary.json#/privacy/delta}"
        )
        line += facts.say(f"For {whom}: {told}. ", epsilon=f"summary.json#/privacy/epsilon_{unit}_max")
    if any(facts.summary["privacy"][f"epsilon_{unit}_max"] is not None for unit in _UNITS):
        line += [
            "Epsilon bounds how much likelier any conclusion can become because one of them took part: by a "
            "factor of e to the power of epsilon, so small is strong and large says little. "
        ]
    if facts.shares:
        line += ["What is summed holds it against everybody but platform and opener together. "]
    line += _proven(facts)
    if not [f for f in facts.findings if f.bound is not None and f.low is not None]:
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
    return facts.say(
        "Records that an auditor planted prove that at least epsilon {value} was given away by what they "
        "were sought in, for which the ledger states {bound:epsilon|no guarantee}. ",
        at=f"findings.json#/{max(found, key=lambda i: facts.findings[i].value or 0.0)}",
    )


def _gaps(facts: Facts) -> Line:
    if facts.audit is None:
        return ["Everything: no audit was run."]
    missing = [f"findings.json#/{i}/verdict" for i, f in enumerate(facts.findings) if f.verdict == "not run"]
    ran = {f.category for f in facts.findings if f.verdict != "not run"}
    classes = [category for category in get_args(Category) if category not in ran]
    tried = (
        f"Of the attack classes that the EDPB names, nothing was run for: {', '.join(classes)}."
        if classes
        else "Each attack class that the EDPB names was tried at least once."
    )
    count = facts.say("{missing:whole count}", missing=" ".join(missing)) if missing else []
    return facts.say(
        "<Rows marked “not run”, each with its reason: {count}. >{tried} Attacks that nobody has published "
        "yet were not tried, and side channels were not looked at.",
        count=count,
        tried=tried,
    )
