"""Whoever holds a run's folder, and not the opener's private key, cannot make its figures better."""

from __future__ import annotations

import json
import math
import shutil
import tomllib

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fedstyle_secure
from fedstyle_secure.audit.agreement import layouts_of, require_terms, stated_plan
from fedstyle_secure.audit.integrity import check_finished
from fedstyle_secure.cli import main
from fedstyle_secure.errors import AuditError, ConfigError, RunError
from fedstyle_secure.federation.probe import Cost
from fedstyle_secure.federation.record import record_file
from fedstyle_secure.files import arrays_digest, read_arrays, write_arrays
from fedstyle_secure.policy.checks import check, checks
from fedstyle_secure.privacy.accounting import epsilon
from fedstyle_secure.privacy.ledger import entry_from_dict
from fedstyle_secure.privacy.statement import Accountant
from fedstyle_secure.report.formats import report
from fedstyle_secure.runs import RunFolder, file_sha256
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.transcript import read
from fedstyle_secure.studios import claim, has_studios
from fedstyle_secure.system import plan_of

POLICY = "[epsilon]\nartwork = 0.5\nlifetime_artwork = 0.5\n"


@pytest.fixture
def fedstyle(capsys, monkeypatch):
    """Runs a command: its exit code and everything that it printed."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["fedstyle", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        printed = capsys.readouterr()
        return exit_.value.code, printed.out + printed.err

    return call


def quieter(value, factor):
    """The same release with so much more noise, parameters and costs alike."""
    if isinstance(value, dict):
        return {
            key: inner * factor if key == "noise_multiplier" else quieter(inner, factor)
            for key, inner in value.items()
        }
    return value


def forge(run, hashed, factor=20):
    """The attack: a twentieth of the epsilon, everything added up again, the studios out of sight."""
    ledger = json.loads(run.ledger_file.read_text())
    ledger = {artist: [quieter(entry, factor) for entry in entries] for artist, entries in ledger.items()}
    run.ledger_file.write_text(json.dumps(ledger, indent=2) + "\n")
    summary, accountant = run.summary(), Accountant(run.config().privacy.delta)
    privacy = summary["privacy"]
    privacy["noise_multiplier"] = {key: value * factor for key, value in privacy["noise_multiplier"].items()}
    for row in privacy["per_artist"]:
        entries = [entry_from_dict(values) for values in ledger[row["artist"]]]
        for unit in ("artwork", "artist"):
            spent = accountant.spent(entries, unit)
            row[f"epsilon_{unit}"] = row[f"lifetime_epsilon_{unit}"] = spent if math.isfinite(spent) else None
    privacy["epsilon_artwork_max"] = max(row["epsilon_artwork"] for row in privacy["per_artist"])
    run.summary_file.write_text(json.dumps(summary, indent=2) + "\n")
    noise = run.config().privacy.noise_multiplier * factor
    changes = ["privacy.target_epsilon=0.3", f"privacy.noise_multiplier={noise}", "run.studios=/nowhere"]
    run.config_file.write_text(run.config().override(changes).to_toml())
    hashed(run)


@pytest.mark.parametrize("beside", [True, False])
def test_a_run_with_twenty_times_the_noise_on_paper_is_refused_everywhere(
    fedstyle, trained, bare, tmp_path, hashed, beside
):
    key = (trained / "studios" / ".opener" / "identity.pub").read_text()
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    forge(bare, hashed)
    if not beside:
        shutil.rmtree(bare.path.parent / "studios")
    for arguments in (
        ["verify", bare.path, "--opener", key],
        ["verify", bare.path],
        ["check", bare.path, "--policy", policy],
        ["report", bare.path, "--format", "json"],
    ):
        code, said = fedstyle(*arguments)
        assert code == (7 if arguments[0] == "verify" else 8), said
        assert "was signed for other settings than those of config.toml" in said


def leaves(value, path=()):
    """The places of all values that hold no others."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not inner:
        return [path]
    return [leaf for key, item in inner for leaf in leaves(item, (*path, key))]


