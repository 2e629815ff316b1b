"""Page one: what was looked at, the answer, what a policy says, what to do next, and one figure."""

from __future__ import annotations

from collections.abc import Sequence

from fedstyle_secure.audit.findings import PROVEN, Finding
from fedstyle_secure.report.page.figure import attack_figure
from fedstyle_secure.report.page.pieces import Answers, Badge, Block, Line, Para, Piece, Sign
from fedstyle_secure.report.page.policy import policy_sign, the_policy
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.page.words import CONSEQUENCES, METRIC_WORDS, ORDER, worst
from fedstyle_secure.report.run.answers import margin, view_span
from fedstyle_secure.report.run.facts import Facts
from fedstyle_secure.report.run.next_steps import next_steps


def first_page(facts: Facts) -> list[Block]:
    """Everything that somebody needs who has two minutes."""
    sign, answer = the_answer(facts)
    rows: list[tuple[str, Badge | None, Line]] = [
        ("The answer", Badge(sign), answer),
        ("The policy", Badge(policy_sign(facts)), the_policy(facts, _leaks(facts))),
        ("What to do next", None, next_steps(facts)),
        ("What is promised", None, _promise(facts)),
        ("What this does not say", None, _unsaid(facts)),
    ]
    return [Para(_looked_at(facts), "lead"), Answers(rows), *the_figure(facts)]


def _leaks(facts: Facts) -> bool:
    return any(finding.verdict == "leaks" for finding in facts.findings)


def _looked_at(facts: Facts) -> Line:
    """What system, of whom, when, and how it was looked at."""
    private = " ".join(f"manifest.json#/gallery/artists/{i}/artist" for i, _ in facts.artists)
    kept = "adding noise to what leaves them" if facts.dp else "adding no noise to what leaves them"
    sealed = "sums of it are encrypted" if facts.config.secure_sum.enabled else "nothing of it is encrypted"
    line: list[Piece] = facts.say(
        "{private:whole count} artists trained {does} without handing over their {records}, {kept}; "
        "{sealed}.{ended} ",
        private=private,
        does=facts.words.does,
        records=facts.words.records,
        kept=kept,
        sealed=sealed,
        ended=facts.say(" The run ended on {last:text day}.", last=facts.last_release)
        if facts.last_release
        else [],
    )
    if facts.audit is None:
        return [*line, *facts.say("**Nobody has attacked it yet.**")]
    return line + facts.say(
        "On {audit.json#/began:text day} we took the place of {audit.json#/views/*/name:whole count} "
        "onlookers, from somebody on the network to the platform itself, with what each {held}, and had "
        "{audit.json#/attacks/*/name:whole count} attacks to try on {audit.json#/artists/*:whole count} of "
        "the artists (effort: {audit.json#/preset:text}).",
        held=facts.held,
    )


def headline_findings(facts: Facts) -> list[int]:
    """Of each attack that ran, the finding over all artists that tells most: the worst verdicts first, and of
    those what most onlookers can do."""
    best: dict[str, int] = {}
    for i, finding in enumerate(facts.findings):
        if finding.value is None or finding.target != "all" or finding.fpr is not None:
            continue
        if finding.metric == PROVEN and not finding.alarm:
            continue
        if finding.attack not in best or _weight(finding) < _weight(facts.findings[best[finding.attack]]):
            best[finding.attack] = i

    def order(i: int) -> tuple[int, int, float]:
        # Of two that leak, the one that more onlookers can make is worse.
        sign, little = _weight(facts.findings[i])
        return sign, -len(_same(facts, i)), little

    return sorted(best.values(), key=order)


def _weight(finding: Finding) -> tuple[int, float]:
    return ORDER.index(worst([finding])), -margin(finding)


