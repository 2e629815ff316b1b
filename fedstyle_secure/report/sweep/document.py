"""A sweep's report as a document: its chapters, in order."""

from __future__ import annotations

from fedstyle_secure.report.page.pieces import Document, Section
from fedstyle_secure.report.sweep import answers, closing, leaks, tables
from fedstyle_secure.report.sweep.facts import SweepFacts


def sweep_document(facts: SweepFacts, date: str) -> Document:
    """Everything that HTML and PDF show.

    Args:
        facts: A checked sweep.
        date: ISO 8601.
    """
    answer = [*answers.asked(facts), *answers.answered(facts)]
    return Document(
        title="Privacy sweep report",
        subtitle=["Sweep ", facts.sources.text("sweep.json#/name")],
        date=date,
        alarms=leaks.alarms(facts),
        sections=[
            Section("answer", "What was asked, and the answer", answer),
            Section("plots", "Privacy against utility, drawn", tables.plots(facts)),
            Section("points", "Every combination of settings", tables.points(facts)),
            Section("fairness", "Whom it serves", tables.fairness(facts)),
            Section("runs", "Every run", tables.runs(facts)),
            Section("shared", "What all runs share", tables.shared(facts)),
            Section("limits", "Limits", closing.limits(facts)),
            Section("provenance", "Hashes, versions, seeds", closing.provenance(facts)),
            Section("glossary", "Words", closing.glossary()),
        ],
    )