def replaced(value, path, new):
    """A copy with another value at a place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def at(value, path):
    for key in path:
        value = value[key]
    return value


def load(file):
    return tomllib.loads(file.read_text()) if file.suffix == ".toml" else json.loads(file.read_text())


def save(file, values):
    text = tomli_w.dumps(values) if file.suffix == ".toml" else json.dumps(values, indent=2) + "\n"
    file.write_text(text)


STATED = ("summary.json", "ledger.json", "config.toml")
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.floats(0.9, 1.1),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
)


def differs(old, new):
    return type(old) is not type(new) or (old != new and not (old != old and new != new))


def another(old):
    """A value near the old one, or any other; TOML has no null."""
    near = st.floats(0.001, 1000).map(lambda f: old * f) if isinstance(old, float) else ANYTHING
    return (near | ANYTHING).filter(lambda new: differs(old, new))


def everywhere(run, policy):
    """What the three commands do with a run, as far as it goes before they print or write."""
    return (
        lambda: check_finished(run),
        lambda: checks(run.path, policy),
        lambda: report(run.path, ("json",), date="2026-01-31"),
    )


@pytest.fixture(scope="module")
def copies(trained, tmp_path_factory):
    """A copy of the run with its studios, and one without them, for edits that are undone."""
    whole = tmp_path_factory.mktemp("whole") / "runs"
    shutil.copytree(trained, whole)
    alone = tmp_path_factory.mktemp("alone") / "runs" / "run"
    shutil.copytree(trained / "run", alone)
    return RunFolder(whole / "run"), RunFolder(alone)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy") / "policy.toml"
    path.write_text("[epsilon]\nartwork = 1000\n")
    return path


def edited(run, hash_anew, name, path, new):
    """The edit, with every hash made anew, and how to undo it."""
    kept = {file: file.read_bytes() for file in (run.path / name, run.manifest_file, run.sums_file)}
    save(run.path / name, replaced(load(run.path / name), path, new))
    hash_anew(run)

    def undo():
        for file, data in kept.items():
            file.write_bytes(data)

    return undo


@pytest.mark.long
@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("name", STATED)
def test_every_field_is_what_the_opener_signed_for(copies, policy, hashed, name, beside):
    """One edit a field, with and without studios; the run itself passes in each command."""
    run = copies[0 if beside else 1]
    for command in everywhere(run, policy):
        command()
    values = load(run.path / name)
    # All entries of a ledger have the same fields: those of one artist are enough here, all are drawn below.
    for path in [p for p in leaves(values) if name != "ledger.json" or p[0] == next(iter(values))]:
        old = at(values, path)
        new = old + 1 if isinstance(old, (int, float)) and not isinstance(old, bool) else "another"
        undo = edited(run, hashed, name, path, new)
        try:
            with pytest.raises((AuditError, ConfigError)):
                check_finished(run)
        finally:
            undo()


@given(data=st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_edit_of_any_field_passes_any_command(copies, policy, hashed, data):
    run = data.draw(st.sampled_from(copies))
    name = data.draw(st.sampled_from(STATED))
    values = load(run.path / name)
    path = data.draw(st.sampled_from(leaves(values)))
    new = data.draw(another(at(values, path)))
    if name == "config.toml" and (new is None or new == {} or (isinstance(new, float) and new != new)):
        new = "another"
    undo = edited(run, hashed, name, path, new)
    try:
        for command in everywhere(run, policy):
            with pytest.raises((AuditError, ConfigError)):
                command()
    finally:
        undo()


def test_a_line_more_or_less_in_the_hashes_or_the_transcript_is_refused(bare, policy, hashed):
    whole = bare.transcript_file.read_bytes()
    opening, closing = whole.splitlines(keepends=True)
    for lines in (opening, closing, b"", whole + closing):
        bare.transcript_file.write_bytes(lines)
        hashed(bare)
        for command in everywhere(bare, policy):
            with pytest.raises(AuditError, match=r"transcript\.jsonl"):
                command()
    bare.transcript_file.write_bytes(whole)
    (bare.path / "notes.txt").write_text("also stated")
    hashed(bare)
    with bare.sums_file.open("a") as file:
        file.write(f"{file_sha256(bare.path / 'notes.txt')}  notes.txt\n")
    for command in everywhere(bare, policy):
        with pytest.raises(AuditError, match=r"notes\.txt: was edited since the run ended"):
            command()


@pytest.mark.long
def test_a_line_more_or_less_is_found_where_every_round_sums_something_too(tiny, tmp_path, policy, hashed):
    settings = tiny.override(["secure_sum.updates=true", "style.rank=auto", "style.scatter=auto"])
    run = fedstyle_secure.train(settings, tmp_path / "runs" / "sealed").folder
    whole = run.transcript_file.read_bytes()
    *openings, closing = whole.splitlines(keepends=True)
    assert len(openings) == 4  # prototypes, second moments, and two updates
    fewer = [b"".join([*openings[:i], *openings[i + 1 :], closing]) for i in range(4)]
    swapped = b"".join([openings[1], openings[0], *openings[2:], closing])
    for lines in (b"".join(openings), closing, whole + closing, openings[-1] + whole, swapped, *fewer):
        run.transcript_file.write_bytes(lines)
        hashed(run)
        with pytest.raises(AuditError, match=r"transcript\.jsonl"):
            check_finished(run)
    run.transcript_file.write_bytes(whole)
    hashed(run)
    check_finished(run)
    # More noise on paper than every one of its sums was signed for.
    forge(run, hashed)
    for command in everywhere(run, policy):
        with pytest.raises(AuditError, match="was signed for other settings"):
            command()


def test_a_transcript_beside_settings_without_one_is_refused(bare, policy, hashed):
    bare.config_file.write_text(bare.config().override(["secure_sum.enabled=false"]).to_toml())
    hashed(bare)
    for command in everywhere(bare, policy):
        with pytest.raises(AuditError, match="nothing is summed under encryption"):
            command()


def test_an_opener_who_signs_the_end_of_anything_has_signed_the_noise_before(bare, resigned):
    resigned(bare)
    check_finished(bare)
    manifest = bare.manifest()
    manifest["noise_scale"] *= 20
    bare.manifest_file.write_text(json.dumps(manifest))
    resigned(bare)
    with pytest.raises(AuditError, match=r"noise_scale .* is not that of config\.toml"):
        check_finished(bare)


def test_terms_that_were_signed_for_other_noise_are_named(bare):
    config = bare.config()
    quiet = config.override(["privacy.noise_multiplier=40"])
    manifest = bare.manifest()
    plan = plan_of(quiet, 4)
    layouts = layouts_of(bare, quiet, plan, manifest)
    signed = read(bare.transcript_file).manifests
    with pytest.raises(AuditError, match=r"round 0: the opener signed .*noise\.deviation|quantiser|noise"):
        require_terms(bare, layouts, signed)
    require_terms(bare, layouts_of(bare, config, plan_of(config, 4), manifest), signed)


def test_a_key_from_elsewhere_is_the_only_one_that_counts(bare, policy, tmp_path):
    """Without it, whoever edits may sign everything anew with a key of their own, and say that it is the
    opener's."""
    key = bare.summary()["secure_sum"]["opener"]
    other = Identity.load(tmp_path / "other" / "identity.key").public
    assert check_finished(bare, key).opener_by == "named"
    with pytest.raises(AuditError, match=rf"summary\.json states the opener {key}, not {other}"):
        check_finished(bare, other)
    shutil.rmtree(bare.path.parent / "studios")
    found = check_finished(bare)
    assert (found.opener, found.opener_by, found.own, found.artists) == (key, "run", {}, 4)
    pinned = tmp_path / "pinned.toml"
    pinned.write_text(f'[evidence]\nopener = "{key}"\n')
    assert check(bare.path, pinned) == []
    pinned.write_text(f'[evidence]\nopener = "{other}"\n')
    with pytest.raises(AuditError, match="states the opener"):
        check(bare.path, pinned)
    with pytest.raises(ConfigError, match="which is not the one that --opener names"):
        check(bare.path, pinned, key)


