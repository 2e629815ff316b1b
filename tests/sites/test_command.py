"""`fedstyle policy check`: what would be declined, line by line, before a run."""

import json
import sys

import pytest

from fedstyle_secure import cli
from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.privacy.ledger import Entry, Ledger
from fedstyle_secure.sites.policy import Policy, template

USUAL = ("privacy.noise_multiplier=7",)


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs `fedstyle policy check` on a run's settings and a policy: exit code, what was printed."""
    config, policy = tmp_path / "run.toml", tmp_path / "policy.toml"

    def run(settings=(), changes=None, *options):
        config.write_text("[gallery]\nartists = 16\n")
        policy.write_text(template(changes))
        policy.chmod(0o600)
        chosen = [word for one in (*USUAL, *settings) for word in ("-s", one)]
        monkeypatch.setattr(
            sys,
            "argv",
            ["fedstyle", "policy", "check", str(config), "--policy", str(policy), *chosen, *options],
        )
        code = 0
        try:
            cli.main()
        except SystemExit as error:
            code = error.code or 0
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err

    return run


def test_a_run_that_the_policy_takes_ends_with_0(command):
    code, lines, _ = command()
    assert (code, lines) == (
        0,
        ["tightened: privacy.max_epsilon_lifetime", "Nothing of this run would be declined."],
    )


def test_each_thing_that_would_be_declined_has_a_line(command):
    code, lines, err = command(
        ["privacy.dp=off", "audit.canaries=3", "run.rounds=90"], {"card.publish": False}
    )
    assert code == 9
    assert [line.split(": ")[:2] for line in lines] == [
        ["declined", "privacy.dp"],
        ["declined", "privacy.max_rounds"],
        ["declined", "record.canaries"],
        ["tightened", "card.publish"],
    ]
    assert "would decline this run, for 3 reasons" in err


def test_artists_of_the_run_are_counted_or_named(command):
    assert command((), None, "--artists", "3")[0] == 0
    code, lines, _ = command((), {"sum.min_cohort": 5}, "--artists", "3")
    assert code == 9
    assert lines[0].startswith("declined: sum.min_cohort: a sum may have 3 artists")


def test_what_was_released_before_counts_where_the_ledger_is_named(command, tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    cost = SampledGaussian(0.4)
    ledger.append([Entry("old", "r", 0, "card", "now", "GaussianSum", {}, 1.0, cost, None, "0" * 64)])
    code, lines, _ = command((), None, "--ledger", str(ledger.path))
    assert code == 9
    assert lines[0].startswith("declined: privacy.max_epsilon_lifetime: with what was released before")
    assert command((), {"privacy.max_epsilon_lifetime": 99}, "--ledger", str(ledger.path))[0] == 0


def test_for_machines_it_is_json(command):
    code, lines, _ = command(["privacy.dp=off"], None, "--json")
    told = json.loads("\n".join(lines))
    assert code == 9
    assert [one["key"] for one in told["declined"]] == ["privacy.dp"]
    assert told["policy"] == Policy().digest()


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("[privacy]\nrounds = 5", 2, "unknown setting 'privacy.rounds'; did you mean 'privacy.max_rounds'?"),
        ("[privacy]\nmax_delta = 1", 2, "privacy.max_delta = 1 is not allowed"),
    ],
)
def test_a_policy_that_is_wrong_is_said_and_no_run_is_checked(
    command, tmp_path, monkeypatch, text, code, said
):
    def wrong(changes):
        return text

    monkeypatch.setattr(sys.modules[__name__], "template", wrong)
    found, lines, err = command()
    assert (found, lines) == (code, [])
    assert said in err


def test_the_template_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fedstyle", "policy", "template"])
    with pytest.raises(SystemExit) as error:
        cli.main()
    assert error.value.code == 0
    assert capsys.readouterr().out == template()
