"""What an audited run records: exactly what came in, of those who were chosen, and nothing else changes."""

import hashlib
import shutil

import numpy as np
import pytest

import fedstyle_secure
from fedstyle_secure.engines import local
from fedstyle_secure.errors import ConfigError, RunError
from fedstyle_secure.federation.protocol import Instruction
from fedstyle_secure.federation.record import read_round, read_rounds, record_file
from fedstyle_secure.files import read_arrays, write_arrays
from fedstyle_secure.galleries.canaries import roster
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.system import State

SILENT = ["privacy.noise_multiplier=0", "styles.min_contributors=2"]


@pytest.mark.long
@pytest.mark.parametrize(
    "extra", [["secure_sum.enabled=false"], [], ["secure_sum.updates=true", "prototypes.releases=2"]]
)
def test_recording_changes_no_bit_of_the_run(tiny, tmp_path, extra):
    config = tiny.override([*SILENT, *extra])
    plain = fedstyle_secure.train(config, tmp_path / "plain")
    recorded = fedstyle_secure.train(config.override(["audit.record=all"]), tmp_path / "recorded")
    ours, theirs = (State.load(run.folder.product_file) for run in (plain, recorded))
    assert ours.digest == theirs.digest
    assert not plain.folder.record_folder.exists()
    assert len(read_rounds(recorded.folder)) == len(recorded.folder.metrics())


def tapped(monkeypatch):
    """Instructions and replies on the wire, by round and artist."""
    seen = []
    real = local.LocalGrid._handle

    def handle(self, message):
        reply = real(self, message)
        if message.metadata.message_type == "train":
            seen.append((Instruction.from_record(message.content), reply.content))
        return reply

    monkeypatch.setattr(local.LocalGrid, "_handle", handle)
    return seen


@pytest.mark.long
@pytest.mark.parametrize("extra", [[], ["secure_sum.updates=true"], ["privacy.unit=artist"]])
def test_a_record_is_what_was_on_the_wire(tiny, tmp_path, monkeypatch, extra):
    seen = tapped(monkeypatch)
    config = tiny.override(["audit.record=impasto-1,mosaic-1", "prototypes.releases=2", *extra])
    run = fedstyle_secure.train(config, tmp_path / "run")
    rounds = read_rounds(run.folder)
    assert [recorded.sent.round for recorded in rounds] == list(range(len(rounds)))
    kinds, blobs = set(), 0
    fixed = next(instruction.fixed for instruction, _ in seen if instruction.fixed is not None)
    for instruction, reply in seen:
        recorded = rounds[instruction.round]
        assert recorded.sent.digest == instruction.state(fixed).digest
        artist = reply["reply"]["artist"]
        assert set(recorded.replies) == {"impasto-1", "mosaic-1"}
        if artist not in recorded.replies:
            continue
        kept = recorded.replies[artist]
        assert set(kept.arrays) == set(reply.array_records)
        for kind, group in reply.array_records.items():
            kinds.add(kind)
            assert set(kept.arrays[kind]) == set(group)
            for name, array in group.items():
                assert kept.arrays[kind][name].dtype == array.numpy().dtype
                assert np.array_equal(kept.arrays[kind][name], array.numpy())
        if "upload" in reply:
            body = reply["upload"]["body"]
            blobs += 1
            (blob,) = kept.sealed
            assert (blob.size, blob.sha256) == (len(body), hashlib.sha256(body).hexdigest())
        else:
            assert kept.sealed == ()
    # What is summed under encryption is not there in clear.
    expected = {"update", "card"} - ({"update"} if "secure_sum.updates=true" in extra else set())
    assert kinds == (set() if "privacy.unit=artist" in extra else expected)
    assert blobs > 0
    summed = [line["round"] for line in run.folder.metrics() if line["sum"]]
    assert [r.sent.round for r in rounds if r.opened is not None] == summed
    assert all(rounds[number].opened.artists == 4 for number in summed)
    # The folder holds no ciphertext and no artist who was not chosen.
    for path in run.folder.record_folder.iterdir():
        content = path.read_bytes()
        # Where cards are out, the instruction itself names every artist.
        assert b"watercolour-1" not in content or rb"\"cards\": []" not in content
        assert not any(reply["upload"]["body"][:64] in content for _, reply in seen if "upload" in reply)


def test_the_opened_sum_is_the_one_that_moved_the_prototypes(tiny, tmp_path):
    config = tiny.override([*SILENT, "audit.record=mosaic-1", "cards.consent=none"])
    run = fedstyle_secure.train(config, tmp_path / "run")
    last, _ = read_arrays(run.folder.opened_file)
    recorded = [r.opened for r in read_rounds(run.folder) if r.opened is not None]
    assert np.array_equal(recorded[-1].total, last["total"])
    assert np.array_equal(recorded[-1].kept, last["kept"])


@pytest.mark.long
def test_a_round_that_is_repeated_after_a_kill_is_recorded_anew(tiny, tmp_path, monkeypatch):
    config = tiny.override(["audit.record=all"])
    real = RunFolder.append_metrics

    def dies(self, line):
        if line["round"] == 1:
            raise KeyboardInterrupt
        real(self, line)

    monkeypatch.setattr(RunFolder, "append_metrics", dies)
    with pytest.raises(KeyboardInterrupt):
        fedstyle_secure.train(config, tmp_path / "run")
    monkeypatch.undo()
    folder = RunFolder(tmp_path / "run")
    path = record_file(folder.record_folder, 1)
    fixed, _ = read_arrays(folder.fixed_file)
    before = read_round(path, fixed)
    path.write_bytes(b"torn")
    run = fedstyle_secure.train(config, tmp_path / "run", resume=True)
    # The artists send the same bytes again, so the record is the same as if nothing had happened.
    after = read_round(path, fixed)
    assert after.sent.digest == before.sent.digest
    for artist, reply in before.replies.items():
        again = after.replies[artist].arrays
        assert all(np.array_equal(again[k][n], a) for k, g in reply.arrays.items() for n, a in g.items())
    assert len(read_rounds(run.folder)) == len(run.folder.metrics())


