"""The page on an own audit: the answer, what must hold, every figure, how it was made, and its limits."""

from __future__ import annotations

from collections.abc import Sequence

from fedstyle_secure.audit.findings import PROVEN
from fedstyle_secure.audit.own import papers_of
from fedstyle_secure.report.own.facts import OwnFacts
from fedstyle_secure.report.page.figure import attack_figure
from fedstyle_secure.report.page.papers import paper_line
from fedstyle_secure.report.page.pieces import (
    Answers,
    Badge,
    Block,
    Break,
    Bullets,
    Definitions,
    Document,
    Line,
    Para,
    Picture,
    Piece,
    Range,
    Ref,
    Section,
    Sign,
    Table,
)
from fedstyle_secure.report.page.policy import line_by_line, policy_sign, the_policy
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.page.words import GLOSSARY, MEANINGS, ORDER
from fedstyle_secure.report.run.closing import EVIDENCE, cited, hashes

_WORDS = ("auc", "baseline", "bound", "control", "delta", "epsilon", "interval", "tpr")

_SUBJECTS = {
    "model": "a model",
    "update": "a client's update",
    "private training": "a private training",
    "scores": "an attack's scores",
}

_LIMITS = (
    "A verdict “not broken” means that these attacks, with these budgets, did no better than not looking.",
    "Who were members and who were not is what whoever ran the audit said; were it otherwise, every figure "
    "would be another.",
    "Members and non-members that differ by more than the training, in when or how they were collected, are "
    "told apart without any model: the blind baseline looks for that in simple numbers of the records only.",
)


def own_document(facts: OwnFacts, date: str) -> Document:
    """Everything that HTML and PDF show.

    Args:
        facts: A checked own audit.
        date: ISO 8601.
    """
    by_line = Section("policy", "The policy, line by line", line_by_line(facts), annex=True)
    policy = [by_line] if facts.own["policy"] else []
    sections = [
        Section("answer", "At a glance", _first_page(facts)),
        Section("checks", "What must hold", _checks(facts)),
        Section("findings", "Every finding", _findings(facts)),
        Section("limits", "Limits", [Bullets([*([text] for text in _LIMITS), [EVIDENCE]])]),
        *policy,
        Section("method", "How each figure was made", _methods(facts), annex=True),
        Section("bibliography", "Where the attacks come from", _papers(facts), annex=True),
        Section("curves", "Curves", _curves(facts), annex=True),
        Section("provenance", "Hashes and numbers", _provenance(facts), annex=True),
        Section("glossary", "Words", [_glossary()], annex=True),
    ]  # fmt: skip
    subject = _SUBJECTS.get(str(facts.own_audit.about["subject"]), "an audit")
    called = Ref(facts.own_audit.folder.resolve().name, "name")
    return Document("Privacy audit report", [f"Audit of {subject}: ", called], date, _alarms(facts), sections)


def _glossary() -> Definitions:
    """The words that the page uses."""
    return Definitions([(key, [GLOSSARY[key][0]], [GLOSSARY[key][1]]) for key in _WORDS])


def _sign(facts: OwnFacts, i: int) -> Sign:
    return "alarm" if facts.findings[i].alarm else facts.findings[i].verdict


def _first_page(facts: OwnFacts) -> list[Block]:
    """What was looked at, the answer, the policy, what to do next, what is claimed, and one figure."""
    ran = [i for i, finding in enumerate(facts.findings) if finding.value is not None]
    broken = [i for i, check in enumerate(facts.checks) if check["holds"] is False]
    blocks: list[Block] = []
    for i in broken:
        line = facts.say("**Does not hold:** {name:text}: {says:text}.", at=f"audit.json#/checks/{i}")
        blocks.append(Para(line, "alarm"))
    subject = _SUBJECTS.get(str(facts.own_audit.about["subject"]), "an audit")
    attacked = " ".join(f"findings.json#/{i}/attack" for i in ran)
    blocks.append(
        Para(
            facts.say(
                "Looked at: {subject}, with {attacked:whole distinct} attacks that know "
                "which records were used and which were not.",
                subject=subject,
                attacked=attacked,
            )
            if ran
            else facts.say("Looked at: {subject}. **No attack was run.**", subject=subject),
            "lead",
        )
    )
    sign, answer = _answer(facts, ran)
    leaks = sign in ("leaks", "alarm")
    rows: list[tuple[str, Badge | None, Line]] = [
        ("The answer", Badge(sign), answer),
        ("The policy", Badge(policy_sign(facts)), the_policy(facts, leaks)),
        ("What to do next", None, _next(facts, sign, bool(broken))),
        ("What is claimed", None, _claimed(facts, ran)),
    ]
    blocks.append(Answers(rows))
    best: dict[str, int] = {}
    for i in sorted((i for i in ran if facts.findings[i].metric != PROVEN), key=lambda i: _weight(facts, i)):
        if facts.findings[i].fpr is None:
            best.setdefault(facts.findings[i].attack, i)
    return [*blocks, *attack_figure(facts, facts.findings, list(best.values()), {})]


