"""What the report does not say, what it was made from, and the words that it uses."""

from __future__ import annotations

from collections.abc import Mapping

from fedstyle_secure.report.page.pieces import Block, Bullets, Definitions, Line, Para, Piece, Ref, Table
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.report.page.words import GLOSSARY
from fedstyle_secure.report.run.facts import Facts
from fedstyle_secure.transcripts import Source

_KEYS: Mapping[Source, str] = {
    "named": "was named by whoever wrote this report",
    "studios": "lay in the studios; ask the opener whether it is its own",
    "run": "is only what the run itself states; ask the opener whether it is its own",
}


def limits(facts: Facts) -> list[Block]:
    """What nobody may read out of this report."""
    items: list[Line] = [
        [
            "This is evidence against the executed attacks under the stated conditions only. It is no "
            "finding of "
            "anonymity, and no statement on the lawfulness of anything."
        ],
        [
            "A verdict “not broken” means that these attacks, with these budgets, did no better than not "
            "looking."
        ],
        [
            "The guarantee holds for what is in the ledger. Other releases of the same pictures, the "
            "artists' own "
            "websites among them, are outside it."
        ],
        [
            "The audit knows what the run recorded. Side channels, timing, operating systems and stolen "
            "disks are not "
            "covered."
        ],
        ["Two scans of one artwork count as two artworks; the guarantee for both together is weaker."],
        [
            "Utility figures were measured on the experimenter's side, outside the guarantee. Settings "
            "chosen by them "
            "cost more than the ledger of one run shows."
        ],
        ["All roles ran on one machine; in a deployment their separation has to be true."],
    ]
    if not facts.dp:
        items.insert(0, ["This run has no differential privacy: no bound stands behind any “not broken”."])
    canaries = facts.summary["audit"]["canaries"]["number"]
    if canaries:
        figure = facts.sources.figure("summary.json#/audit/canaries/number", "whole")
        items.append(
            [
                figure,
                " canaries were planted for the audit; the model is not one of the artists' works alone.",
            ]
        )
    return [Bullets(items)]


def provenance(facts: Facts) -> list[Block]:
    """Hashes, versions, seeds."""
    text, figure = facts.sources.text, facts.sources.figure
    hashes: list[list[Line]] = [
        [[Ref(name, "name")], [text(f"report.json#/hashes/{escape(name)}")]] for name in facts.own["hashes"]
    ]
    versions: list[list[Line]] = [[["Python"], [text("manifest.json#/python")]]]
    versions += [
        [[Ref(name, "name")], [text(f"manifest.json#/packages/{escape(name)}")]]
        for name in facts.manifest["packages"]
    ]
    versions += [
        [[Ref(name, "name"), ", for this report"], [text(f"report.json#/made_with/{escape(name)}")]]
        for name in facts.own["made_with"]
    ]
    identity: list[list[Line]] = [
        [["Run"], [text("report.json#/run")]],
        [["Gallery, digest"], [text("manifest.json#/gallery/digest")]],
        [["Seed of the run"], [figure("manifest.json#/seed", "whole")]],
    ]
    if facts.own["checked"]["opener"] is not None:
        identity.append([["Opener's public key"], [text("report.json#/checked/opener")]])
    if facts.audit is not None:
        identity += [
            [["Seed of the audit"], [figure("audit.json#/seed", "whole")]],
            [["Preset of the audit"], [text("audit.json#/preset")]],
            [["Audit began"], [text("audit.json#/began")]],
            [["Audit took, seconds"], [figure("audit.json#/wall_s", "seconds")]],
        ]
        versions += [
            [[Ref(name, "name"), ", for the audit"], [text(f"audit.json#/versions/{escape(name)}")]]
            for name in facts.audit["versions"]
        ]
    blocks: list[Block] = [
        Table("identity", ["Which run, which audit."], [["What"], ["Value"]], identity, wide=frozenset({1})),
        Table(
            "hashes",
            ["Files, by ", Ref("SHA-256", "name"), "."],
            [["File"], ["Hash"]],
            hashes,
            wide=frozenset({1}),
        ),
        Table("versions", ["Software."], [["Package"], ["Version"]], versions),
        Para(_checked(facts), "note"),
    ]
    return blocks


def _checked(facts: Facts) -> Line:
    own = facts.own["checked"]
    line: list[Piece] = [
        "Before this page was written, the files were compared with the hashes that the run and "
    ]
    line += ["its audit hold, and the ledgers were added up again. "]
    if own["artists_ledgers"]:
        count = facts.sources.figure("report.json#/checked/artists_ledgers", "whole")
        line += [
            count,
            " of ",
            facts.sources.figure("report.json#/checked/artists", "whole"),
            " artists' own chained ledgers lay beside the run, and begin as the run's copy says. ",
        ]
    else:
        line += [
            "The artists' own chained ledgers do not lie beside the run, so only the copy was added up. "
        ]
    if own["opener"] is not None:
        line += [
            "The opener signed the terms of every opening and, at the run's end, the hash of every file. Its "
            f"signatures hold under the public key above, which {_KEYS[own['opener_by']]}."
        ]
    else:
        line += [
            "Nothing is summed under encryption, so nobody signed for the files: whoever could write the "
            "whole folder could have written other ones."
        ]
    return line


def glossary() -> list[Block]:
    """The words of the field."""
    return [Definitions([(key, [name], [meaning]) for key, (name, meaning) in GLOSSARY.items()])]
