"""What to do next: measured alternatives from a sweep of the same run, else what would measure them."""

from __future__ import annotations

from fedstyle_secure.report.page.pieces import Line, Piece
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.run.facts import Facts

_AT = "report.json#/alternatives"


def next_steps(facts: Facts) -> Line:
    """What to do, in a few sentences; every figure of an alternative was measured."""
    if facts.audit is None:
        return facts.say("Attack it: `fedstyle audit RUN`, then make this page again.")
    if facts.alarms:
        return facts.say("Find the bug before anything else: no figure of this run counts until then.")
    line: list[Piece] = []
    gone = list(facts.own["withdrawn"])
    if gone:
        line += facts.say(
            "Train anew without {gone}, who withdrew: the model keeps what was learned of them. ",
            gone=listed((facts.called(artist) for artist in gone), last=" and "),
        )
    leaks = any(f.verdict == "leaks" for f in facts.findings)
    found = facts.own["alternatives"]
    if found is not None:
        return line + _measured(facts, leaks)
    if any(f.verdict == "inconclusive" and f.target == "all" for f in facts.findings):
        line += facts.say(
            "Where attacks were inconclusive, hold out more works (`fedstyle gallery show` says how many "
            "tell something), or audit with more effort: `fedstyle audit RUN --preset standard --force`. "
        )
    if not leaks:
        return line or facts.say("Nothing has to be done for what was attacked; test again when it changes.")
    return line + facts.say(
        "Decide whether what leaks is acceptable, or spend less: a smaller epsilon leaks less and serves "
        "worse. By how much has to be measured: `fedstyle sweep GRID.toml` with this run's config.toml as "
        "its base, then `fedstyle report RUN --sweep FOLDER`."
    )


def _measured(facts: Facts, leaks: bool) -> list[Piece]:
    """What other settings did, that a sweep ran."""
    found = facts.own["alternatives"]
    better = [i for i, row in enumerate(found["rows"]) if row["better"]]
    told = facts.words.headline(facts.summary["utility"])
    label = told.label if told else "utility"
    if not better:
        said = (
            "Of {rows:whole count} other settings that {sweep:text} measured, none leaks less."
            if leaks
            else "Nothing leaks here, and of {rows:whole count} other settings that {sweep:text} measured "
            "none serves better without leaking."
        )
        return facts.say(said, at=_AT, rows=f"{_AT}/rows/*/name")
    rows = [
        facts.say(
            "{name:text}: {what}, and {label} is {utility:rate|not known} instead of {here:rate|not known}"
            "< (epsilon {epsilon:epsilon})>",
            at=f"{_AT}/rows/{i}",
            what=_ends(facts, i),
            label=label,
            here=f"{_AT}/here",
        )
        for i in better[:2]
    ]
    return facts.say("Measured in {sweep:text}: {rows}.", at=_AT, rows=listed(rows, "; "))


def _ends(facts: Facts, i: int) -> Line:
    """Which leaks end under an alternative, with what is left of them, and which stay."""
    row = facts.own["alternatives"]["rows"][i]
    ended = [
        facts.say(
            "“{attack:text}” no longer leaks ({there:rate}<, where guessing gives {baseline:rate}>)",
            at=f"{_AT}/rows/{i}/ended/{j}",
        )
        for j in range(len(row["ended"]))
    ]
    stay = facts.say(
        "< (still: {stay})>",
        stay=listed((facts.sources.text(f"{_AT}/rows/{i}/stay/{j}") for j in range(len(row["stay"]))), ", "),
    )
    return [*(listed(ended, last=" and ") or ["nothing leaks"]), *stay]