def _answer(facts: OwnFacts, ran: Sequence[int]) -> tuple[Sign, Line]:
    """The worst verdict, and the figure that has it."""
    if not ran:
        return "not run", ["Not known: no attack was run."]
    worst = min(ran, key=lambda i: _weight(facts, i))
    sign = _sign(facts, worst)
    said = {
        "alarm": "A measurement lies above what is claimed. ",
        "leaks": "**Something leaks:** the attack tells more than guessing. ",
        "inconclusive": "**Not known:** no attack could have shown a leak here. ",
    }.get(sign, "**Nothing was found to leak** by these attacks. ")
    return sign, [*facts.say(said), *_led(facts, worst)]


def _next(facts: OwnFacts, sign: Sign, broken: bool) -> Line:
    if broken:
        return ["Mend first what does not hold: no figure counts until then."]
    if sign == "alarm":
        return ["Find out which is wrong, the claim or the audit."]
    if sign == "leaks":
        return [
            "Decide whether what leaks is acceptable. If not: train with more noise or fewer steps, and "
            "audit again; only a measurement says by how much it helps."
        ]
    if sign == "inconclusive":
        return ["Audit with more records, or with reference models: as it is nobody can tell."]
    return ["Nothing has to be done for what was attacked; audit again when the model changes."]


def _claimed(facts: OwnFacts, ran: Sequence[int]) -> Line:
    """What is claimed, and what planted records prove against it."""
    claim = facts.claim
    line: list[Piece] = facts.say("Nothing: no bound stands behind any figure.")
    if claim is not None and claim["epsilon"] is not None:
        line = facts.say(
            "[epsilon](epsilon) {audit.json#/claim/epsilon:epsilon}: whoever looks becomes surer about a "
            "single record by a factor of at most e to the power of epsilon."
        )
    proven = [i for i in ran if facts.findings[i].metric == PROVEN]
    if proven:
        line += facts.say(
            " Planted records prove at least epsilon {value:short}.", at=f"findings.json#/{proven[0]}"
        )
    return line


def _papers(facts: OwnFacts) -> list[Block]:
    """The paper of each attack that ran, and what of it."""
    ran = dict.fromkeys(f.attack for f in facts.findings if f.value is not None)
    rows: list[list[Line]] = []
    for attack in ran:
        i = next(i for i, f in enumerate(facts.findings) if f.attack == attack)
        papers = [paper_line(cited) for cited in papers_of(attack)]
        told = listed(papers, Break()) or ["no paper: made for this audit, or by whoever ran it"]
        rows.append([[facts.sources.text(f"findings.json#/{i}/attack")], told])
    if not rows:
        return [Para(["No attack ran."], "note")]
    caption: Line = ["The papers that the attacks follow, with the place in them, where there is one."]
    return [Table("papers", caption, [["Attack"], ["Paper, and what of it"]], rows, wide=frozenset({1}))]


def _weight(facts: OwnFacts, i: int) -> tuple[int, bool, float]:
    """For sorting, what says most first: its verdict, then whole curves, then how far above the baseline."""
    finding = facts.findings[i]
    ahead = (finding.value or 0.0) - (finding.baseline or 0.0)
    return ORDER.index(_sign(facts, i)), finding.fpr is not None, -ahead


def _led(facts: OwnFacts, i: int) -> Line:
    return facts.say(
        "{sign} {attack}: {metric}< of {fpr}> {value:rate}{ends}<, {baseline:rate} "
        "[without looking](baseline)>.",
        at=f"findings.json#/{i}",
        sign=Badge(_sign(facts, i)),
        ends=_ends(facts, i, " "),
    )


def _alarms(facts: OwnFacts) -> list[Block]:
    return [
        Para(
            facts.say(
                "{alarm} {attack}: {metric} of at least {low:rate} lies above the claim of {bound:rate}. The "
                "claim, or this audit, is wrong. Until it is known which, rely on neither.",
                at=f"findings.json#/{i}",
                alarm=Badge("alarm"),
            ),
            "alarm",
        )
        for i in facts.alarms
    ]


def _checks(facts: OwnFacts) -> list[Block]:
    if not facts.checks:
        return [Para(["This audit had nothing to check before its attacks."], "note")]
    told = {True: "holds", False: "does not hold", None: "not known"}
    rows = [
        facts.row(
            "{name:text} | {told} | {says:text}", at=f"audit.json#/checks/{i}", told=told[check["holds"]]
        )
        for i, check in enumerate(facts.checks)
    ]
    caption: Line = ["What must hold before a figure, or a guarantee, may be believed."]
    return [Table("checks-table", caption, facts.row("What | Whether | Found"), rows, wide=frozenset({2}))]


