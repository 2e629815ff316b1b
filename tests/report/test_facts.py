"""A folder that is not the one that was trained and audited is refused, and the file is named."""

import hashlib
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from fedstyle_secure.audit.integrity import RUN_FILES
from fedstyle_secure.audit.runner import audit
from fedstyle_secure.errors import AuditError, RunError
from fedstyle_secure.files import file_sha256
from fedstyle_secure.report.run.facts import read_facts
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.system import State


def edit(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values, indent=2))


def refused(run, name):
    with pytest.raises(AuditError, match=re.escape(name)) as error:
        read_facts(run.path)
    assert error.value.exit_code == 8
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_whole_run_is_read_with_and_without_an_audit(bare, run):
    assert read_facts(run.path).findings
    shutil.rmtree(run.path / "audit")
    facts = read_facts(run.path)
    assert facts.audit is None
    key = (run.path.parent / "studios" / ".opener" / "identity.pub").read_text()
    checked = {"artists_ledgers": 4, "artists": 4, "opener": key, "opener_by": "studios"}
    assert facts.own["checked"] == checked
    assert facts.summary["secure_sum"]["opener"] == key
    assert facts.own["since"] == {}


def test_the_hashes_are_those_that_a_common_tool_checks(bare):
    lines = [line.split("  ") for line in bare.sums_file.read_text().splitlines()]
    assert {name for _, name in lines} == {*RUN_FILES, "transcript.jsonl"}
    assert all(
        hashlib.sha256((bare.path / name).read_bytes()).hexdigest() == digest for digest, name in lines
    )


@pytest.mark.parametrize("name", [*RUN_FILES, "transcript.jsonl", "audit/findings.json", "audit/rounds.svg"])
def test_a_missing_file_is_named(run, name):
    (run.path / name).unlink()
    if name == "summary.json":
        with pytest.raises(RunError, match="not finished"):
            read_facts(run.path)
    elif name == "config.toml":
        with pytest.raises(Exception, match=r"config\.toml"):
            read_facts(run.path)
    else:
        refused(run, name.rpartition("/")[2])


@pytest.mark.parametrize(
    "name", ["manifest.json", "metrics.jsonl", "product.safetensors", "audit/findings.json"]
)
def test_one_more_byte_is_found(run, name):
    with (run.path / name).open("ab") as file:
        file.write(b" ")
    refused(run, name.rpartition("/")[2])


@pytest.mark.parametrize("name", [*RUN_FILES, "transcript.jsonl"])
def test_nobody_audits_a_run_that_was_edited_since_it_ended(bare, name):
    """Else an audit would vouch for the edit."""
    with (bare.path / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(AuditError, match=rf"{re.escape(name)}: was edited"):
        audit(bare)
    assert not bare.audit_folder.exists()
    refused(bare, name)


@pytest.mark.parametrize("name", ["record/round_0000.safetensors", "canaries.json"])
def test_a_file_that_came_after_the_end_is_foreign(bare, name):
    (bare.path / name).parent.mkdir(exist_ok=True)
    (bare.path / name).write_bytes(b"{}")
    refused(bare, name)


def test_a_run_without_hashes_is_refused(bare):
    bare.sums_file.unlink()
    refused(bare, "SHA256SUMS")


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_file_that_the_hashes_leave_out_is_named(bare, name):
    lines = bare.sums_file.read_text().splitlines()
    bare.sums_file.write_text("".join(f"{line}\n" for line in lines if not line.endswith(f"  {name}")))
    assert "SHA256SUMS" in refused(bare, name)


@pytest.mark.parametrize(
    "line",
    ["0" * 64, "0" * 63 + "  x", "Z" * 64 + "  x", "", "0" * 64 + "  ../x", "0" * 64 + "  /etc/passwd"],
)
def test_a_line_that_is_no_hash_of_a_file_of_the_run_is_refused(bare, line):
    bare.sums_file.write_text(bare.sums_file.read_text() + line + "\n")
    with pytest.raises(AuditError, match=r"SHA256SUMS: line 9 is no hash|names no file of the folder"):
        read_facts(bare.path)


def test_edited_settings_are_found_although_the_hashes_were_made_anew(bare, resigned):
    text = bare.config_file.read_text()
    bare.config_file.write_text(text.replace("target_epsilon = 8.0", "target_epsilon = 7.0"))
    resigned(bare)
    refused(bare, "config.toml")


def test_another_encoder_is_found_although_the_hashes_were_made_anew(bare, resigned):
    bare.product_file.write_bytes(bare.product_file.read_bytes()[:-1] + b"\x01")
    resigned(bare)
    refused(bare, "product.safetensors")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ledger.json", "noise_multiplier"),
        ("summary.json", r"privacy.per_artist.1.epsilon_artwork is .* make it"),
    ],
)
def test_a_smaller_epsilon_is_found_although_the_hashes_were_made_anew(bare, name, says, resigned):
    def flatter(values):
        if name == "summary.json":
            values["privacy"]["per_artist"][1]["epsilon_artwork"] *= 0.9
        else:
            artist = next(iter(values))
            values[artist][0]["artwork_cost"]["noise_multiplier"] *= 2
            values[artist][0]["parameters"]["noise_multiplier"] *= 2

    edit(bare.path / name, flatter)
    resigned(bare)
    assert re.search(says, refused(bare, name))


def test_a_release_that_was_taken_out_of_the_ledger_is_found(bare, resigned):
    edit(bare.ledger_file, lambda values: values[next(iter(values))].pop())
    resigned(bare)
    refused(bare, "ledger.json")