@pytest.mark.parametrize(
    ("text", "beside", "problems"),
    [
        ("own_ledgers = true", True, []),
        ("own_ledgers = true", False, ["0 of 4 artists' own ledgers were compared"]),
        ("signed = true", True, []),
        ("signed = true", False, ["only the run itself says who its opener is; name the opener's key"]),
    ],
)
def test_a_policy_can_demand_ledgers_and_an_opener(bare, tmp_path, text, beside, problems):
    if not beside:
        shutil.rmtree(bare.path.parent / "studios")
    policy = tmp_path / "policy.toml"
    policy.write_text(f"[evidence]\n{text}\n")
    failed = check(bare.path, policy)
    assert [(one.line, one.problem) for one in failed] == [(2, problem) for problem in problems]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[evidence]\n", "asks for nothing"),
        ("[evidence]\nsigned = false\n", "asks for nothing"),
        ('[evidence]\nopener = "abc"\n', r":2: evidence\.opener = 'abc' is not allowed"),
        ("[evidence]\nsigned_by = true\n", r":2: unknown key 'evidence\.signed_by'; did you mean 'signed'"),
    ],
)
def test_a_policy_that_asks_wrongly_for_evidence_is_refused(bare, tmp_path, text, says):
    policy = tmp_path / "policy.toml"
    policy.write_text(text)
    with pytest.raises(ConfigError, match=says):
        check(bare.path, policy)


