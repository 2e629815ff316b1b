"""Cells in processes of their own: what went wrong with one is in its folder, in one line."""

from attacks.pool import Done
from fedstyle_secure.sweep import workers
from fedstyle_secure.sweep.work import ERROR


def test_what_a_cell_failed_of_or_was_killed_by_is_written_down(tmp_path, monkeypatch):
    homes = [tmp_path / name for name in ("wrong", "killed", "told", "well")]
    work = [(str(home), {"run.system": "none such"}, "") for home in homes]
    homes[3].mkdir()
    (homes[3] / ERROR).write_text("of the last try")
    asked = []

    def in_processes(run, arguments, tasks, processes, *, begin, anew):
        asked.append((processes, begin, anew))
        for task in tasks:
            given = arguments(task)
            if task == 0:
                run(*given)
            if task == 2:
                (homes[2] / ERROR).write_text("its own words")
            yield Done(task, None, "by SIGKILL" if task in (1, 2) else "")

    monkeypatch.setattr(workers, "in_processes", in_processes)
    assert list(workers.run_cells(work, 2)) == [0, 1, 2, 3]
    assert asked == [(2, workers.one_thread_for_good, True)]
    assert "run.system" in (homes[0] / ERROR).read_text()
    assert (homes[1] / ERROR).read_text() == "its process was ended by SIGKILL, perhaps for want of memory"
    assert (homes[2] / ERROR).read_text() == "its own words"
    assert not (homes[3] / ERROR).exists()
