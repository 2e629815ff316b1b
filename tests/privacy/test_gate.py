"""The way out: in the ledger before it leaves, each release once, nothing past it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress

import numpy as np
import pytest

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.gate import Gate, Release, Sealed
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.privacy.mechanisms import Event, GaussianSum

MECHANISM = GaussianSum(1.0, 2.0)


def release(kind="card", value=1.0):
    return Release(kind, {"x": np.full(3, value, np.float32)}, MECHANISM)


def spent(home):
    return Ledger(home / "ledger.jsonl").entries


def test_the_same_request_gets_the_same_bytes_and_costs_once(tmp_path):
    first = Gate(tmp_path).send("r1", 1, lambda: [release(value=0.5)])
    again = Gate(tmp_path).send("r1", 1, lambda: [release(value=0.7)])
    assert np.array_equal(first.arrays["card"]["x"], again.arrays["card"]["x"])
    assert [entry.events for entry in spent(tmp_path)] == [(Event(2.0, 1.0, 1),)]


def test_another_request_costs_again(tmp_path):
    gate = Gate(tmp_path)
    gate.send("r1", 1, lambda: [release(), release("update")])
    gate.send("r2", 2, lambda: [release()])
    assert [entry.kind for entry in spent(tmp_path)] == ["card", "update", "card"]


def test_a_round_is_answered_to_one_request_only(tmp_path):
    gate = Gate(tmp_path)
    gate.send("r1", 1, lambda: [release()])
    with pytest.raises(PrivacyError, match="round 1 was answered before"):
        Gate(tmp_path).send("other", 1, lambda: [release()])
    assert len(spent(tmp_path)) == 1


def test_no_order_of_requests_draws_more_than_one_release_a_round(tmp_path):
    gate = Gate(tmp_path)
    for turn in range(6):
        for number in (0, 1):
            with suppress(PrivacyError):
                gate.send(f"r{number}", number, lambda turn=turn: [release(value=float(turn))])
        gate.send("empty", 2, lambda: [])
    assert [entry.round for entry in Ledger(tmp_path / "ledger.jsonl").entries] == [0, 1]
    with pytest.raises(PrivacyError, match="round 0 was answered before and its bytes are gone"):
        gate.send("r0", 0, lambda: [release()])


def test_a_request_is_in_the_ledger_as_a_whole_or_not_at_all(tmp_path):
    Gate(tmp_path).send("r0", 0, lambda: [release(), release("update")])
    path = tmp_path / "ledger.jsonl"
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert Ledger(path).entries == ()
        assert path.read_bytes() == whole[:cut], "reading must not repair"
    Gate(tmp_path).send("r0", 0, lambda: [release(), release("update")])
    assert [e.kind for e in Ledger(path).entries] == ["card", "update"]


def test_a_write_that_fails_leaves_the_ledger_as_it_was(tmp_path, monkeypatch):
    gate = Gate(tmp_path)
    gate.send("r0", 0, lambda: [release()])
    real = os.fsync

    def full(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("ledger.jsonl"):
            raise OSError(28, "no space")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        gate.send("r1", 1, lambda: [release()])
    monkeypatch.undo()
    gate.send("r2", 2, lambda: [release()])
    assert [e.round for e in Ledger(tmp_path / "ledger.jsonl").entries] == [0, 2]


RACER = """
    import sys
    from pathlib import Path
    import numpy as np
    from fedstyle_secure.errors import PrivacyError
    from fedstyle_secure.privacy.gate import Gate, Release
    from fedstyle_secure.privacy.mechanisms import GaussianSum

    home, name = Path(sys.argv[1]), sys.argv[2]
    made = 0
    for number in range(40):
        def make():
            return [Release("card", {"x": np.ones(3, np.float32)}, GaussianSum(1.0, 2.0))]
        try:
            Gate(home).send(name, number, make)
            made += 1
        except PrivacyError:
            pass
    print(made)
"""


def test_two_processes_on_one_folder_answer_each_round_once(tmp_path):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RACER), str(tmp_path), name], stdout=subprocess.PIPE
        )
        for name in "ab"
    ]
    made = [int(racer.communicate()[0]) for racer in racers]
    assert sum(made) == 40
    assert [e.round for e in Ledger(tmp_path / "ledger.jsonl").entries] == list(range(40))


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
    assert spent(tmp_path) == ()


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
    with pytest.raises(PrivacyError, match="line 2"):
        Ledger(path)


def test_a_torn_last_line_was_never_sent_and_is_dropped(tmp_path):
    gate = Gate(tmp_path)
    gate.send("r0", 0, lambda: [release()])
    path = tmp_path / "ledger.jsonl"
    with path.open("a") as file:
        file.write('{"entries": [{"requ')
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


@pytest.mark.parametrize(("moment", "count"), [("before", 0), ("after", 1)])
def test_killed_around_the_write_nothing_spent_is_forgotten(tmp_path, moment, count):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), moment], check=False, env=os.environ
    )
    assert done.returncode == -signal.SIGKILL
    assert len(spent(tmp_path)) == count
    sent = Gate(tmp_path).send("r1", 1, lambda: [release(value=5.0)])
    assert len(spent(tmp_path)) == 1
    assert sent.arrays["card"]["x"][0] == (1.0 if count else 5.0)


def test_the_ledger_says_what_each_release_cost(tmp_path):
    Gate(tmp_path).send("r1", 1, lambda: [release()])
    line = json.loads((tmp_path / "ledger.jsonl").read_text())
    assert line["entries"][0]["events"] == [{"noise_multiplier": 2.0, "sampling_rate": 1.0, "steps": 1}]
    assert line["entries"][0]["sensitivity"] == 1.0
