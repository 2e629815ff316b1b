"""The way out: in the ledger before it leaves, each release once, nothing past it."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress

import numpy as np
import pytest

from fedstyle_secure.errors import BudgetError, PrivacyError, WithdrawnError
from fedstyle_secure.privacy.budget import Budget
from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.privacy.gate import Gate, Release, Sealed, withdraw
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.privacy.mechanisms import GaussianSum

MECHANISM = GaussianSum(1.0, 2.0)
NO_LIMIT = Budget(math.inf, 1e-5, "artwork")


def gate_of(home, run="run", budget=NO_LIMIT):
    return Gate(home, run, budget)


def release(kind="card", value=1.0):
    return Release(kind, {"x": np.full(3, value, np.float32)}, MECHANISM)


def spent(home):
    return Ledger(home / "ledger.jsonl").entries


def test_the_same_request_gets_the_same_bytes_and_costs_once(tmp_path):
    first = gate_of(tmp_path).send("r1", 1, lambda: [release(value=0.5)])
    again = gate_of(tmp_path).send("r1", 1, lambda: [release(value=0.7)])
    assert np.array_equal(first.arrays["card"]["x"], again.arrays["card"]["x"])
    assert [entry.artwork_cost for entry in spent(tmp_path)] == [SampledGaussian(2.0)]


def test_another_request_costs_again(tmp_path):
    gate = gate_of(tmp_path)
    gate.send("r1", 1, lambda: [release(), release("update")])
    gate.send("r2", 2, lambda: [release()])
    assert [entry.kind for entry in spent(tmp_path)] == ["card", "update", "card"]


def test_a_round_is_answered_to_one_request_only(tmp_path):
    gate = gate_of(tmp_path)
    gate.send("r1", 1, lambda: [release()])
    with pytest.raises(PrivacyError, match="round 1 was answered before"):
        gate_of(tmp_path).send("other", 1, lambda: [release()])
    assert len(spent(tmp_path)) == 1


def test_a_failure_uses_up_the_round_for_every_other_request(tmp_path):
    def fails():
        raise MemoryError("at this many pictures")

    with pytest.raises(MemoryError):
        gate_of(tmp_path).send("r1", 1, fails)
    with pytest.raises(PrivacyError, match="round 1 was asked for before, by another request"):
        gate_of(tmp_path).send("other", 1, lambda: [release()])
    gate_of(tmp_path).send("r1", 1, lambda: [release()])
    assert [entry.request for entry in spent(tmp_path)] == ["r1"]


def test_no_order_of_requests_draws_more_than_one_release_a_round(tmp_path):
    gate = gate_of(tmp_path)
    for turn in range(6):
        for number in (0, 1):
            with suppress(PrivacyError):
                gate.send(f"r{number}", number, lambda turn=turn: [release(value=float(turn))])
        gate.send("empty", 2, lambda: [])
    assert [entry.round for entry in Ledger(tmp_path / "ledger.jsonl").entries] == [0, 1]
    with pytest.raises(PrivacyError, match="round 0 was answered before and its bytes are gone"):
        gate.send("r0", 0, lambda: [release()])


def test_a_request_is_in_the_ledger_as_a_whole_or_not_at_all(tmp_path):
    gate_of(tmp_path).send("r0", 0, lambda: [release(), release("update")])
    path = tmp_path / "ledger.jsonl"
    whole = path.read_bytes()
    # As a kill leaves it: the length is written after the line.
    (tmp_path / "ledger.head").write_text(json.dumps({"lines": 0, "hash": "0" * 64}))
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert Ledger(path).entries == ()
        assert path.read_bytes() == whole[:cut], "reading must not repair"
    gate_of(tmp_path).send("r0", 0, lambda: [release(), release("update")])
    assert [e.kind for e in Ledger(path).entries] == ["card", "update"]


def test_a_write_that_fails_leaves_the_ledger_as_it_was(tmp_path, monkeypatch):
    gate = gate_of(tmp_path)
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
    from fedstyle_secure.privacy.budget import Budget
    from fedstyle_secure.privacy.gate import Gate, Release
    from fedstyle_secure.privacy.mechanisms import GaussianSum

    home, name = Path(sys.argv[1]), sys.argv[2]
    made = 0
    for number in range(40):
        def make():
            return [Release("card", {"x": np.ones(3, np.float32)}, GaussianSum(1.0, 2.0))]
        try:
            Gate(home, "run", Budget(float("inf"), 1e-5, "artwork")).send(name, number, make)
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
    gate_of(tmp_path).send("r1", 1, lambda: [release()])
    (path,) = (tmp_path / "outbox" / "run").iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(PrivacyError, match="does not match"):
        gate_of(tmp_path).send("r1", 1, lambda: [release()])


def test_what_is_not_finite_never_leaves_and_never_costs(tmp_path):
    with pytest.raises(PrivacyError, match="'x' holds NaN"):
        gate_of(tmp_path).send("r1", 1, lambda: [release(value=np.nan)])
    assert spent(tmp_path) == ()


def test_nothing_else_can_seal():
    with pytest.raises(PrivacyError, match="only a Gate"):
        Sealed(object(), {})


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np
    from fedstyle_secure.privacy.budget import Budget
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
    gate = Gate(home, "run", Budget(float("inf"), 1e-5, "artwork"))
    gate.send("r1", 1, lambda: [Release("card", {"x": np.ones(3, np.float32)}, GaussianSum(1.0, 2.0))])
"""