@pytest.mark.long
@pytest.mark.parametrize(
    "extra",
    [
        ["secure_sum.enabled=false", "metrics.releases=1"],
        ["cards.releases=2", "style.train=all"],
        ["privacy.unit=artist", "prototypes.releases=2"],
        ["cards.consent=mosaic-1"],
    ],
)
def test_the_predicted_size_is_what_a_record_takes(tiny, tmp_path, extra):
    config = tiny.override(["audit.record=all", "audit.record_limit_mb=0.001", *extra])
    with pytest.raises(ConfigError) as caught:
        fedstyle_secure.train(config, tmp_path / "run")
    text = str(caught.value)
    assert text.startswith("audit.record_limit_mb = 0.001, but the record of 4 artists over ")
    assert "\n" not in text
    enough = int(text.rsplit(" ", 1)[1])
    predicted = float(text.split(" takes ")[1].split(";")[0]) * 1e6
    # Nothing was released, so nothing is in the way of the next try.
    assert not (tmp_path / "run").exists()
    run = fedstyle_secure.train(config.override([f"audit.record_limit_mb={enough}"]), tmp_path / "run")
    taken = sum(path.stat().st_size for path in run.folder.record_folder.iterdir())
    # Told to a tenth of a megabyte; a file's header is counted at its largest.
    assert predicted - 0.05e6 - 4096 * len(run.folder.metrics()) <= taken <= predicted + 0.05e6


def test_what_would_fit_is_told(tiny, tmp_path):
    config = tiny.override(["audit.record=all", "style.dim=256", "run.rounds=4"])
    with pytest.raises(ConfigError) as caught:
        fedstyle_secure.train(config.override(["audit.record_limit_mb=0.001"]), tmp_path / "run")
    assert "; raise the limit to" in str(caught.value)
    whole = float(str(caught.value).split(" takes ")[1].split(";")[0])
    with pytest.raises(ConfigError, match=r"; 3 of 4 artists would fit, or raise the limit to"):
        fedstyle_secure.train(config.override([f"audit.record_limit_mb={whole - 0.1}"]), tmp_path / "run")


@pytest.mark.long
def test_whoever_is_not_in_the_run_cannot_be_recorded(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"audit\.record: 'nobody' is no artist of the run"):
        fedstyle_secure.train(tiny.override(["audit.record=nobody"]), tmp_path / "run")
    # A canary artist is in it.
    config = tiny.override(["privacy.unit=artist", "audit.canaries=2", "audit.record=canary-2"])
    assert "canary-2" in roster(config, fedstyle_secure.open_gallery(config.gallery))
    run = fedstyle_secure.train(config, tmp_path / "run")
    assert set(read_rounds(run.folder)[1].replies) == {"canary-2"}


@pytest.fixture(scope="module")
def recorded(tiny, tmp_path_factory):
    config = tiny.override(["audit.record=mosaic-1"])
    return fedstyle_secure.train(config, tmp_path_factory.mktemp("recorded") / "run").folder


@pytest.mark.parametrize("damage", ["a flipped bit", "cut short", "gone", "another round's text"])
def test_a_damaged_record_is_named(recorded, tmp_path, damage):
    run = RunFolder(tmp_path / "run")
    shutil.copytree(recorded.path, run.path)
    path = record_file(run.record_folder, 1)
    content = bytearray(path.read_bytes())
    if damage == "a flipped bit":
        content[-100] ^= 1
    elif damage == "cut short":
        content = content[:-10]
    elif damage == "another round's text":
        content = content.replace(rb"\"round\": 1", rb"\"round\": 2")
    assert damage == "gone" or bytes(content) != path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"round_00001\.safetensors"):
        read_round(path, read_arrays(run.fixed_file)[0])
    with pytest.raises(RunError, match=r"round_00001\.safetensors"):
        read_rounds(run)


def test_a_record_beside_another_fixed_part_is_refused(recorded, tmp_path):
    run = RunFolder(tmp_path / "run")
    shutil.copytree(recorded.path, run.path)
    fixed, _ = read_arrays(run.fixed_file)
    name = sorted(fixed)[0]
    write_arrays(run.fixed_file, fixed | {name: fixed[name] + np.float32(1)}, {})
    with pytest.raises(RunError, match=r"round_00000\.safetensors: .*another fixed part"):
        read_rounds(run)


@pytest.mark.long
def test_deleting_a_run_deletes_its_record_and_coins(tiny, tmp_path):
    run = fedstyle_secure.train(tiny.override(["audit.record=all", "audit.canaries=4"]), tmp_path / "run")
    assert run.folder.canaries_file.exists()
    run.folder.remove()
    assert not (tmp_path / "run").exists()


def test_a_run_that_was_not_recorded_says_so(finished):
    with pytest.raises(RunError, match=r"audit\.record was none"):
        read_rounds(finished)
