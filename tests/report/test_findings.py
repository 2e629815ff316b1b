"""Tables say every finding once, worst first where one stands for many, and never less than the audit did."""

from collections import Counter

from fedstyle_secure.audit.findings import not_run
from fedstyle_secure.report.page.pieces import Badge, Figure, Para, Range, Table, plain
from fedstyle_secure.report.run.facts import read_facts
from fedstyle_secure.report.run.findings import alarms, matrix, measured, per_artist, scale
from fedstyle_secure.report.run.findings import not_run as left_out
from fedstyle_secure.report.run.trust import coverage, model


def cells(table):
    """Rows by name: verdicts of the other columns."""
    return {
        plain(row[0]): [
            next((p.verdict for p in cell if isinstance(p, Badge)), plain(cell)) for cell in row[1:]
        ]
        for row in table.rows
    }


def test_the_matrix_holds_the_worst_verdict_of_every_attack_and_view(run, audited):
    audited(
        run,
        lambda rows, make: [
            make(),
            make(target="ann", verdict="inconclusive", reason="few"),
            make(attack="Nearest card", target="ann", verdict="inconclusive", reason="few"),
            make(attack="Nearest card", target="bo"),
            make(attack="Nearest card", view="buyer"),
            make(attack="Nearest card", view="buyer", target="ann", verdict="leaks", low=0.6),
            make(view="buyer"),
            make(view="buyer", verdict="leaks", low=0.6),
            make(view="opener"),
            make(view="opener", value=0.99, low=0.96, verdict="leaks"),
            not_run(make(view="network"), "sealed"),
        ],
    )
    table = matrix(read_facts(run.path))[0]
    assert isinstance(table, Table)
    assert [plain(cell) for cell in table.head] == [
        "Attack", "Network", "Platform", "Platform and opener, Platform and artists, Malicious platform",
        "Opener", "Buyer",
    ]  # fmt: skip
    assert cells(table)["Gradient alignment"] == [
        "not run", "not broken by this attack", "not in this audit", "alarm", "leaks",
    ]  # fmt: skip
    assert cells(table)["Nearest card"] == [
        "not in this audit", "inconclusive", "not in this audit", "not in this audit", "leaks",
    ]  # fmt: skip


def test_every_finding_over_all_artists_is_in_exactly_one_row_with_its_views(run):
    facts = read_facts(run.path)
    (table,) = measured(facts)
    names = {view["key"]: view["name"] for _, view in facts.views}
    said = Counter()
    for row in table.rows:
        views = {p.text for p in row[7] if isinstance(p, Figure)}
        if plain(row[7]).startswith("all but"):
            views = set(names.values()) - views
        assert views
        for view in views:
            said[plain(row[0]).partition(";")[0], view] += 1
    over_all = [f for f in facts.findings if f.target == "all" and f.value is not None]
    assert said == Counter((finding.attack, names[finding.view]) for finding in over_all)


def test_what_was_not_run_for_one_artist_is_told_too(run, audited):
    artist = read_facts(run.path).artists[0][1]
    audited(run, lambda rows, make: [make(), not_run(make(target=artist), "too few pictures")])
    (table,) = left_out(read_facts(run.path))
    assert [plain(cell) for cell in table.rows[0]] == [
        "too few pictures", f"Gradient alignment, membership AUC, {artist}", "1", "“Platform”",
    ]  # fmt: skip


def test_what_was_not_run_is_told_once_for_each_reason(run, audited):
    other = lambda make: not_run(make(attack="Other", metric="TPR at an FPR", fpr=0.01), "sealed")  # noqa: E731
    audited(
        run,
        lambda rows, make: [
            not_run(make(), "sealed"), not_run(make(view="buyer"), "sealed"), other(make),
            not_run(make(view="opener"), "no key"),
        ],
    )  # fmt: skip
    (table,) = left_out(read_facts(run.path))
    told = [[plain(cell) for cell in row] for row in table.rows]
    assert told[0] == [
        "sealed", "Gradient alignment, membership AUC; Other, TPR at an FPR of 0.01", "3",
        "“Platform” and “Buyer”",
    ]  # fmt: skip
    assert told[1][0] == "no key"


