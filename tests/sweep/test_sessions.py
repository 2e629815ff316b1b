"""How long a sweep took: all goes together, a killed one up to its last note, those of other code apart."""

import json

import pytest

from fedstyle_secure.errors import AuditError
from fedstyle_secure.sweep import sessions
from fedstyle_secure.sweep.sessions import Sessions


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr(sessions.time, "perf_counter", lambda: now[0])
    return now


def test_goes_add_up_and_a_killed_one_counts_up_to_its_last_cell(tmp_path, clock):
    path = tmp_path / "sessions.json"
    killed = Sessions(path, "code").__enter__()
    clock[0] += 40
    killed.note()
    clock[0] += 1000  # After its last cell it was killed: nobody left it.
    kept = json.loads(path.read_text())
    assert [one["wall_s"] for one in kept] == [40.0]
    kept[0]["began"] = "2026-01-01T00:00:00+00:00"
    path.write_text(json.dumps(kept))
    with Sessions(path, "code") as again:
        clock[0] += 2.5
        again.note()
        assert (again.wall_s, again.number) == (42.5, 2)
        assert again.began == "2026-01-01T00:00:00+00:00"
        clock[0] += 1
    assert [one["wall_s"] for one in json.loads(path.read_text())] == [40.0, 3.5]


def test_goes_of_another_version_are_kept_and_not_counted(tmp_path, clock):
    path = tmp_path / "sessions.json"
    with Sessions(path, "old"):
        clock[0] += 50
    with Sessions(path, "new") as second:
        clock[0] += 7
        second.note()
        assert (second.wall_s, second.number) == (7.0, 1)
    assert [one["code"] for one in json.loads(path.read_text())] == ["old", "new"]
    path.write_text("[{}]")
    with pytest.raises(AuditError, match=r"sessions\.json: cannot be read"):
        Sessions(path, "new")
