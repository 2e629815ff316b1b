"""The report as a document: its chapters, in order."""

from __future__ import annotations

from fedstyle_secure.report.page.pieces import Document, Para, Ref, Section
from fedstyle_secure.report.run import answers, checklist, closing, costs, fairness, findings, trust
from fedstyle_secure.report.run.facts import Facts

_CHECKLIST = (
    "The questions of a checklist drawn from the GDPR, the EDPB, the NIST and others. Empty boxes are for "
    "people: no program can fill them. Sentences without a figure say how the program works; figures are "
    "this run's."
)


def document(facts: Facts, date: str) -> Document:
    """Everything that HTML and PDF show.

    Args:
        facts: A checked run.
        date: ISO 8601.
    """
    sections = [
        Section(
            "answer", "What was asked, and the answer", [*answers.asked(facts), answers.five_lines(facts)]
        ),
        Section("matrix", "Who could do what", findings.matrix(facts)),
        Section("findings", "Every finding", findings.every_row(facts)),
        Section("method", "How each attack was made", findings.how_made(facts), 3),
        Section("artists", "The worst case of each artist", findings.per_artist(facts)),
        Section("panels", "Pictures that attacks picked or drew", findings.panels(facts)),
        Section("curves", "Curves, with the limit of the guarantee", findings.curves(facts)),
        Section("fairness", "Whom private training serves", fairness.whom_it_serves(facts)),
        Section("ledger", "What was given away", costs.spending(facts)),
        Section("releases", "Kinds of release", costs.kinds(facts), 3),
        Section("trust", "Who holds what", trust.model(facts)),
        Section("coverage", "Classes of attack", trust.coverage(facts)),
        Section("checklist", "What an auditor asks", [Para([_CHECKLIST])]),
        *(
            Section(f"checklist-{n}", group, entries, 3)
            for n, (group, entries) in enumerate(checklist.entries(facts), start=1)
        ),
        Section("limits", "Limits", closing.limits(facts)),
        Section("provenance", "Hashes, versions, seeds", closing.provenance(facts)),
        Section("glossary", "Words", closing.glossary()),
    ]
    return Document(
        title="Privacy audit report",
        subtitle=["Run ", Ref(facts.name, "name")],
        date=date,
        alarms=findings.alarms(facts),
        sections=sections,
    )