@pytest.fixture
def clear(trained_in_clear, tmp_path):
    """A run that sums nothing under encryption: its files must agree, and the artists' own ledgers decide."""
    shutil.copytree(trained_in_clear, tmp_path / "runs")
    return RunFolder(tmp_path / "runs" / "clear")


def test_a_policy_that_demands_an_opener_fails_where_there_is_none(clear, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("[evidence]\nsigned = true\n")
    (failed,) = check(clear.path, policy)
    assert "no opener signed" in failed.problem
    with pytest.raises(AuditError, match="nothing is summed under encryption"):
        check_finished(clear, "ab" * 32)


@pytest.mark.long
def test_no_figure_that_follows_from_another_file_can_be_edited_alone(clear, hashed):
    shutil.rmtree(clear.path.parent / "studios")
    check_finished(clear)
    free = {"withdrawn", "peak_rss_mb", "opener"} | set(Cost.__dataclass_fields__)
    for path in leaves(clear.summary()):
        old = at(clear.summary(), path)
        if (path[-1] in free and "secure_sum" in path) or path[-1] in {"withdrawn", "peak_rss_mb"}:
            continue
        new = 1.5 * old + 1 if isinstance(old, (int, float)) and not isinstance(old, bool) else "another"
        undo = edited(clear, hashed, "summary.json", path, new)
        with pytest.raises(AuditError):
            check_finished(clear)
        undo()
    ledger = load(clear.ledger_file)
    for path in [p for p in leaves(ledger) if p[0] == next(iter(ledger)) and p[1] == 1]:
        if path[2] in ("request", "at", "digest", "policy"):
            continue  # They change no figure, and only the artist's own ledger knows them.
        old = at(ledger, path)
        new = 1.5 * old + 1 if isinstance(old, (int, float)) else "another"
        undo = edited(clear, hashed, "ledger.json", path, new)
        with pytest.raises(AuditError):
            check_finished(clear)
        undo()


def test_files_that_were_all_edited_together_contradict_the_artists_own_ledgers(clear, hashed):
    # A power of two, so that every noise is exactly that much more.
    forge(clear, hashed, 16)
    clear.config_file.write_text(clear.config().override(["run.studios="]).to_toml())
    manifest = clear.manifest()
    manifest["noise_scale"] *= 16
    save(clear.manifest_file, manifest)
    hashed(clear)
    with pytest.raises(AuditError, match="is not what the artist's own ledger holds"):
        check_finished(clear)
    clear.config_file.write_text(clear.config().override(["run.studios=/nowhere"]).to_toml())
    hashed(clear)
    with pytest.raises(AuditError, match="are the run's studios, and its own files point elsewhere"):
        check_finished(clear)
    shutil.rmtree(clear.path.parent / "studios")
    # Nothing is left that whoever edited did not write: only a policy that demands more can tell.
    assert check_finished(clear).own == {}


def test_a_target_that_the_plan_does_not_meet_is_refused(trained_in_clear, tmp_path):
    clear = RunFolder(trained_in_clear / "clear")
    manifest, config = clear.manifest(), clear.config()
    auto = config.override(["privacy.noise_multiplier=auto", "privacy.target_epsilon=6.55"])
    spent = epsilon(plan_of(config, 4).events(), config.privacy.delta)
    exact = config.override(["privacy.noise_multiplier=auto", f"privacy.target_epsilon={spent}"])
    assert stated_plan(clear, exact, manifest).scale == manifest["noise_scale"]
    for target in (0.98 * spent, 1.02 * spent, 0.3):
        with pytest.raises(AuditError, match="all releases would cost"):
            stated_plan(clear, auto.override([f"privacy.target_epsilon={target}"]), manifest)
    for scale in (0, -1.0, float("nan"), float("inf"), "2", True, None):
        with pytest.raises(AuditError, match="noise_scale"):
            stated_plan(clear, exact, manifest | {"noise_scale": scale})


def test_encryption_that_is_switched_off_on_paper_is_refused_by_the_openers_own_journal(
    fedstyle, bare, hashed, tmp_path
):
    """The transcript taken away and `secure_sum.enabled = false`: before, all three commands passed."""
    bare.config_file.write_text(bare.config().override(["secure_sum.enabled=false"]).to_toml())
    bare.transcript_file.unlink()
    lines = [line | {"artist_top1": 1.0, "sum": None} for line in bare.metrics()]
    bare.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = bare.summary()
    summary["utility"]["artist_top1"] = 1.0
    summary["secure_sum"] |= {"enabled": False, "openings": 0, "smallest_cohort": None, "opener": None}
    bare.summary_file.write_text(json.dumps(summary, indent=2) + "\n")
    hashed(bare)
    sums = bare.sums_file.read_text().splitlines(keepends=True)
    bare.sums_file.write_text("".join(line for line in sums if "transcript" not in line))
    (tmp_path / "policy.toml").write_text(POLICY)
    for arguments in (
        ["verify"],
        ["check", "--policy", tmp_path / "policy.toml"],
        ["report", "--format", "json"],
    ):
        code, said = fedstyle(arguments[0], bare.path, *arguments[1:])
        assert code == 8, said
        assert "the opener beside the run was asked to sign for it" in said


def test_studios_inside_a_run_are_the_runs_own_word(bare):
    """Whoever makes a folder can put studios and an opener of their own into it: before, these counted."""
    shutil.move(bare.path.parent / "studios", bare.path / ".studios")
    manifest = json.loads(bare.manifest_file.read_text())
    assert manifest["studios"]["place"] == "../studios"
    found = check_finished(bare)
    assert (len(found.own), found.opener_by) == (0, "run")
    assert not has_studios(bare, bare.path / ".studios")
    shutil.move(bare.path / ".studios", bare.path.parent / "studios")
    found = check_finished(bare)
    assert (len(found.own), found.opener_by) == (found.artists, "studios")


def test_a_run_does_not_begin_with_studios_inside_it(tmp_path):
    with pytest.raises(RunError, match="lies inside the run's own folder"):
        claim(tmp_path / "run" / "studios", RunFolder(tmp_path / "run"))


def test_what_was_recorded_in_clear_is_what_the_ledgers_have_the_digest_of(clear, hashed):
    """A record, a fixed part and metrics that were edited with their own checksums made anew, passed."""
    check_finished(clear)
    file = record_file(clear.record_folder, 1)
    arrays, told = read_arrays(file)
    name = next(name for name in arrays if name.startswith("reply/0/update/"))
    moved = arrays | {name: arrays[name] + np.float32(0.01)}
    write_arrays(file, moved, told | {"sha256": arrays_digest(moved, told["record"])})
    hashed(clear)
    with pytest.raises(AuditError, match=r"round_00001.*update is not what ledger.json has the digest of"):
        check_finished(clear)
    shutil.copy(record_file(clear.record_folder, 0), file)
    hashed(clear)
    with pytest.raises(AuditError, match="holds another round's record"):
        check_finished(clear)
    write_arrays(file, arrays, told)
    lines = clear.metrics_file.read_text().splitlines(keepends=True)
    clear.metrics_file.write_text("".join(lines[:-1]))
    hashed(clear)
    with pytest.raises(AuditError, match=r"rounds \[0, 1\], not one a round"):
        check_finished(clear)
    clear.metrics_file.write_text("".join(lines))
    fixed, _ = read_arrays(clear.fixed_file)
    name = next(name for name, array in fixed.items() if array.dtype == np.float32 and array.size)
    write_arrays(clear.fixed_file, fixed | {name: fixed[name] + np.float32(0.01)}, {})
    hashed(clear)
    with pytest.raises((AuditError, RunError), match="fixed"):
        check_finished(clear)
