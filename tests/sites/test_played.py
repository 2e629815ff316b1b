"""Runs that the platform's own process plays: what its command is told, and who ends what."""

import logging
import socket
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from fedstyle_secure import errors
from fedstyle_secure.config import Config
from fedstyle_secure.errors import FederationError, RunError
from fedstyle_secure.sites import hosted, played
from fedstyle_secure.sites.homes import enrol, init_artist, init_opener, init_platform

LONGEST_S = 60


@pytest.fixture
def home(tmp_path):
    # A socket's path has a hundred bytes at most, and a test's folder may be near that.
    with tempfile.TemporaryDirectory(prefix="f") as short:
        yield init_platform(Path(short) / "home", "localhost", 8443, tmp_path / "public")


@pytest.fixture
def stop():
    return threading.Event()


@pytest.fixture
def served(home, stop):
    with played.serving(home, stop):
        yield home


@pytest.fixture
def plays(monkeypatch):
    """Sets what is played in place of a run."""
    return lambda play: monkeypatch.setattr(hosted, "run_over_sites", play)


def followed(home, *, out="run", config=None, on_round=None, stop=None):
    return played.follow(
        home, config or Config(), home.path / "runs" / out, on_round or (lambda line, rounds: None),
        wait=2.5, stop=stop or threading.Event(),
    )  # fmt: skip


def in_a_thread(work):
    """Runs it aside; what it returned or raised comes with `join`."""
    found = []

    def caught():
        try:
            found.append(work())
        except errors.FedStyleError as error:
            found.append(error)

    thread = threading.Thread(target=caught, daemon=True)
    thread.start()

    def join():
        thread.join(LONGEST_S)
        return found[0]

    return join


def until_told(home, config, out, on_round, *, wait, stop):
    """A run that goes on until it is told to stop."""
    on_round({"round": 0}, 2)
    assert stop.wait(LONGEST_S)
    raise FederationError("told to stop")


def test_a_run_is_played_with_its_settings_and_its_rounds_are_told_in_order(served, plays, monkeypatch):
    monkeypatch.chdir(served.path)
    asked = Config().override(["run.rounds=7", "privacy.target_epsilon=3.25", "run.studios=here"])
    seen, told = [], []

    def play(home, config, out, on_round, *, wait, stop):
        seen.append((home.path, config.digest(), config.run.studios, out, wait, stop.is_set()))
        for i in range(3):
            on_round({"round": i, "loss": float("nan") if i else 0.1}, 7)

    plays(play)
    assert followed(served, config=asked, on_round=lambda line, rounds: told.append((line, rounds)))
    here = str(served.path / "here")
    assert seen == [(served.path, asked.digest(), here, served.path / "runs" / "run", 2.5, False)]
    assert [(line["round"], rounds) for line, rounds in told] == [(0, 7), (1, 7), (2, 7)]
    assert told[0][0]["loss"] == 0.1


@pytest.mark.parametrize("kind", errors.FedStyleError.__subclasses__())
def test_what_a_run_failed_of_comes_as_it_was_said(served, plays, kind):
    def play(*given, **more):
        raise kind("a line\nand 'another'")

    plays(play)
    with pytest.raises(errors.FedStyleError, match="a line\nand 'another'") as raised:
        followed(served)
    assert raised.value.exit_code == kind.exit_code


def test_a_fault_of_the_program_ends_the_run_and_not_who_serves(served, plays, caplog):
    def play(*given, **more):
        raise ZeroDivisionError("in a run")

    plays(play)
    with pytest.raises(errors.FedStyleError, match="ZeroDivisionError"):
        followed(served)
    assert "in a run" in caplog.text
    plays(lambda *given, **more: None)
    assert followed(served)


def test_where_nobody_serves_the_command_plays_it_itself(home, plays):
    plays(lambda *given, **more: pytest.fail("nobody was asked"))
    assert not followed(home)
    # A process that was killed leaves its socket behind.
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(home.path / played.SOCKET))
    assert not followed(home)


def test_what_lies_outside_the_home_is_not_asked_for(served, plays, tmp_path):
    """Who serves may be kept from writing there, or have another /tmp."""
    plays(lambda *given, **more: pytest.fail("asked for"))
    assert not followed(served, out=tmp_path / "elsewhere")
    assert not followed(served, out="../../elsewhere")
    weights = Config().override([f"style.weights={tmp_path / 'weights.safetensors'}"])
    assert not followed(served, config=weights)


def test_a_socket_that_was_left_behind_is_replaced_and_taken_away(home, stop, plays):
    (home.path / played.SOCKET).touch()
    plays(lambda *given, **more: None)
    with played.serving(home, stop):
        mode = (home.path / played.SOCKET).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert (stat.S_IMODE(mode), stat.S_IMODE(home.path.stat().st_mode)) == (0o600, 0o700)
        assert followed(home)
    assert not (home.path / played.SOCKET).exists()
    assert not followed(home)


