"""`fedstyle view` as a process: a line to open, a clean end, errors in a line, nothing heavy at its start."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from typer.testing import CliRunner

from fedstyle_secure.cli import app
from fedstyle_secure.errors import ConfigError, RunError

COMMAND = [sys.executable, "-m", "fedstyle_secure", "view"]


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_the_page_opens_at_the_printed_address_and_ends_when_asked(home, ended_by):
    with subprocess.Popen(
        [*COMMAND, str(home), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)
        assert address, line
        with httpx.Client(follow_redirects=True, trust_env=False, timeout=None) as client:
            assert client.get(address[0].split("/?")[0]).status_code == 403
            opened = client.get(address[0])
            assert (opened.status_code, opened.url.path, opened.url.query) == (200, "/", b"")
            process.send_signal(ended_by)
        out, err = process.communicate(timeout=120)
    assert process.returncode == (0 if ended_by is signal.SIGINT else 143), err
    assert "Traceback" not in err
    assert err.strip() == ("fedstyle: the page has ended" if ended_by is signal.SIGINT else "")
    assert address[0] not in out + err


def test_nothing_heavy_is_loaded_before_it_is_asked_for():
    code = (
        "import sys, fedstyle_secure.cli, fedstyle_secure.view.serve\n"
        "print([m for m in ('torch', 'matplotlib', 'scipy', 'flwr', 'opacus') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def failed(*given) -> Exception:
    found = CliRunner().invoke(app, ["view", *map(str, given)])
    assert isinstance(found.exception, Exception)
    return found.exception


def test_a_folder_that_is_not_there_is_named(tmp_path, home):
    for folder in (tmp_path / "none", home / "run"):
        error = failed(folder)
        assert isinstance(error, RunError)
        assert error.exit_code == 4
        assert str(error).startswith(f"{folder}: ")
        assert "\n" not in str(error)


def test_a_port_in_use_is_named(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = failed(home, "--port", port)
    assert isinstance(error, ConfigError)
    assert (error.exit_code, str(error)) == (
        2,
        f"--port {port} is in use; valid: another one, or 0 for any that is free",
    )


def test_a_policy_that_is_not_there_is_named(home, tmp_path):
    assert "no policy is here" in str(failed(home, "--policy", tmp_path / "none.toml"))


def test_it_listens_on_this_machine_alone():
    from fedstyle_secure.view.serve import HOST

    assert HOST == "127.0.0.1"
    assert "--host" not in CliRunner().invoke(app, ["view", "--help"]).output