def _findings(facts: OwnFacts) -> list[Block]:
    ran = [i for i, finding in enumerate(facts.findings) if finding.value is not None]
    rest = [i for i, finding in enumerate(facts.findings) if finding.value is None]
    blocks: list[Block] = []
    if ran:
        head = facts.row(
            "Attack, metric | Verdict | Figure | [Without looking](baseline) | [Claim allows](bound) | "
            "[Control](control) | Records | What it stands on"
        )
        rows = [
            facts.row(
                "{attack}\n{metric}< of {fpr}> | {sign} | {value:rate}{ends}<\n{drawn}> | {baseline:rate} | "
                "{bound:rate} | {control:rate} | {n:whole} | <{reason}>",
                at=f"findings.json#/{i}",
                sign=Badge(_sign(facts, i)),
                drawn=_drawn(facts, i),
                ends=_ends(facts, i),
            )
            for i in ran
        ]
        caption: Line = ["What was measured, each with its interval; all intervals hold together."]
        numeric, wide = frozenset({3, 4, 5, 6}), frozenset({7})
        blocks.append(Table("figures", caption, head, rows, numeric, wide))
    if rest:
        rows = [
            facts.row("{attack} | {metric}< of {fpr}> | {reason}", at=f"findings.json#/{i}") for i in rest
        ]
        told: Line = ["What was not run, and why."]
        blocks.append(
            Table("not-run", told, facts.row("Attack | Metric | Why not"), rows, wide=frozenset({2}))
        )
    meanings = Definitions([("", [Badge(sign)], [MEANINGS[sign]]) for sign in ORDER if sign != "by design"])
    return [*blocks, meanings] if blocks else [Para(["This audit has no findings."], "note")]


def _ends(facts: OwnFacts, i: int, before: str = "\n") -> Line:
    if facts.findings[i].low is None or facts.findings[i].high is None:
        return []
    return facts.say(before + "[{low:rate},\N{NO-BREAK SPACE}{high:rate}]", at=f"findings.json#/{i}")


def _drawn(facts: OwnFacts, i: int) -> Line:
    finding = facts.findings[i]
    low, value, high = finding.low, finding.value, finding.high
    if value is None or low is None or high is None or min(low, value) < 0 or max(high, value) > 1:
        return []
    return [Range(low, value, high, finding.baseline, None, finding.alarm or finding.verdict == "leaks")]


def _methods(facts: OwnFacts) -> list[Block]:
    """How figures were made, those that were made alike together."""
    alike: dict[str, list[int]] = {}
    for i, finding in enumerate(facts.findings):
        if finding.value is not None and finding.method:
            alike.setdefault(finding.method, []).append(i)
    rows = [
        (
            "",
            listed(facts.say("{attack}< at {fpr}>", at=f"findings.json#/{i}") for i in places),
            facts.say(
                "{method:text}.< Confidence of each interval {confidence}.>", at=f"findings.json#/{places[0]}"
            ),
        )
        for places in alike.values()
    ]
    return [Definitions(rows)] if rows else [Para(["Nothing was measured."], "note")]


def _curves(facts: OwnFacts) -> list[Block]:
    path = facts.own_audit.folder / "roc.svg"
    if path.name not in facts.own_audit.hashes:
        return [Para(["This audit drew no curves."], "note")]
    caption: Line = ["The share of members that are found, at each share of non-members that are accused."]
    return [Picture(path, "ROC curves of the attacks; their figures are in the tables.", caption, wide=True)]


def _provenance(facts: OwnFacts) -> list[Block]:
    about = facts.own_audit.about["about"]
    plain = [name for name, value in about.items() if isinstance(value, str | int | float)]
    rows = [
        facts.row(
            "{name} | {told:short}",
            name=Ref(name.replace("_", " "), "name"),
            told=f"audit.json#/about/{name}",
        )
        for name in plain
    ]
    notes = [facts.sources.text(f"audit.json#/about/notes/{k}") for k in range(len(about.get("notes", ())))]
    blocks: list[Block] = [
        Table("about", ["What the figures stand on."], [["What"], ["Value"]], rows, wide=frozenset({1}))
    ]
    if notes:
        blocks.append(Para(listed(notes, "; "), "note"))
    made = cited(facts, "report.json#/made_with", facts.own["made_with"])
    software = Table("versions", ["Software of this report."], [["Package"], ["Version"]], made)
    return [*blocks, hashes(facts, _names(facts)), software]


def _names(facts: OwnFacts) -> Sequence[str]:
    return list(facts.own["hashes"])