def test_a_home_too_deep_for_a_socket_is_said(tmp_path, stop, caplog):
    """In the words that a federation on one machine awaits: it had ended after two minutes."""
    home = init_platform(tmp_path / ("d" * 120), "localhost", 8443, tmp_path / "public")
    with played.serving(home, stop):
        assert not followed(home)
    assert "ready for runs that `fedstyle platform run` plays itself" in caplog.text


def test_a_home_is_served_once(served, stop, plays):
    """A second one had taken the first one's socket, and left none at its end."""
    plays(lambda *given, **more: None)
    with pytest.raises(RunError, match="another process serves this home"), played.serving(served, stop):
        pytest.fail("served twice")
    assert followed(served)


def test_a_command_that_is_told_to_stop_stops_the_run(served, plays):
    plays(until_told)
    mine = threading.Event()
    with pytest.raises(FederationError, match="told to stop"):
        followed(served, stop=mine, on_round=lambda line, rounds: mine.set())


def test_a_platform_that_is_told_to_stop_stops_the_run(served, stop, plays):
    plays(until_told)
    with pytest.raises(FederationError, match="told to stop"):
        followed(served, on_round=lambda line, rounds: stop.set())


@pytest.fixture
def line(served):
    """A command's line that nobody reads."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(served.path / played.SOCKET))
        yield line


def asked_for(home, out):
    asked = {"version": played.__version__, "config": Config().to_flat(), "wait": 0.0}
    return played._packed(asked | {"out": str(home.path / "runs" / out)})


def test_a_command_that_is_killed_before_it_read_everything_ends_its_run(served, plays, line):
    """Its line is reset, and not only ended: the run had gone on, and kept every other one out."""
    said, told = threading.Event(), threading.Event()

    def play(home, config, out, on_round, *, wait, stop):
        on_round({"round": 0}, 2)
        said.set()
        if stop.wait(LONGEST_S):
            told.set()

    plays(play)
    line.sendall(asked_for(served, "run"))
    assert said.wait(LONGEST_S)
    line.close()
    assert told.wait(LONGEST_S)


def test_a_command_that_is_stopped_does_not_hold_its_run(served, plays, line, monkeypatch):
    """It had waited, and every other run with it, until the command went on; what it reads then is whole."""
    monkeypatch.setattr(played, "_LONGEST_SAY_S", 0.05)
    ended = threading.Event()

    def play(home, config, out, on_round, *, wait, stop):
        while not stop.is_set():
            on_round({"round": 0, "loss": "0" * 10_000}, 2)
        ended.set()
        raise FederationError("told to stop")

    plays(play)
    line.sendall(asked_for(served, "run"))
    assert ended.wait(LONGEST_S)
    plays(lambda *given, **more: None)
    assert followed(served, out="next")
    assert {told["round"]["round"] for told in played._lines(line, threading.Event())} == {0}


def test_how_a_run_ended_is_said_before_it_counts_as_ended(served, stop, plays, monkeypatch):
    """Who serves may end then; its command had gone on by itself, with a platform that was told to stop."""
    plays(until_told)
    say, under_way = played._Line._say, []

    def seen(line, said):
        under_way.append((*said, bool(line.server._under_way)))
        say(line, said)

    monkeypatch.setattr(played._Line, "_say", seen)
    with pytest.raises(FederationError, match="told to stop"):
        followed(served, on_round=lambda line, rounds: stop.set())
    assert under_way == [("round", "rounds", True), ("error", "code", True)]


@pytest.mark.parametrize("junk", [b"no run\n", b"\xff\n", b"5\n", b"[" * 10**5 + b"\n", b"half a line", b""])
def test_what_is_no_run_is_let_go(served, plays, line, junk, capfd):
    plays(lambda *given, **more: None)
    line.sendall(junk)
    line.shutdown(socket.SHUT_WR)
    assert not line.recv(1)
    assert followed(served)
    assert not capfd.readouterr().err


def test_a_run_that_asks_nobody_whether_to_stop_ends_with_who_serves(home, plays, monkeypatch):
    """Learning had gone on until the process aborted, and the command had gone on by itself then."""
    monkeypatch.setattr(played, "_LONGEST_END_S", 0.01)
    begun, over = threading.Event(), threading.Event()

    def play(home, config, out, on_round, *, wait, stop):
        begun.set()
        while not over.is_set():
            pass

    plays(play)
    with played.serving(home, threading.Event()):
        told = in_a_thread(lambda: followed(home))
        assert begun.wait(LONGEST_S)
    assert "told to stop; the same command goes on" in str(told())
    over.set()


def test_a_run_that_asks_nobody_whether_to_stop_ends_for_the_next(served, plays, line, monkeypatch):
    """Learning that nobody follows any more had kept the next run waiting until it was over."""
    monkeypatch.setattr(played, "_LONGEST_END_S", 0.01)
    told, over = threading.Event(), threading.Event()

    def play(home, config, out, on_round, *, wait, stop):
        if out.name == "first":
            assert stop.wait(LONGEST_S)
            told.set()
            while not over.is_set():
                pass

    plays(play)
    line.sendall(asked_for(served, "first"))
    line.shutdown(socket.SHUT_WR)
    assert told.wait(LONGEST_S)
    second = in_a_thread(lambda: followed(served, out="second"))
    assert second() is True
    over.set()
    (ended,) = played._lines(line, threading.Event())
    assert "first: told to stop; the same command goes on" in ended["error"]


def test_a_run_is_interrupted_once(served, plays, line, monkeypatch):
    """A second interrupt would meet what the run does to end, and leave its place taken."""
    monkeypatch.setattr(played, "_LONGEST_END_S", 0.01)
    told, interrupted, late, order = threading.Event(), threading.Semaphore(0), threading.Event(), []
    real = played._await_end

    def counted(*given):
        real(*given)
        order.append("interrupt")
        interrupted.release()

    def play(home, config, out, on_round, *, wait, stop):
        if out.name == "first":
            assert stop.wait(LONGEST_S)
            told.set()
            try:
                while True:
                    pass
            finally:
                late.wait(LONGEST_S)
        order.append(out.name)

    monkeypatch.setattr(played, "_await_end", counted)
    plays(play)
    line.sendall(asked_for(served, "first"))
    line.shutdown(socket.SHUT_WR)
    assert told.wait(LONGEST_S)
    second = in_a_thread(lambda: followed(served, out="second"))
    assert interrupted.acquire(timeout=LONGEST_S)
    late.set()
    assert second() is True
    assert order == ["interrupt", "second"]


def test_a_run_whose_command_is_gone_ends_before_the_next_begins(served, plays, monkeypatch):
    """A run that nobody follows any more would keep the next one out: one at a time. Who waits is told so."""
    monkeypatch.setattr(played, "_LONGEST_END_S", LONGEST_S)
    begun, told, late, order = threading.Event(), threading.Event(), threading.Event(), []

    def play(home, config, out, on_round, *, wait, stop):
        if out.name == "first":
            begun.set()
            assert stop.wait(LONGEST_S)
            told.set()
            assert late.wait(LONGEST_S)
        order.append(out.name)

    plays(play)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(served.path / played.SOCKET))
        line.sendall(asked_for(served, "first"))
        assert begun.wait(LONGEST_S)
    assert told.wait(LONGEST_S)
    heard = threading.Semaphore(0)
    handler = logging.Handler()
    handler.emit = lambda record: heard.release()
    played.log.addHandler(handler)
    second = in_a_thread(lambda: followed(served, out="second"))
    # Of who serves, and of the command.
    assert heard.acquire(timeout=LONGEST_S)
    assert heard.acquire(timeout=LONGEST_S)
    played.log.removeHandler(handler)
    late.set()
    assert second() is True
    assert order == ["first", "second"]


def test_who_serves_and_ends_leaves_the_run_to_its_command(home, caplog):
    """As where it is killed: the line ends without a word."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(home.path / played.SOCKET))
        server.listen()

        def gone():
            line, _ = server.accept()
            with line:
                line.recv(1 << 20)

        in_a_thread(gone)
        assert not followed(home)
    assert "going on in this process" in caplog.text


