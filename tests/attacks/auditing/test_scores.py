"""Scores of anything: the same figures from CSV, Parquet, npz and arrays, equal to scikit-learn's."""

import io
import warnings
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from sklearn.metrics import roc_auc_score, roc_curve

from attacks import AttackError, Claim, audit_scores

RNG = np.random.default_rng(0)
MEMBER = np.arange(600) < 300
MINE = np.round(RNG.normal(0.8 * MEMBER), 1)  # With ties.
OTHER = RNG.normal(size=600)


def written(folder, kind):
    path = folder / f"scores.{kind}"
    if kind == "csv":
        rows = [f"{a},{b},{int(m)},r{k}" for k, (a, b, m) in enumerate(zip(MINE, OTHER, MEMBER, strict=True))]
        path.write_text("\n".join(["mine,other,member,name", *rows]) + "\n")
    elif kind == "parquet":
        parquet.write_table(pa.table({"mine": MINE, "other": OTHER, "member": MEMBER}), path)
    else:
        np.savez(path, mine=MINE, other=OTHER, member=MEMBER)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_every_file_gives_the_figures_of_scikit_learn(tmp_path, kind):
    found = audit_scores(written(tmp_path, kind), rates=(0.1,))
    assert [row.attack for row in found.rows] == ["mine", "mine", "other", "other"]
    for name, scores in (("mine", MINE), ("other", OTHER)):
        assert found.row(name).value == pytest.approx(roc_auc_score(MEMBER, scores), abs=1e-12)
        fpr, tpr, _ = roc_curve(MEMBER, scores, drop_intermediate=False)
        rate = found.row(name, 0.1)
        assert rate.value == pytest.approx(tpr[fpr <= 0.1].max(), abs=1e-12)
        assert rate.details["FPR"] == pytest.approx(fpr[fpr <= 0.1].max(), abs=1e-12)
    assert found.row("mine").verdict == "leaks"
    # There is no model, and so nothing that shows that the attack could have won.
    assert found.row("other").verdict == "inconclusive"
    assert "there are scores only" in found.row("other").reason


def test_two_arrays_of_scores_need_no_truth():
    found = audit_scores({"members": MINE[:300], "non_members": MINE[300:]}, rates=())
    assert found.row("scores").value == pytest.approx(roc_auc_score(MEMBER, MINE))


def test_canaries_scores_bound_epsilon_beside_what_is_claimed():
    """Sure scores of 400 coins prove more than 1; scores that say nothing prove nothing, but for 1 in 200."""
    coins = RNG.random(400) < 0.5
    claim = Claim(1.0, 1e-5)
    sure = audit_scores({"member": coins, "s": coins + 0.1 * RNG.random(400)}, canaries=True, claim=claim)
    assert sure.rows[0].value > 2
    assert sure.rows[0].alarm
    assert str(sure).startswith("ABOVE THE CLAIM: s: epsilon lower bound")
    blind = audit_scores({"member": coins, "s": RNG.random(400)}, canaries=True, claim=claim)
    assert blind.rows[0].value == 0
    assert not blind.alarms
    assert "holds if each canary was in by its own fair coin" in blind.rows[0].reason


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "is empty"),
        ("score,member\n1,1\n2\n", ":3: has 1 cells, and the head 2"),
        ("score,truth\n1,1\n", "has no column 'member'; it has score, truth"),
        ("score,member\n1,maybe\n", "'maybe' is neither a member"),
        ("name,member\nann,1\nbo,0\n", "has no column of numbers beside 'member'"),
        ("score,member\n1,1\n2,1\n", "column 'member' has only members"),
        ("score,member\nnan,1\n2,0\n", "must be finite numbers"),
        ("score,member,member\n1,1,0\n2,0,1\n", "has two columns 'member': leave one"),
        ("score,score,member\n1,2,0\n2,1,1\n", "has two columns 'score'"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, text, line):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(AttackError) as error:
        audit_scores(path)
    assert line in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_none_are_refused(tmp_path):
    for name, line in (("a.xlsx", "scores are read from .csv, .parquet, .npz"), ("a.csv", "cannot be read")):
        with pytest.raises(AttackError, match=line):
            audit_scores(tmp_path / name)
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(AttackError, match="cannot be read"):
        audit_scores(tmp_path / "a.npz")
    with pytest.raises(AttackError, match="has no column 'yours'"):
        audit_scores({"member": MEMBER, "mine": MINE}, attacks=["yours"])


def crafted(path, scores, *more):
    truth = io.BytesIO()
    np.save(truth, MEMBER)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # That a name is there twice.
        for name, data in (("member.npy", truth.getvalue()), ("mine.npy", scores), *more):
            archive.writestr(name, data)
    return path


def test_crafted_archives_are_one_line(tmp_path):
    whole = io.BytesIO()
    np.save(whole, MINE)
    npy = whole.getvalue()
    huge = npy.replace(b"(600,), }" + b" " * 10, b"(9999999999999,), }")
    assert huge != npy
    for data in (huge, npy.replace(b"{'descr'", b"{{{'desc"), npy[:200]):
        with pytest.raises(AttackError, match="cannot be read"):
            audit_scores(crafted(tmp_path / "a.npz", data))
    with pytest.raises(AttackError, match="has two columns 'mine'"):
        audit_scores(crafted(tmp_path / "a.npz", npy, ("mine.npy", npy)))
    (tmp_path / "b.npz").write_bytes(npy)
    with pytest.raises(AttackError, match="cannot be read"):
        audit_scores(tmp_path / "b.npz")


def test_damaged_archives_never_raise_what_their_readers_raise(tmp_path):
    good = crafted(tmp_path / "a.npz", b"").read_bytes()
    for place in range(0, len(good), 5):
        bad = bytearray(good)
        bad[place] ^= 0xFF
        (tmp_path / "b.npz").write_bytes(bytes(bad))
        with pytest.raises(AttackError):
            audit_scores(tmp_path / "b.npz")


def test_what_turns_into_numbers_and_is_none_is_no_attack():
    times = np.arange(600).astype("datetime64[s]")
    found = audit_scores({"member": MEMBER, "mine": MINE, "when": times, "phase": MINE + 1j}, rates=())
    assert [row.attack for row in found.rows] == ["mine"]
    for name in ("when", "phase"):
        with pytest.raises(AttackError, match=f"column '{name}': holds .*, and scores are real numbers"):
            audit_scores({"member": MEMBER, "when": times, "phase": MINE + 1j}, attacks=[name])
    with pytest.raises(AttackError, match="is the truth, and no attack"):
        audit_scores({"member": MEMBER, "mine": MINE}, attacks=["member"])
    for given in ([1, 2], None, {"member": MEMBER, "mine": [[1], [1, 2]]}):
        with pytest.raises(AttackError):
            audit_scores(given)
