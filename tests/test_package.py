"""The package's door: functions that mirror the commands, found by completion, whatever came before."""

import subprocess
import sys
from pathlib import Path

import pytest

import fedstyle_secure

REPO = Path(__file__).parents[1]
COMMANDS = [
    "train",
    "audit",
    "report",
    "check",
    "sweep",
    "search",
    "ledger",
    "verify",
    "withdraw",
    "rehearse",
    "track",
]


def test_every_command_is_a_function_that_completion_shows():
    assert set(COMMANDS) <= set(dir(fedstyle_secure))
    assert set(COMMANDS) <= set(fedstyle_secure.__all__)
    assert all(callable(getattr(fedstyle_secure, name)) for name in COMMANDS)
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        fedstyle_secure.tarin  # noqa: B018


@pytest.mark.long
@pytest.mark.parametrize(
    "before", ["", "import fedstyle_secure.report.formats, fedstyle_secure.sweep.runner; "]
)
def test_a_package_of_a_commands_name_answers_calls_whatever_came_first(before):
    said = (
        f"{before}import fedstyle_secure as f\n"
        "from fedstyle_secure.errors import RunError\n"
        "for call in (f.report, f.audit, f.verify, f.ledger):\n"
        "    try: call('no such run')\n"
        "    except RunError: pass\n"
        "    else: raise SystemExit('no error')\n"
        "from fedstyle_secure.report.formats import report\n"
        "import fedstyle_secure.audit.findings as findings; assert findings.Finding\n"
    )
    subprocess.run([sys.executable, "-c", said], cwd=REPO, check=True)


def test_the_door_opens_nothing_heavy():
    said = (
        "import sys, fedstyle_secure; dir(fedstyle_secure); assert not {'torch', 'flwr'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", said], cwd=REPO, check=True)
