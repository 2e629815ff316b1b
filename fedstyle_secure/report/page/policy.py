"""What came of a policy, for page one: whether it is met, and by which of its lines."""

from __future__ import annotations

from fedstyle_secure.report.page.pieces import Badge, Block, Line, Para, Ref, Sign, Table
from fedstyle_secure.report.page.say import Speaker, listed

_TOLD = 3
"""Keys of a policy that are told one by one."""

_LONGEST = 60
"""Characters of a reason that page one has room for; the annex has all of them in full."""

_AT = "report.json#/policy"


def policy_sign(facts: Speaker) -> Sign:
    """Whether a policy was set, and met."""
    held = facts.files["report.json"]["policy"]
    if held is None:
        return "no policy"
    return "met" if held["verdict"] == "met" else "not met"


def the_policy(facts: Speaker, leaks: bool) -> Line:
    """What the policy says, by which lines; or how to set one. `leaks`: whether anything does."""
    held = facts.files["report.json"]["policy"]
    if held is None:
        return facts.say(
            "So nothing here says what is acceptable: a person has to. A policy is a file with limits: write "
            "one after configs/policy.toml, and make this page again with --policy FILE."
        )
    if held["failed"]:
        failed = [i for i, row in enumerate(held["keys"]) if row["failed"]]
        rows = [
            facts.say("{key:text} (line {line:whole}<: {why}>)", at=f"{_AT}/keys/{i}", why=_why(facts, i))
            for i in failed[:_TOLD]
        ]
        return facts.say(
            "{failed:whole} of {asked:whole} checks of {file:text} are not met: {rows}.<{more}>",
            at=_AT,
            rows=listed(rows, "; "),
            more=" The annex has the rest." if len(failed) > _TOLD else " The annex has them line by line.",
        )
    lines = [
        facts.say("{key:text} (line {line:whole})", at=f"{_AT}/keys/{i}") for i in range(len(held["keys"]))
    ]
    return facts.say(
        "All {asked:whole} checks of {file:text} are met{allows}. It asks for: {lines}.",
        at=_AT,
        lines=listed(lines),
        allows="; what leaks, it lets pass" if leaks else "",
    )


def _why(facts: Speaker, i: int) -> Line:
    """Why the first check of a key failed, where that is short."""
    problem = facts.files["report.json"]["policy"]["keys"][i]["first"]["problem"]
    return [facts.sources.text(f"{_AT}/keys/{i}/first/problem")] if len(problem) <= _LONGEST else []


def line_by_line(facts: Speaker) -> list[Block]:
    """A row a key of the policy, with the first check of it that failed."""
    held = facts.files["report.json"]["policy"]
    if held is None:
        return [Para(["Nobody set a policy."], "note")]
    caption = facts.say(
        "What {file:text} asks, line by line, as `fedstyle check` holds it. Its {sha}: {sha256:text}.",
        at=_AT,
        sha=Ref("SHA-256", "name"),
    )
    rows = [
        facts.row(
            "{key:text} | {line:whole} | {sign} | {failed:whole} of {asked:whole} | {first}",
            at=f"{_AT}/keys/{i}",
            sign=Badge("not met" if row["failed"] else "met"),
            first=facts.say("{subject:text}: {problem:text}", at=f"{_AT}/keys/{i}/first")
            if row["first"]
            else "nothing",
        )
        for i, row in enumerate(held["keys"])
    ]
    head = facts.row("Key | Line | Whether | Checks that fail | The first that fails")
    return [Table("policy", caption, head, rows, frozenset({1}), frozenset({4}))]
