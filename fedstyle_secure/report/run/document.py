"""The report as a document: page one, the chapters behind it, and the annex."""

from __future__ import annotations

from fedstyle_secure.report.page.pieces import Document, Para, Ref, Section
from fedstyle_secure.report.page.policy import line_by_line
from fedstyle_secure.report.run import (
    answers,
    checklist,
    closing,
    costs,
    exposed,
    fairness,
    findings,
    first_page,
    trust,
)
from fedstyle_secure.report.run.bibliography import bibliography
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
    body = [
        Section("answer", "At a glance", first_page.first_page(facts)),
        Section("questions", "The questions, one by one", [answers.five_lines(facts)]),
        Section("matrix", "Who could do what", findings.matrix(facts)),
        Section("findings", "What was measured", findings.measured(facts)),
        Section("exposed", "Works and artists that stand out", exposed.most_exposed(facts)),
        Section("fairness", "Whom private training serves", fairness.whom_it_serves(facts)),
        Section("ledger", "What was given away", costs.spending(facts, costs.SHOWN)),
        Section("trust", "Who holds what", trust.model(facts)),
        Section("limits", "Limits", closing.limits(facts)),
    ]
    annex = [
        *(
            [Section("policy", "The policy, line by line", line_by_line(facts))]
            if facts.own["policy"]
            else []
        ),
        Section("not-run", "What was not run", findings.not_run(facts)),
        Section("method", "How each attack was made", findings.how_made(facts)),
        Section("bibliography", "Where the attacks come from", bibliography(facts)),
        Section("curves", "Curves, with the limit of the guarantee", findings.curves(facts)),
        Section("panels", "Pictures that attacks picked or drew", findings.panels(facts)),
        Section("artists", "The worst case of each artist", findings.per_artist(facts)),
        *(
            [Section("spending", "What each artist spent", costs.every_artist(facts))]
            if costs.many(facts)
            else []
        ),
        Section("releases", "Kinds of release", costs.kinds(facts)),
        Section("coverage", "Classes of attack", trust.coverage(facts)),
        Section("checklist", "What an auditor asks", [Para([_CHECKLIST])]),
        *(
            Section(f"checklist-{n}", group, entries, 3)
            for n, (group, entries) in enumerate(checklist.entries(facts), start=1)
        ),
        Section("provenance", "Hashes, versions, seeds", closing.provenance(facts)),
        Section("glossary", "Words", closing.glossary(facts)),
    ]
    return Document(
        title="Privacy audit report",
        subtitle=["Run ", Ref(facts.name, "name")],
        date=date,
        alarms=findings.alarms(facts),
        sections=[
            *_kept(facts, body),
            *(Section(s.key, s.title, s.blocks, s.level, annex=True) for s in _kept(facts, annex)),
        ],
    )


_OF_AUDITS = ("matrix", "exposed", "not-run", "method", "bibliography", "curves", "panels", "artists")
"""Sections that have nothing to say of a run that was not audited; one says so for all of them."""


def _kept(facts: Facts, sections: list[Section]) -> list[Section]:
    return [one for one in sections if facts.audit is not None or one.key not in _OF_AUDITS]
