"""What the report does not say, what it was made from, and the words that it uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fedstyle_secure.report.page.pieces import Block, Bullets, Definitions, Line, Para, Ref, Table
from fedstyle_secure.report.page.say import Speaker
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.report.page.words import GLOSSARY
from fedstyle_secure.report.run.facts import Facts
from fedstyle_secure.transcripts import Source

_KEYS: Mapping[Source, str] = {
    "named": "was named by whoever wrote this report",
    "studios": "lay in the studios; ask the opener whether it is its own",
    "run": "is only what the run itself states; ask the opener whether it is its own",
}

EVIDENCE = (
    "This is evidence against the executed attacks under the stated conditions only. It is no finding of "
    "anonymity, and no statement on the lawfulness of anything."
)
_LIMITS = (
    EVIDENCE,
    "A verdict “not broken” means that these attacks, with these budgets, did no better than not looking.",
    "The guarantee holds for what is in the ledger. Other releases of the same pictures, the artists' own "
    "websites among them, are outside it.",
    "The audit knows what the run recorded. Side channels, timing, operating systems and stolen disks are "
    "not covered.",
    "Two scans of one artwork count as two artworks; the guarantee for both together is weaker.",
    "Utility figures were measured on the experimenter's side, outside the guarantee. Settings chosen by "
    "them cost more than the ledger of one run shows.",
    "All roles ran on one machine; in a deployment their separation has to be true.",
)
"""What holds of every run."""


def limits(facts: Facts) -> list[Block]:
    """What nobody may read out of this report."""
    bare = [["This run has no differential privacy: no bound stands behind any “not broken”."]]
    planted = facts.say(
        "{summary.json#/audit/canaries/number:whole} canaries were planted for the audit; the model is not "
        "one of the artists' works alone."
    )
    items = [*([] if facts.dp else bare), *([text] for text in _LIMITS)]
    return [Bullets([*items, planted] if facts.summary["audit"]["canaries"]["number"] else items)]


def provenance(facts: Facts) -> list[Block]:
    """Hashes, versions, seeds."""
    identity = facts.cells(
        "Run | {report.json#/run:text}",
        "Gallery, digest | {manifest.json#/gallery/digest:text}",
        "Seed of the run | {manifest.json#/seed:whole}",
    )
    if facts.own["checked"]["opener"] is not None:
        identity += facts.cells("Opener's public key | {report.json#/checked/opener:text}")
    versions = [
        *facts.cells("Python | {manifest.json#/python:text}"),
        *cited(facts, "manifest.json#/packages", facts.manifest["packages"]),
        *cited(facts, "report.json#/made_with", facts.own["made_with"], ", for this report"),
    ]
    if facts.audit is not None:
        identity += facts.cells(
            "Seed of the audit | {audit.json#/seed:whole}",
            "Preset of the audit | {audit.json#/preset:text}",
            "Audit began | {audit.json#/began:text}",
            "Audit took, seconds | {audit.json#/wall_s:seconds}",
        )
        versions += cited(facts, "audit.json#/versions", facts.audit["versions"], ", for the audit")
    return [
        Table("identity", ["Which run, which audit."], [["What"], ["Value"]], identity, wide=frozenset({1})),
        hashes(facts, facts.own["hashes"]),
        Table("versions", ["Software."], [["Package"], ["Version"]], versions),
        Para(_checked(facts), "note"),
    ]


def hashes(facts: Speaker, names: Iterable[str]) -> Table:
    """What a report was made from, file by file."""
    caption = facts.say("Files, by {sha}.", sha=Ref("SHA-256", "name"))
    rows = cited(facts, "report.json#/hashes", names)
    return Table("hashes", caption, [["File"], ["Hash"]], rows, wide=frozenset({1}))


def cited(facts: Speaker, at: str, names: Iterable[str], whose: str = "") -> list[list[Line]]:
    """A row a name, with the text that stands at it below a pointer."""
    return [
        facts.row(
            "{name}{whose} | {told:text}", name=Ref(name, "name"), whose=whose, told=f"{at}/{escape(name)}"
        )
        for name in names
    ]


def _checked(facts: Facts) -> Line:
    own = facts.own["checked"]
    beside = (
        "{report.json#/checked/artists_ledgers:whole} of {report.json#/checked/artists:whole} artists' own "
        "chained ledgers lay beside the run, and begin as the run's copy says."
        if own["artists_ledgers"]
        else "The artists' own chained ledgers do not lie beside the run, so only the copy was added up."
    )
    signed = (
        "Nothing is summed under encryption, so nobody signed for the files: whoever could write the whole "
        "folder could have written other ones."
        if own["opener"] is None
        else "The opener signed the terms of every opening and, at the run's end, the hash of every file. "
        f"Its signatures hold under the public key above, which {_KEYS[own['opener_by']]}."
    )
    return facts.say(
        "Before this page was written, the files were compared with the hashes that the run and its audit "
        f"hold, and the ledgers were added up again. {beside} {signed}"
    )


def glossary(facts: Facts) -> list[Block]:
    """The words of the field, and those of the run's system."""
    words = sorted({**GLOSSARY, **facts.words.glossary}.items(), key=lambda item: item[1][0].lower())
    return [Definitions([(key, [name], [meaning]) for key, (name, meaning) in words])]