def the_answer(facts: Facts) -> tuple[Sign, Line]:
    """The worst verdict of all, and a sentence or two that say it in plain words."""
    if facts.audit is None:
        return "not run", facts.say(
            "Not known: no attack was run, so nothing here says what leaks. `fedstyle audit` runs them."
        )
    heads = headline_findings(facts)
    of = {sign: [i for i in heads if worst([facts.findings[i]]) == sign] for sign in ORDER}
    if facts.alarms:
        return "alarm", facts.say(
            "Do not rely on this run: a measurement lies above what the guarantee allows, so the defence or "
            "the attack has a bug. See the top of the page."
        )
    if not heads:
        return "not run", facts.say("Not known: no attack could be run; the annex says why of each.")
    ran = facts.say("{ran:whole count}", ran=_names(heads))
    single = _single(facts, heads)
    if of["leaks"]:
        text = (
            "**Something leaks.** {leaks:whole count} of {ran} attacks that ran learn{s} more than guessing. "
            "{worst}{rest}{weak}{meant}{single}"
        )
    elif of["inconclusive"]:
        text = (
            "**Not known in part.** None of {ran} attacks that ran was seen to learn more than guessing, "
            "but {weak_count} of them could not have shown it.{meant}{single}"
        )
    elif single:
        text = "**Something leaks of single artists.** Over all artists together nothing does.{meant}{single}"
    else:
        text = "**Nothing was found to leak** by any of {ran} attacks that ran.{closest}{meant}"
    sign: Sign = "leaks" if single and not of["leaks"] else worst(facts.findings[i] for i in heads)
    return sign, facts.say(
        text,
        leaks=_names(of["leaks"]) if of["leaks"] else "",
        s="s" if len(of["leaks"]) == 1 else "",
        ran=ran,
        worst=_worst(facts, of["leaks"]) if of["leaks"] else [],
        rest=_rest(facts, of["leaks"][1:]),
        weak=_weak(facts, of["inconclusive"]),
        weak_count=facts.say("{weak:whole count}", weak=_names(of["inconclusive"]))
        if of["inconclusive"]
        else [],
        meant=_meant(facts, of["by design"]),
        single=single,
        closest=_closest(facts, of["not broken by this attack"]),
    )


def _names(places: Sequence[int]) -> str:
    return " ".join(f"findings.json#/{i}/attack" for i in places)


def _worst(facts: Facts, leaks: Sequence[int]) -> Line:
    """What the worst attack does, how well, and what follows for somebody's works."""
    i = leaks[0]
    finding = facts.findings[i]
    reach = (
        "is right in {value:rate} of cases"
        if METRIC_WORDS.get(finding.metric, "").startswith(("how often", "of "))
        else "reaches {value:rate}"
    )
    return facts.say(
        "The worst, “{attack}”, " + reach + "<, where guessing is right in {baseline:rate}><, and "
        "{control:rate} with nothing defended>. It means: {means} Who can do it: {whom}.",
        at=f"findings.json#/{i}",
        means=CONSEQUENCES[finding.level],
        whom=_whom(facts, _same(facts, i)),
    )


def _same(facts: Facts, i: int) -> list[int]:
    """Places of findings of the same attack, metric and verdict in other views."""
    one = facts.findings[i]
    return [
        j
        for j, f in enumerate(facts.findings)
        if (f.attack, f.metric, f.target, f.verdict) == (one.attack, one.metric, one.target, one.verdict)
    ]


def _whom(facts: Facts, places: Sequence[int]) -> Line:
    """Who can make an attack; a single one is explained."""
    keys = {facts.findings[i].view for i in places}
    one = [i for i, view in facts.views if view["key"] in keys]
    if len(one) != 1:
        return view_span(facts, places)
    return facts.say(
        "{name} ({who:text})", name=view_span(facts, places), who=f"audit.json#/views/{one[0]}/who"
    )


def _rest(facts: Facts, places: Sequence[int]) -> Line:
    rows = (
        facts.say("{name}, by {whom}", name=_quoted(facts, i), whom=view_span(facts, _same(facts, i)))
        for i in places
    )
    return facts.say("< Also: {rows}.>", rows=listed(rows, "; "))


