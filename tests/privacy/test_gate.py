"""The way out: in the ledger before it leaves, each release once, nothing past it."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.gate import Gate, Release, Sealed
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.privacy.mechanisms import Event, GaussianSum

MECHANISM = GaussianSum(1.0, 2.0)


def release(kind="card", value=1.0):
    return Release(kind, {"x": np.full(3, value, np.float32)}, MECHANISM)


def test_the_same_request_gets_the_same_bytes_and_costs_once(tmp_path):
    first = Gate(tmp_path).send("r1", 1, lambda: [release(value=0.5)])
    again = Gate(tmp_path).send("r1", 1, lambda: [release(value=0.7)])
    assert np.array_equal(first.arrays["card"]["x"], again.arrays["card"]["x"])
    assert Gate(tmp_path).ledger.events() == (Event(2.0, 1.0, 1),)


def test_another_request_costs_again(tmp_path):
    gate = Gate(tmp_path)
    gate.send("r1", 1, lambda: [release(), release("update")])
    gate.send("r2", 2, lambda: [release()])
    assert [entry.kind for entry in Gate(tmp_path).ledger.entries] == ["card", "update", "card"]


def test_a_round_is_answered_to_one_request_only(tmp_path):
    gate = Gate(tmp_path)
    gate.send("r1", 1, lambda: [release()])
    with pytest.raises(PrivacyError, match="round 1 was answered before"):
        Gate(tmp_path).send("other", 1, lambda: [release()])
    assert len(Gate(tmp_path).ledger.entries) == 1


def test_a_release_whose_bytes_are_gone_costs_again(tmp_path):
    Gate(tmp_path).send("r1", 1, lambda: [release()])
    for file in (tmp_path / "outbox").iterdir():
        file.unlink()
    Gate(tmp_path).send("r1", 1, lambda: [release(value=2.0)])
    assert len(Gate(tmp_path).ledger.entries) == 2


def test_kept_bytes_that_were_changed_are_refused(tmp_path):
    Gate(tmp_path).send("r1", 1, lambda: [release()])
    (path,) = (tmp_path / "outbox").iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(PrivacyError, match="does not match"):
        Gate(tmp_path).send("r1", 1, lambda: [release()])


def test_what_is_not_finite_never_leaves_and_never_costs(tmp_path):
    with pytest.raises(PrivacyError, match="'x' holds NaN"):
        Gate(tmp_path).send("r1", 1, lambda: [release(value=np.nan)])
    assert Gate(tmp_path).ledger.entries == ()


def test_nothing_else_can_seal():
    with pytest.raises(PrivacyError, match="only a Gate"):
        Sealed(object(), {})


@pytest.mark.parametrize("change", ["edit", "remove", "swap", "truncate line"])
def test_a_changed_ledger_is_refused_and_the_entry_named(tmp_path, change):
    gate = Gate(tmp_path)
    for i in range(4):
        gate.send(f"r{i}", i, lambda: [release()])
    path = tmp_path / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    if change == "edit":
        lines[1] = lines[1].replace('"noise_multiplier": 2.0', '"noise_multiplier": 9.0')
    elif change == "remove":
        del lines[1]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    else:
        lines[1] = lines[1][: len(lines[1]) // 2] + "\n"
    path.write_text("".join(lines))
    with pytest.raises(PrivacyError, match="entry 2"):
        Ledger(path)


def test_a_torn_last_line_was_never_sent_and_is_dropped(tmp_path):
    gate = Gate(tmp_path)
    gate.send("r0", 0, lambda: [release()])
    path = tmp_path / "ledger.jsonl"
    with path.open("a") as file:
        file.write('{"entry": {"requ')
    assert len(Ledger(path).entries) == 1
    Gate(tmp_path).send("r1", 1, lambda: [release()])
    assert len(Ledger(path).entries) == 2


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np
    from fedstyle_secure.privacy import gate as gate_module
    from fedstyle_secure.privacy.gate import Gate, Release
    from fedstyle_secure.privacy.ledger import Ledger
    from fedstyle_secure.privacy.mechanisms import GaussianSum

    home, moment = Path(sys.argv[1]), sys.argv[2]
    real = Ledger.append

    def append(self, entries):
        if moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, entries)
        os.kill(os.getpid(), signal.SIGKILL)

    Ledger.append = append
    Gate(home).send("r1", 1, lambda: [Release("card", {"x": np.ones(3, np.float32)}, GaussianSum(1.0, 2.0))])
"""


@pytest.mark.parametrize(("moment", "spent"), [("before", 0), ("after", 1)])
def test_killed_around_the_write_nothing_spent_is_forgotten(tmp_path, moment, spent):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), moment], check=False, env=os.environ
    )
    assert done.returncode == -signal.SIGKILL
    assert len(Gate(tmp_path).ledger.entries) == spent
    sent = Gate(tmp_path).send("r1", 1, lambda: [release(value=5.0)])
    assert len(Gate(tmp_path).ledger.entries) == 1
    assert sent.arrays["card"]["x"][0] == (1.0 if spent else 5.0)


def test_the_ledger_says_what_each_release_cost(tmp_path):
    Gate(tmp_path).send("r1", 1, lambda: [release()])
    line = json.loads((tmp_path / "ledger.jsonl").read_text())
    assert line["entry"]["events"] == [{"noise_multiplier": 2.0, "sampling_rate": 1.0, "steps": 1}]
    assert line["entry"]["sensitivity"] == 1.0