@pytest.mark.parametrize(("moment", "count"), [("before", 0), ("after", 1)])
def test_killed_around_the_write_nothing_spent_is_forgotten(tmp_path, moment, count):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), moment], check=False, env=os.environ
    )
    assert done.returncode == -signal.SIGKILL
    assert len(spent(tmp_path)) == count
    sent = gate_of(tmp_path).send("r1", 1, lambda: [release(value=5.0)])
    assert len(spent(tmp_path)) == 1
    assert sent.arrays["card"]["x"][0] == (1.0 if count else 5.0)


def test_another_run_answers_its_own_rounds_and_the_ledger_goes_on(tmp_path):
    first = gate_of(tmp_path, "one").send("r0", 0, lambda: [release(value=1.0)])
    second = gate_of(tmp_path, "two").send("r0", 0, lambda: [release(value=2.0)])
    assert [(e.run, e.round) for e in spent(tmp_path)] == [("one", 0), ("two", 0)]
    # Each run's last release can still be sent again, and costs nothing more.
    assert np.array_equal(
        gate_of(tmp_path, "one").send("r0", 0, list).arrays["card"]["x"], first.arrays["card"]["x"]
    )
    assert np.array_equal(
        gate_of(tmp_path, "two").send("r0", 0, list).arrays["card"]["x"], second.arrays["card"]["x"]
    )
    assert len(spent(tmp_path)) == 2


def test_last_releases_of_long_past_runs_are_forgotten(tmp_path):
    for i in range(7):
        gate_of(tmp_path, f"run-{i}").send("r0", 0, lambda: [release()])
    assert sorted(p.name for p in (tmp_path / "outbox").iterdir()) == [f"run-{i}" for i in range(3, 7)]
    with pytest.raises(PrivacyError, match="its bytes are gone"):
        gate_of(tmp_path, "run-0").send("r0", 0, lambda: [release()])


def test_integers_stay_integers(tmp_path):
    large = np.array([2**53 + 1, -(2**40)], np.int64)
    sent = gate_of(tmp_path).send("r0", 0, lambda: [Release("sum", {"sum": large}, MECHANISM)])
    again = gate_of(tmp_path).send("r0", 0, list)
    for got in (sent, again):
        assert got.arrays["sum"]["sum"].dtype == np.int64
        assert got.arrays["sum"]["sum"].tolist() == large.tolist()


def test_a_release_beyond_the_budget_is_declined_and_costs_nothing(tmp_path):
    # Two releases at noise multiplier 2 cost 3.1, three 3.9.
    budget = Budget(3.5, 1e-5, "artwork")
    for number in (0, 1):
        gate_of(tmp_path, budget=budget).send(f"r{number}", number, lambda: [release()])
    with pytest.raises(BudgetError, match=r"round 2: .* epsilon 3.5 .* per artwork"):
        gate_of(tmp_path, budget=budget).send("r2", 2, lambda: [release()])
    with pytest.raises(BudgetError):
        gate_of(tmp_path, "another run", budget).send("r0", 0, lambda: [release()])
    assert len(spent(tmp_path)) == 2
    # What was released before may be sent again.
    gate_of(tmp_path, budget=budget).send("r1", 1, list)


def test_what_has_no_guarantee_for_the_unit_is_beyond_every_budget(tmp_path):
    with pytest.raises(BudgetError, match="per artist"):
        gate_of(tmp_path, budget=Budget(1e6, 1e-5, "artist")).send("r0", 0, lambda: [release()])


def test_after_a_withdrawal_nothing_leaves_through_any_gate(tmp_path):
    gate_of(tmp_path).send("r0", 0, lambda: [release()])
    withdraw(tmp_path)
    for run, number in (("run", 0), ("run", 1), ("another", 0)):
        with pytest.raises(WithdrawnError, match="withdrew at 20"):
            gate_of(tmp_path, run).send(f"r{number}", number, lambda: [release()])
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert len(ledger.entries) == 1
    withdraw(tmp_path)
    assert Ledger(tmp_path / "ledger.jsonl").withdrawal == ledger.withdrawal


def test_the_ledger_says_what_each_release_cost(tmp_path):
    gate_of(tmp_path).send("r1", 1, lambda: [release()])
    (entry,) = json.loads((tmp_path / "ledger.jsonl").read_text())["entries"]
    assert entry["mechanism"] == "GaussianSum"
    assert entry["parameters"] == {"clip_norm": 1.0, "noise_multiplier": 2.0, "shared": None}
    assert entry["artwork_cost"] == {
        "type": "SampledGaussian",
        "noise_multiplier": 2.0,
        "sampling_rate": 1.0,
        "steps": 1,
    }
    assert entry["artist_cost"] is None
    assert entry["sensitivity"] == 1.0
