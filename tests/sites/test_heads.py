"""A ledger that was rolled back is known by the heads that others keep."""

import shutil

import pytest

from fedstyle_secure.errors import PrivacyError, SecureSumError
from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.privacy.ledger import Entry, Ledger
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.sites.heads import Keeper, SignedHead, check, require, sign

NOW = "2026-03-01T10:00:00+00:00"


def release(ledger, number, run="run"):
    cost = SampledGaussian(2.0)
    ledger.append(
        [Entry(run, f"r{number}", number, "card", NOW, "GaussianSum", {}, 1.0, cost, None, "0" * 64)]
    )


@pytest.fixture
def ann(tmp_path):
    return Identity.load(tmp_path / "ann" / "identity.key")


@pytest.fixture
def ledger(tmp_path):
    (tmp_path / "home").mkdir()
    made = Ledger(tmp_path / "home" / "ledger.jsonl")
    release(made, 0)
    return made


def backup_of(ledger):
    """The ledger's folder as it is now; call what is given back to put it there again."""
    home, kept = ledger.path.parent, ledger.path.parent.with_name("backup")
    shutil.copytree(home, kept)

    def restore():
        shutil.rmtree(home)
        shutil.copytree(kept, home)
        return Ledger(ledger.path)

    return restore


def test_a_ledger_that_was_rolled_back_is_older_than_its_head(ann, ledger):
    restore = backup_of(ledger)
    release(ledger, 1)
    signed = sign(ann, "ann", ledger, NOW)
    assert check(signed.head, ledger) == "holds"
    release(ledger, 2)
    assert check(signed.head, Ledger(ledger.path)) == "holds"
    old = restore()
    # By itself it is a whole and good ledger, which has forgotten a release.
    assert len(old.entries) == 1
    assert check(signed.head, old) == "older"
    with pytest.raises(
        PrivacyError, match=r"has 1 lines, and the one of .* had 2: an older or another ledger"
    ):
        require([signed], "ann", old)
    # Releases after the restore make it long enough again, and no less another one.
    release(old, 1, run="another")
    release(old, 2)
    assert check(signed.head, Ledger(ledger.path)) == "other"
    with pytest.raises(PrivacyError, match="has other lines"):
        require([signed], "ann", old)


def test_a_withdrawal_that_was_rolled_back_is_noticed(ann, ledger):
    restore = backup_of(ledger)
    ledger.withdraw(NOW)
    signed = sign(ann, "ann", ledger, NOW)
    old = restore()
    assert old.withdrawal is None
    assert check(signed.head, old) == "older"


def test_an_empty_home_is_older_than_any_ledger_that_released(ann, ledger, tmp_path):
    signed = sign(ann, "ann", ledger, NOW)
    assert check(signed.head, Ledger(tmp_path / "new" / "ledger.jsonl")) == "older"
    require([sign(ann, "ann", Ledger(tmp_path / "new" / "ledger.jsonl"), NOW)], "ann", ledger)


def test_a_head_is_read_back_and_no_bit_of_it_can_be_changed(ann, ledger):
    data = sign(ann, "ann", ledger, NOW).to_bytes()
    read = SignedHead.from_bytes(data, ann.public)
    assert read.to_bytes() == data
    assert (read.head.artist, read.head.lines, read.head.chain) == ("ann", 1, ledger.heads[-1])
    for at in range(0, len(data), 3):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(PrivacyError):
            SignedHead.from_bytes(bytes(changed), ann.public)


def test_nobody_else_makes_a_head_up(ann, ledger, tmp_path):
    other = Identity.load(tmp_path / "other" / "identity.key")
    forged = sign(other, "ann", ledger, NOW).to_bytes()
    with pytest.raises(PrivacyError, match="its signature does not fit"):
        SignedHead.from_bytes(forged, ann.public)
    with pytest.raises(PrivacyError, match="its signature does not fit"):
        Keeper(tmp_path / "kept").keep(forged, "ann", ann.public)
    # A signature for another purpose is none for this one.
    signed = sign(ann, "ann", ledger, NOW)
    wrong = SignedHead(signed.head, ann.sign("manifest", signed.head.body()))
    with pytest.raises(PrivacyError, match="its signature does not fit"):
        SignedHead.from_bytes(wrong.to_bytes(), ann.public)


def test_a_keeper_keeps_the_newest_and_goes_back_for_nobody(ann, ledger, tmp_path):
    keeper = Keeper(tmp_path / "kept")
    assert keeper.kept("ann", ann.public) is None
    restore = backup_of(ledger)
    first = keeper.keep(sign(ann, "ann", ledger, NOW).to_bytes(), "ann", ann.public)
    release(ledger, 1)
    second = keeper.keep(sign(ann, "ann", ledger, NOW).to_bytes(), "ann", ann.public)
    assert keeper.kept("ann", ann.public) == second != first
    again = sign(ann, "ann", ledger, "2026-03-02T10:00:00+00:00")
    assert keeper.keep(again.to_bytes(), "ann", ann.public) == second
    with pytest.raises(PrivacyError, match=r"had 2 lines at .*, and has fewer now"):
        keeper.keep(first.to_bytes(), "ann", ann.public)
    old = restore()
    release(old, 1, run="another")
    with pytest.raises(PrivacyError, match="has other ones now"):
        keeper.keep(sign(ann, "ann", old, NOW).to_bytes(), "ann", ann.public)
    assert Keeper(tmp_path / "kept").kept("ann", ann.public) == second


def test_one_artists_head_is_none_of_another(ann, ledger, tmp_path):
    keeper, data = Keeper(tmp_path / "kept"), sign(ann, "ann", ledger, NOW).to_bytes()
    with pytest.raises(PrivacyError, match="artist 'bo' sent the head of 'ann'"):
        keeper.keep(data, "bo", ann.public)
    with pytest.raises(PrivacyError, match="was given back to 'bo'"):
        require([SignedHead.from_bytes(data, ann.public)], "bo", ledger)
    keeper.keep(data, "ann", ann.public)
    shutil.copy(tmp_path / "kept" / "ann.json", tmp_path / "kept" / "bo.json")
    with pytest.raises(PrivacyError, match="holds the head of another artist"):
        keeper.kept("bo", ann.public)


def test_what_is_kept_is_checked_when_it_is_read(ann, ledger, tmp_path):
    keeper = Keeper(tmp_path / "kept")
    keeper.keep(sign(ann, "ann", ledger, NOW).to_bytes(), "ann", ann.public)
    path = tmp_path / "kept" / "ann.json"
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PrivacyError, match="no signed head"):
        keeper.kept("ann", ann.public)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"head":"{}","signature":"00"}', b"{" * 5000])
def test_what_is_no_head_is_refused_in_one_line(ann, data):
    with pytest.raises((PrivacyError, SecureSumError)):
        SignedHead.from_bytes(data, ann.public)