def _weak(facts: Facts, places: Sequence[int]) -> Line:
    names = listed((_quoted(facts, i) for i in places), last=" and ")
    return facts.say("< Not known of: {names}.>", names=names)


def _meant(facts: Facts, places: Sequence[int]) -> Line:
    names = listed((_quoted(facts, i) for i in places), last=" and ")
    return facts.say("< Meant to succeed, with consent: {names}.>", names=names)


def _closest(facts: Facts, places: Sequence[int]) -> Line:
    if not places:
        return []
    text = " The closest, “{attack}”, reaches {value:rate}<, where guessing reaches {baseline:rate}>."
    return facts.say(text, at=f"findings.json#/{places[0]}")


def _quoted(facts: Facts, i: int) -> Line:
    return ["“", facts.sources.text(f"findings.json#/{i}/attack"), "”"]


def _single(facts: Facts, heads: Sequence[int]) -> Line:
    """Attacks that leak of a single artist where over all artists they do not."""
    told = {facts.findings[i].attack for i in heads if worst([facts.findings[i]]) in ("alarm", "leaks")}
    found = [
        i
        for i, f in enumerate(facts.findings)
        if f.target != "all" and f.verdict == "leaks" and f.attack not in told
    ]
    if not found:
        return []
    top = max(found, key=lambda i: margin(facts.findings[i]))
    return facts.say(
        " Of a single artist, {target}, “{attack}” reaches {value:rate}.", at=f"findings.json#/{top}"
    )


def _promise(facts: Facts) -> Line:
    """The guarantee in a sentence, with epsilon explained where it stands."""
    privacy = facts.summary["privacy"]
    work, artist = (privacy[f"epsilon_{unit}_max"] for unit in ("artwork", "artist"))
    if work is None and artist is None:
        return facts.say("Nothing: no bound holds for a single work, nor for an artist.")
    unit = "artwork" if work is not None else "artist"
    whom = "a single work" if unit == "artwork" else "an artist with all works"
    line = facts.say(
        "Whoever looks, at whatever was released, becomes surer about {whom} by a factor of at most e to the "
        "power of epsilon, and epsilon is {epsilon:epsilon}. Small is strong; above about ten little is "
        "promised.",
        whom=whom,
        epsilon=f"summary.json#/privacy/epsilon_{unit}_max",
    )
    line += [" For an artist with all works nothing is promised."] if artist is None else []
    if facts.shares:
        line += [" It does not hold against platform and opener (who holds the key) together."]
    return line


def _unsaid(facts: Facts) -> Line:
    names = dict.fromkeys(f.attack for f in facts.findings if f.verdict == "not run")
    missing = [name for name in names if all(f.value is None for f in facts.findings if f.attack == name)]
    places = [next(i for i, f in enumerate(facts.findings) if f.attack == name) for name in missing]
    count = facts.say("{missing:whole count}", missing=_names(places)) if places else []
    return facts.say(
        "That it is lawful, or that nobody can be recognised. Attacks that nobody has published were not "
        "tried<; {count} known ones could not be run (see the annex)>. Whether what leaks is acceptable is a "
        "person's decision.",
        count=count,
    )


def the_figure(facts: Facts) -> list[Block]:
    """Attack by attack: undefended, as measured, and the most that the guarantee allows."""
    heads = headline_findings(facts)
    explained = {name: _explains(facts, name) for name in dict.fromkeys(f.attack for f in facts.findings)}
    return attack_figure(facts, facts.findings, heads, explained)


def _explains(facts: Facts, name: str) -> Line:
    """What an attack asks, as the audit says it."""
    assert facts.audit is not None
    for j, attack in enumerate(facts.audit["attacks"]):
        if attack["name"] == name and attack.get("explains"):
            return [facts.sources.text(f"audit.json#/attacks/{j}/explains")]
    return []