def test_findings_that_differ_in_anything_but_the_view_do_not_share_a_row(run, audited):
    audited(run, lambda rows, make: [make(), make(view="buyer"), make(view="network", n=121), make(seed=1)])
    (table,) = measured(read_facts(run.path))
    assert [plain(row[7]) for row in table.rows] == ["“Platform” and “Buyer”", "“Network”", "“Platform”"]


def test_many_views_are_told_by_those_that_are_missing(run, audited):
    keys = ("network", "platform", "platform_opener", "platform_artists", "malicious_platform", "buyer")
    audited(run, lambda rows, make: [make(view=key) for key in keys] + [make(view="opener", attack="Other")])
    (table,) = measured(read_facts(run.path))
    assert plain(table.rows[0][7]) == "all but “Opener”"


def test_an_artist_is_shown_with_its_worst_finding(run, audited):
    artist = read_facts(run.path).artists[2][1]
    audited(
        run,
        lambda rows, make: [
            make(target=artist, value=0.9, low=0.2),
            make(target=artist, value=0.6, low=0.55, verdict="leaks"),
            make(target=artist, value=0.95, verdict="inconclusive", reason="few"),
        ],
    )
    table, note = per_artist(read_facts(run.path))
    assert cells(table) == {artist: ["leaks", "", "0.600; [0.550, 0.630]", "0.500", cells(table)[artist][-1]]}
    assert artist not in plain(note.line)


def test_a_scale_is_drawn_only_where_there_is_one(make):
    assert scale(make()) == [Range(0.4127, 0.5213, 0.6298, 0.5, 0.9471, False)]
    assert scale(make(bound=1.7)) == [Range(0.4127, 0.5213, 0.6298, 0.5, None, False)]
    assert scale(make(value=24.0, high=30.0)) == []
    assert scale(make(low=None, high=None)) == []
    assert scale(make(verdict="leaks", low=0.51))[0].bad


def test_artists_whom_the_audit_left_out_are_named_as_such(run, audited):
    names = [name for _, name in read_facts(run.path).artists]
    audited(run, lambda rows, make: [make(target=names[0])], artists=names[:2])
    notes = [plain(block.line) for block in per_artist(read_facts(run.path)) if isinstance(block, Para)]
    assert notes[0].startswith(f"No finding of their own have: {names[1]}.")
    assert notes[1].startswith(f"This audit did not attack: {names[2]}, {names[3]}.")


def test_coverage_has_six_classes_and_says_what_was_not_run(run, audited):
    table = coverage(read_facts(run.path))[0]
    rows = cells(table)
    assert list(rows) == [
        "membership inference", "attribute inference", "exfiltration", "regurgitation", "model inversion",
        "reconstruction",
    ]  # fmt: skip
    assert rows["regurgitation"][1:] == ["not run", "not run", "no attack of this class is in the audit"]
    assert rows["attribute inference"][-2:] == ["Main style from a sum", "nothing"]
    rows_of = lambda rows, make: [make(), not_run(make(attack="Other"), "sealed"), not_run(make(), "no key")]  # noqa: E731
    audited(run, rows_of)
    rows = cells(coverage(read_facts(run.path))[0])
    assert rows["membership inference"][-2:] == ["Gradient alignment", "Other: sealed"]


def test_without_an_audit_coverage_says_so(bare):
    rows = cells(coverage(read_facts(bare.path))[0])
    assert all(row[1:] == ["not run", "not run", "no audit was run"] for row in rows.values())


def test_the_trust_model_says_a_reason_once(run, audited):
    views = [{"key": "platform", "name": "P", "who": "w", "holds": ["b", "a", "b"], "lacks": []}]
    audited(run, lambda rows, make: [make()], views=views)
    table, _ = model(read_facts(run.path))
    assert [plain(cell) for cell in table.rows[0]] == ["P", "w", "· b; · a", "nothing"]


def test_no_alarm_where_the_interval_reaches_below_the_bound(run, audited):
    audited(run, lambda rows, make: [make(value=0.99, low=0.94, high=1.0, verdict="leaks")])
    assert alarms(read_facts(run.path)) == []
