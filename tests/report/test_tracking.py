"""Runs in trackers: read back by each one's own reader, and nothing there that should not be."""

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fedstyle_secure.cli import main
from fedstyle_secure.errors import AuditError, ConfigError
from fedstyle_secure.report.formats import report
from fedstyle_secure.tracking.figures import of_findings, of_round
from fedstyle_secure.tracking.sinks import opened
from fedstyle_secure.tracking.track import each_round, track

TRACKERS = ("mlflow", "tensorboard", "wandb")
FILES = [
    "metrics.jsonl", "summary.json", "findings.json", "report/report.html", "report/report.json",
    "report/findings.csv", "report/dpia.md", "report/dpia.json",
]  # fmt: skip
AUC = "audit/platform/rounds/membership_AUC"


@pytest.fixture
def reported(run):
    report(run.path, ("html", "json", "csv"), date="2026-11-21")
    return run


@pytest.fixture
def mlflow(monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return pytest.importorskip("mlflow", reason="the extra mlflow is not installed")


@pytest.fixture
def tensorboard():
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb's own"))
    return pytest.importorskip("wandb", reason="the extra wandb is not installed")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def in_mlflow(at: Path):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{at / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'fedstyle'")
    return client, client.search_runs([experiment.experiment_id])


def in_wandb(folder: Path) -> list:
    """Records of an offline run: W&B's messages in LevelDB's log format, which only its own program reads."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    data, at, whole, found = file.read_bytes(), 7, b"", []
    while at < len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(Record.FromString(whole))
            whole = b""
    return found


def history(records: list) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for record in records:
        for item in record.history.item:
            found.setdefault(item.key or "/".join(item.nested_key), []).append(json.loads(item.value_json))
    return found


def expected(run) -> list[float]:
    return [line["artist_top1"] for line in run.metrics()]


def test_mlflow_gives_back_what_a_run_found(mlflow, reported, tmp_path):
    *files, place = track(reported.path, "mlflow", str(tmp_path / "ml"))
    assert files == FILES
    client, (found,) = in_mlflow(tmp_path / "ml")
    assert found.info.run_id in place
    assert (found.info.status, found.info.run_name) == ("FINISHED", reported.path.name)
    rows = client.get_metric_history(found.info.run_id, "rounds/artist_top1")
    assert [(row.step, row.value) for row in rows] == list(enumerate(expected(reported)))
    assert found.data.metrics[AUC] == 0.5213
    assert found.data.metrics[f"{AUC}/bound"] == 0.9471
    epsilon = reported.summary()["privacy"]["epsilon_artwork_max"]
    assert found.data.metrics["summary/privacy.epsilon_artwork_max"] == epsilon
    assert found.data.params["product_sha256"] == reported.summary()["product_sha256"]
    names = [one.path for part in ("", "report") for one in client.list_artifacts(found.info.run_id, part)]
    assert set(names) == {*FILES, "report"}
    kept = contents(tmp_path / "ml" / "artifacts")
    for name in FILES:
        own = reported.audit_folder if name == "findings.json" else reported.path
        assert [data for path, data in kept.items() if path.endswith(f"/{name}")][:1] == [
            (own / name).read_bytes()
        ]


def test_tensorboard_gives_back_what_a_run_found(tensorboard, reported, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    *files, place = track(reported.path, "tensorboard", str(tmp_path / "tb"))
    assert files == FILES
    read = EventAccumulator(place).Reload()
    rows = read.Scalars("rounds/artist_top1")
    assert [row.step for row in rows] == list(range(len(expected(reported))))
    assert [row.value for row in rows] == pytest.approx(expected(reported), rel=1e-6)
    assert read.Scalars(AUC)[0].value == pytest.approx(0.5213, rel=1e-6)
    assert "system/text_summary" in read.Tags()["tensors"]
    assert {name for name in contents(Path(place)) if not name.startswith("events")} == {
        f"files/{name}" for name in FILES
    }
    assert track(reported.path, "tensorboard", str(tmp_path / "tb"))[-1] == f"{place}-2"


def test_wandb_keeps_what_a_run_found_until_somebody_sends_it(wandb, reported, tmp_path):
    *files, place = track(reported.path, "wandb", str(tmp_path / "wb"))
    assert files == FILES
    records = in_wandb(tmp_path / "wb")
    rows = history(records)
    assert rows["rounds/artist_top1"] == expected(reported)
    assert rows[AUC] == [0.5213]
    (begun,) = [record.run for record in records if record.HasField("run") and record.run.display_name]
    assert (begun.project, begun.display_name, begun.host) == ("fedstyle", reported.path.name, "")
    assert {name for name in contents(Path(place)) if not name.endswith(".wandb")} == {
        f"files/{name}" for name in FILES
    }
    sent = {file.path for record in records for file in record.files.files}
    assert set(FILES) <= sent


@pytest.mark.parametrize("to", TRACKERS)
def test_nothing_private_and_nothing_of_the_machine_goes(to, request, reported, tmp_path, monkeypatch):
    request.getfixturevalue(to)
    monkeypatch.setattr(socket, "gethostname", lambda: "the-name-of-this-machine")
    at = tmp_path / "elsewhere"
    at.mkdir()
    monkeypatch.chdir(at)
    track(reported.path, to, str(at))
    kept = contents(at)
    own = {str(at), str(at.resolve())}
    for name, data in kept.items():
        assert b"the-name-of-this-machine" not in data + name.encode(), name
        # A tracker of one's own may know where it lies itself.
        for place in own:
            data = data.replace(place.encode(), b"")
        for private in (str(reported.path), str(tmp_path), str(Path.home()) + "/"):
            assert private.encode() not in data, (name, private)
    studios = contents(reported.path.parent / "studios")
    secret = [data for name, data in studios.items() if "key" in name]
    secret += [path.read_bytes() for path in reported.record_folder.glob("*")]
    secret += [reported.product_file.read_bytes(), reported.manifest_file.read_bytes()]
    assert len(secret) > 3
    everything = b"".join(kept.values())
    assert not [data for data in secret if data in everything]


def test_no_artist_is_part_of_a_figures_name(run, make):
    artists = [row["artist"] for row in run.summary()["privacy"]["per_artist"]]
    findings = [make(), replace(make(), target=artists[0], value=0.9)]
    found = of_round(run.metrics()[0]) | of_findings(findings, {"Gradient alignment": "rounds"})
    assert found[AUC] == 0.5213
    assert "rounds/sum.values" in found
    assert not [name for name in found if any(artist in name for artist in artists)]
    odd = replace(make(), metric="TPR at an FPR", fpr=0.01)
    assert "audit/platform/rounds/TPR_at_an_FPR_of_0.01" in of_findings([odd], {odd.attack: "rounds"})


def test_a_run_is_followed_round_by_round_and_a_failure_is_told(mlflow, run, tmp_path):
    def killed_after_two_rounds():
        with opened("mlflow", "live", str(tmp_path / "ml")) as sink:
            follow = each_round(sink)
            for line in run.metrics()[:2]:
                follow(line, 3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed_after_two_rounds()
    client, (found,) = in_mlflow(tmp_path / "ml")
    assert found.info.status == "FAILED"
    assert len(client.get_metric_history(found.info.run_id, "rounds/seconds")) == 2


def test_a_report_of_other_files_does_not_go(tensorboard, reported, audited, tmp_path):
    audited(reported, lambda rows, _: rows[:-1])
    with pytest.raises(
        AuditError, match="the report is not of the files that lie here now; `fedstyle report`"
    ):
        track(reported.path, "tensorboard", str(tmp_path / "tb"))
    (reported.path / "report" / "report.json").unlink()
    with pytest.raises(AuditError, match=r"report\.json: is missing, so nothing says what the report is of"):
        track(reported.path, "tensorboard", str(tmp_path / "tb"))
    assert not (tmp_path / "tb").exists()


def test_a_run_without_audit_and_report_goes_as_it_is(tensorboard, bare, tmp_path):
    assert track(bare.path, "tensorboard", str(tmp_path / "tb"))[:-1] == ["metrics.jsonl", "summary.json"]


@pytest.mark.parametrize("to", TRACKERS)
def test_a_missing_package_is_named_with_what_installs_it(to, monkeypatch, capsys, tmp_path):
    for name in ("mlflow", "torch.utils.tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"fedstyle_secure.tracking.to_{to}", raising=False)
    monkeypatch.setattr(sys, "argv", ["fedstyle", "track", str(tmp_path), "--to", to])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert f'--to {to} needs an extra: pip install "fedstyle-secure[{to}]"' in capsys.readouterr().err


def test_an_unknown_tracker_and_a_place_that_is_none_are_refused(tensorboard, run):
    with pytest.raises(ConfigError, match="--to 'comet' is none of mlflow, tensorboard, wandb"):
        track(run.path, "comet")
    with pytest.raises(ConfigError, match="TensorBoard reads folders"):
        track(run.path, "tensorboard", "http://localhost:6006")


@pytest.mark.long
def test_no_tracker_is_loaded_before_it_is_asked_for():
    said = (
        "import sys, fedstyle_secure.tracking.track, fedstyle_secure.cli; "
        "assert not {'mlflow', 'tensorboard', 'wandb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", said], check=True)
