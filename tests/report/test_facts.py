"""A folder that is not the one that was trained and audited is refused, and the file is named."""

import json
import re
import shutil

import numpy as np
import pytest

from fedstyle_secure.errors import AuditError, RunError
from fedstyle_secure.report.facts import read_facts
from fedstyle_secure.report.integrity import RUN_FILES, VOUCHED
from fedstyle_secure.runs import RunFolder, file_sha256


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
    assert facts.own["checked"] == {"artists_ledgers": 4, "opener_signatures": True}


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
    "name", ["manifest.json", "metrics.jsonl", "encoder.safetensors", "audit/findings.json"]
)
def test_one_more_byte_is_found(run, name):
    with (run.path / name).open("ab") as file:
        file.write(b" ")
    refused(run, name.rpartition("/")[2])


def test_edited_settings_are_found_without_an_audit(bare):
    text = bare.config_file.read_text()
    bare.config_file.write_text(text.replace("target_epsilon = 8.0", "target_epsilon = 7.0"))
    refused(bare, "config.toml")


def test_another_encoder_is_found_without_an_audit(bare):
    bare.encoder_file.write_bytes(bare.encoder_file.read_bytes()[:-1] + b"\x01")
    refused(bare, "encoder.safetensors")


@pytest.mark.parametrize("name", ["ledger.json", "summary.json"])
def test_a_smaller_epsilon_is_found_without_an_audit(bare, name):
    def flatter(values):
        if name == "summary.json":
            values["privacy"]["per_artist"][1]["epsilon_artwork"] *= 0.9
        else:
            artist = next(iter(values))
            values[artist][0]["artwork_cost"]["noise_multiplier"] *= 2
            values[artist][0]["parameters"]["noise_multiplier"] *= 2

    edit(bare.path / name, flatter)
    assert "cost" in refused(bare, "ledger.json")


def test_a_release_that_was_taken_out_of_the_ledger_is_found(bare):
    edit(bare.ledger_file, lambda values: values[next(iter(values))].pop())
    refused(bare, "ledger.json")


def test_a_ledger_that_adds_up_but_is_not_the_artists_own_is_found(bare):
    def swap(values):
        values[next(iter(values))][0]["digest"] = "0" * 64

    edit(bare.ledger_file, swap)
    assert "own ledger" in refused(bare, "ledger.json")


def test_an_artist_that_is_left_out_of_the_summary_is_found(bare):
    edit(bare.summary_file, lambda values: values["privacy"]["per_artist"].pop())
    refused(bare, "ledger.json")


def test_a_largest_epsilon_below_an_artists_is_found(bare):
    edit(bare.summary_file, lambda values: values["privacy"].update(epsilon_artwork_max=1.0))
    refused(bare, "summary.json")


def test_a_transcript_that_does_not_verify_is_found(bare):
    text = bare.transcript_file.read_text()
    bare.transcript_file.write_text(text.replace('"kept":[', '"kept":[1,', 1))
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


@pytest.mark.parametrize("name", VOUCHED)
def test_an_audit_must_vouch_for_what_its_findings_rest_on(run, name):
    edit(run.path / "audit" / "audit.json", lambda values: values["inputs"].pop(name))
    refused(run, name)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", ""])
def test_an_audit_cannot_name_files_outside_its_folder(run, name):
    edit(run.path / "audit" / "audit.json", lambda values: values["inputs"].update({name: "0" * 64}))
    refused(run, "names no file of the folder")


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


def test_prototypes_of_another_run_are_found_where_the_audit_read_them(run):
    edit(
        run.path / "audit" / "audit.json",
        lambda v: v["inputs"].update({"prototypes.npz": file_sha256(run.prototypes_file)}),
    )
    np.savez(run.prototypes_file, prototypes=np.zeros(3))
    refused(run, "prototypes.npz")


def test_no_run_and_an_unfinished_run_say_so(tmp_path, bare):
    with pytest.raises(RunError, match="no run here"):
        read_facts(tmp_path)
    bare.summary_file.unlink()
    with pytest.raises(RunError, match="not finished"):
        read_facts(RunFolder(bare.path).path)
