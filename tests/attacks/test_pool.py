"""One pool for all that runs in processes: what ends is named, what is killed costs nothing else."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from attacks.errors import AttackError
from attacks.pool import in_processes

HERE = Path(__file__).parent


def work(what, folder):
    """Runs in a process of its own."""
    if what == "raise":
        raise ValueError("this one line")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "exit":
        sys.exit(3)
    if what == "slow":
        (Path(folder) / "begun").touch()
        time.sleep(1 if os.environ.get("SHORT") else 600)
        (Path(folder) / "finished").touch()
    return what, os.getpid(), signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def run(tasks, folder, processes=2, **how):
    return in_processes(work, lambda task: (task, str(folder)), tasks, processes, **how)


@pytest.mark.long
def test_tasks_end_with_what_the_work_gave_in_processes_that_go_on(tmp_path):
    asked = []
    found = list(in_processes(work, lambda t: asked.append(t) or (t, ""), list("abcde"), 2))
    assert asked == list("abcde"), "in order, and each but once"
    assert sorted(done.task for done in found) == sorted(done.value[0] for done in found) == list("abcde")
    pids = {done.value[1] for done in found}
    assert os.getpid() not in pids
    assert len(pids) <= 2
    assert all(done.value[2] for done in found), "an interrupt at the keyboard is the caller's"
    assert list(run([], tmp_path)) == []


@pytest.mark.long
def test_anew_gives_each_task_a_process(tmp_path):
    assert len({done.value[1] for done in run(list("abc"), tmp_path, processes=1, anew=True)}) == 3


@pytest.mark.long
def test_a_killed_process_costs_its_own_task_alone_and_is_named(tmp_path):
    found = {done.task: done for done in run(["a", "kill", "b", "exit", "c"], tmp_path)}
    assert found["kill"].killed == "by SIGKILL"
    assert found["exit"].killed == "with code 3"
    assert [found[task].value[0] for task in "abc"] == ["a", "b", "c"]
    assert not any(found[task].killed for task in "abc")


@pytest.mark.long
def test_what_the_work_raises_comes_with_its_traceback(tmp_path):
    with pytest.raises(ValueError, match=r"^this one line") as raised:
        list(run(["raise", "a"], tmp_path))
    assert "in work" in "".join(raised.value.__notes__)


@pytest.mark.long
@pytest.mark.parametrize("finish", [True, False])
def test_what_runs_when_the_caller_stops_is_finished_where_that_was_asked(finish, tmp_path, monkeypatch):
    if finish:
        monkeypatch.setenv("SHORT", "1")
    with closing(run(["slow", "a", "b", "c"], tmp_path, finish=finish)) as ended:
        next(ended)
        deadline = time.monotonic() + 120
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < deadline
    assert (tmp_path / "finished").exists() is finish


@pytest.mark.long
def test_nothing_outlives_a_caller_that_is_killed(tmp_path):
    """A process ends with the one that started it, and takes along those that it has started itself."""
    script = tmp_path / "nested.py"
    script.write_text(
        "import os, time\n"
        "from attacks.pool import in_processes\n"
        "def sleep(): print(os.getpid(), flush=True); time.sleep(600)\n"
        "def nest(): list(in_processes(sleep, lambda task: (), [0], 1))\n"
        "if __name__ == '__main__':\n"
        "    list(in_processes(nest, lambda task: (), [0], 1))\n"
    )
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *filter(None, sys.path)])
    }
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as caller:
        assert int(caller.stdout.readline()) != caller.pid
        caller.kill()
        # The pipe's end closes when the last process that writes to it has ended.
        assert caller.stdout.read() == ""


def test_no_process_at_all_is_refused():
    with pytest.raises(AttackError, match="processes"):
        list(in_processes(work, lambda task: (task, ""), ["a"], 0))