def test_a_ledger_that_adds_up_but_is_not_the_artists_own_is_found(bare, resigned):
    def swap(values):
        values[next(iter(values))][0]["digest"] = "0" * 64

    edit(bare.ledger_file, swap)
    resigned(bare)
    assert "own ledger" in refused(bare, "ledger.json")


def test_an_artist_that_is_left_out_of_the_summary_is_found(bare, resigned):
    edit(bare.summary_file, lambda values: values["privacy"]["per_artist"].pop())
    resigned(bare)
    refused(bare, "summary.json")


def test_a_largest_epsilon_below_an_artists_is_found(bare, resigned):
    edit(bare.summary_file, lambda values: values["privacy"].update(epsilon_artwork_max=1.0))
    resigned(bare)
    refused(bare, "summary.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [("delta", 1e-9), ("delta", float("nan")), ("unit", "artist"), ("epsilon_artist_max", 0.5)],
)
def test_a_summary_that_states_more_than_its_settings_and_artists_is_found(bare, key, value, resigned):
    summary = json.loads(bare.summary_file.read_text())
    summary["privacy"][key] = value
    bare.summary_file.write_text(json.dumps(summary))
    resigned(bare)
    refused(bare, key)


@pytest.mark.parametrize("beside", [True, False])
def test_a_ledger_that_was_emptied_is_found_although_everything_adds_up(
    trained_in_clear, tmp_path, hashed, beside
):
    """With the artists' own ledgers beside the run, and without them, by what the platform got."""
    shutil.copytree(trained_in_clear, tmp_path / "runs")
    bare = RunFolder(tmp_path / "runs" / "clear")
    summary = bare.summary()
    nothing = {"epsilon_artwork": 0.0, "epsilon_artist": 0.0}
    rows = summary["privacy"]["per_artist"]
    for row in rows:
        row |= nothing | {f"lifetime_{key}": 0.0 for key in nothing}
    summary["privacy"] |= {"epsilon_artwork_max": 0.0, "epsilon_artist_max": None}
    bare.ledger_file.write_text(json.dumps({row["artist"]: [] for row in rows}))
    if beside:
        metrics = [line | {"released_by": []} for line in bare.metrics()]
        bare.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in metrics))
    bare.summary_file.write_text(json.dumps(summary))
    hashed(bare)
    assert ("own ledger" if beside else "the platform got a release") in refused(bare, "ledger.json")


def test_a_transcript_that_does_not_verify_is_found(bare, resigned):
    text = bare.transcript_file.read_text()
    bare.transcript_file.write_text(text.replace('"kept":[', '"kept":[1,', 1))
    resigned(bare)
    refused(bare, "transcript.jsonl")


@pytest.mark.parametrize("name", ["notes.txt", "deeper/notes.txt"])
def test_a_foreign_file_in_the_audit_is_named(run, name):
    path = run.path / "audit" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    refused(run, name)


def test_a_link_in_the_audit_is_refused(run, tmp_path):
    copy = tmp_path / "copy.svg"
    (run.path / "audit" / "rounds.svg").rename(copy)
    (run.path / "audit" / "rounds.svg").symlink_to(copy)
    refused(run, "rounds.svg")


def test_the_audit_of_another_run_is_refused(run):
    edit(run.path / "audit" / "audit.json", lambda values: values.update(run="0" * 32))
    assert run.identity in refused(run, "audit.json")


@pytest.mark.parametrize("name", [*RUN_FILES, "transcript.jsonl"])
def test_an_audit_must_vouch_for_what_its_findings_rest_on(run, name):
    edit(run.path / "audit" / "audit.json", lambda values: values["inputs"].pop(name))
    refused(run, name)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", ""])
def test_an_audit_cannot_name_files_outside_its_folder(run, name):
    path = run.path / "audit" / "audit.json"
    edit(path, lambda values: values["files"].update({name: "0" * 64}))
    refused(run, "names no file of the folder")
    edit(path, lambda values: values["files"].pop(name))
    edit(path, lambda values: values["inputs"].update({name: "0" * 64}))
    refused(run, "is not the file that the audit read")


def test_a_linked_folder_in_the_audit_is_refused(run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (run.path / "audit" / "deeper").symlink_to(tmp_path / "elsewhere")
    refused(run, "deeper")


@pytest.mark.parametrize("key", ["pictures", "curve"])
def test_a_finding_cannot_name_a_picture_that_nothing_vouches_for(run, key):
    path = run.path / "audit" / "findings.json"
    value = ["../../../secret.png"] if key == "pictures" else "../../../secret.png"
    edit(path, lambda values: values[0].update({key: value}))
    edit(run.path / "audit" / "audit.json", lambda v: v["files"].update({"findings.json": file_sha256(path)}))
    refused(run, "secret.png")


def test_findings_without_the_audits_own_file_are_refused(run):
    (run.path / "audit" / "audit.json").unlink()
    refused(run, "audit.json")


@pytest.mark.parametrize("key", ["views", "attacks", "inputs", "format", "show_pictures"])
def test_an_audit_that_lacks_a_key_is_an_error_in_one_line(run, key):
    edit(run.path / "audit" / "audit.json", lambda values: values.pop(key))
    refused(run, key)


def test_an_audit_of_other_prototypes_is_refused_although_the_hashes_were_made_anew(run, resigned):
    state = State.load(run.product_file)
    replace(state, public=state.public | {"prototypes": np.zeros(3, np.float32)}).save(run.product_file)
    resigned(run)
    refused(run, "product.safetensors")


def test_no_run_and_an_unfinished_run_say_so(tmp_path, bare):
    with pytest.raises(RunError, match="no run here"):
        read_facts(tmp_path)
    bare.summary_file.unlink()
    with pytest.raises(RunError, match="not finished"):
        read_facts(RunFolder(bare.path).path)
