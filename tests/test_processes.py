"""Processes that end what they started, and leave nothing behind in those that call them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading

import pytest

from fedstyle_secure import cli
from fedstyle_secure.processes import exit_on_sigterm


def test_the_command_line_leaves_its_caller_as_it_was(monkeypatch, capsys):
    """A SIGTERM to a program that had called `main` became SystemExit in whatever ran next."""
    monkeypatch.setattr(sys, "argv", ["fedstyle", "--version"])
    logger = logging.getLogger("fedstyle_secure")
    before = (signal.getsignal(signal.SIGTERM), list(logger.handlers), logger.level, logger.propagate)
    with pytest.raises(SystemExit):
        cli.main()
    assert (signal.getsignal(signal.SIGTERM), list(logger.handlers), logger.level, logger.propagate) == before


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL, lambda *_: None])
def test_inside_sigterm_ends_with_143_and_afterwards_the_old_handler_is_back(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(SystemExit) as ended, exit_on_sigterm():
            os.kill(os.getpid(), signal.SIGTERM)
        assert ended.value.code == 143
        assert signal.getsignal(signal.SIGTERM) == handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_nothing_is_installed():
    seen = []

    def work():
        with exit_on_sigterm():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "koi8-r", "utf-8"])
def test_what_a_terminal_cannot_show_is_written_out(encoding):
    """`cp1252` ended in a UnicodeEncodeError."""
    code = (
        "import sys; from fedstyle_secure import cli, terminal; from fedstyle_secure.errors import RunError\n"
        "def app():\n"
        "    terminal.say('Łódź Ødegård'); terminal.table('T', ('artist',), [('Łódź Ødegård',)])\n"
        "    raise RunError('Łódź')\n"
        "cli.app = app; cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding}
    )
    assert done.returncode == 4
    name = "Łódź Ødegård".encode(encoding, errors="backslashreplace")
    assert done.stdout.count(name) == 2
    assert done.stderr.strip() == b"fedstyle: " + "Łódź".encode(encoding, errors="backslashreplace")
