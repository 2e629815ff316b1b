"""A sweep's report as a document: its chapters, in order."""

from __future__ import annotations

from fedstyle_secure.report import sweep_answers, sweep_closing, sweep_leaks, sweep_tables
from fedstyle_secure.report.pieces import Document, Section
from fedstyle_secure.report.sweep_facts import SweepFacts


def sweep_document(facts: SweepFacts, date: str) -> Document:
    """Everything that HTML and PDF show.

    Args:
        facts: A checked sweep.
        date: ISO 8601.
    """
    answer = [*sweep_answers.asked(facts), *sweep_answers.answered(facts)]
    return Document(
        title="Privacy sweep report",
        subtitle=["Sweep ", facts.sources.text("sweep.json#/name")],
        date=date,
        alarms=sweep_leaks.alarms(facts),
        sections=[
            Section("answer", "What was asked, and the answer", answer),
            Section("plots", "Privacy against utility, drawn", sweep_tables.plots(facts)),
            Section("points", "Every combination of settings", sweep_tables.points(facts)),
            Section("runs", "Every run", sweep_tables.runs(facts)),
            Section("shared", "What all runs share", sweep_tables.shared(facts)),
            Section("limits", "Limits", sweep_closing.limits(facts)),
            Section("provenance", "Hashes, versions, seeds", sweep_closing.provenance(facts)),
            Section("glossary", "Words", sweep_closing.glossary()),
        ],
    )