def test_another_version_is_not_played(served, plays, monkeypatch):
    plays(lambda *given, **more: pytest.fail("played"))
    packed = played._packed
    older = {"version": "0.0.1"}
    monkeypatch.setattr(
        played, "_packed", lambda said: packed({**said, **(older if "version" in said else {})})
    )
    with pytest.raises(RunError, match=r"and this is 0\.0\.1; start `fedstyle platform serve` again"):
        followed(served)


def test_flower_logs_nothing_of_a_run_among_json_lines(home, stop, tmp_path, monkeypatch):
    """Of each run it had said in the log of who serves that it is disconnected."""
    for other in (init_opener(tmp_path / "opener"), init_artist(tmp_path / "artist", "ada", tmp_path)):
        enrol(home, other.card)
    heard = []

    def once(*given):
        heard.append(logging.getLogger("flwr").isEnabledFor(logging.INFO))
        stop.set()

    monkeypatch.setattr(hosted, "_once", once)
    config = Config().override(["gallery.source=folder"])
    with pytest.raises(FederationError, match="told to stop"):
        hosted.run_over_sites(home, config, home.path / "runs" / "run", stop=stop)
    assert heard == [False]


def test_a_runs_own_warnings_are_told_to_its_command(served, plays, caplog):
    log = logging.getLogger("fedstyle_secure")

    def play(*given, **more):
        other = threading.Thread(target=log.warning, args=("of another",))
        other.start()
        other.join(LONGEST_S)
        log.info("of no weight")
        log.warning("the SuperLink is gone")

    plays(play)
    assert followed(served)
    said = [record.getMessage() for record in caplog.records if record.threadName == "MainThread"]
    assert said == ["the SuperLink is gone"]
