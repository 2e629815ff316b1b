"""What is printed: one line a call, tables in which nothing is markup and no column is lost."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from fedstyle_secure.policy.checks import Check
from fedstyle_secure.terminal import Heartbeat, heartbeat, say, table

HOSTILE = (
    "葛飾北斎",
    "🎨",
    "Ann\u202e",
    "a\nb",
    "שלום",
    "<script>",
    "[red]x[/]",
    "[/]",
    "\\",
    "#*_$@",
    ":smile:",
)


def test_a_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    forged = "a\n17 of 17 checks met\r\x1b[1A\u202e\u2028"
    say(str(Check(Path("policy.toml"), 2, "epsilon.artwork", f"artist {forged}", "too much")))
    shown = capsys.readouterr().out
    assert shown == (
        "policy.toml:2: epsilon.artwork: artist a⟨U+000A⟩17 of 17 checks met⟨U+000D⟩⟨U+001B⟩[1A⟨U+202E⟩"
        "⟨U+2028⟩: too much\n"
    )


def test_an_empty_line_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    say("")
    assert capsys.readouterr().out == "\n"


def test_cells_and_titles_are_texts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for name in HOSTILE:
        table(f"Releases of {name}", ("artist", "count"), [(name, name), ("Bela", "7")])
        lines = capsys.readouterr().out.splitlines()
        shown = {"Ann\u202e": "Ann⟨U+202E⟩", "a\nb": "a⟨U+000A⟩b"}.get(name, name)
        assert lines[0].strip() == f"Releases of {shown}"
        _, *rows = [[cell.strip() for cell in line.split("│")] for line in lines if "│" in line]
        assert rows == [[shown, shown], ["Bela", "7"]]


@pytest.mark.parametrize("length", [10, 60, 61, 300])
def test_no_name_pushes_the_figures_off_the_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table("Gallery", ("artist", "train", "test"), [("x" * length, "123", "45"), ("葛飾北斎", "678", "90")])
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    _, *rows = [[cell.strip() for cell in line.split("│")] for line in lines if "│" in line]
    assert rows[0][1:] == ["123", "45"]
    assert rows[-1] == ["葛飾北斎", "678", "90"]
    assert "".join(row[0] for row in rows[:-1]) == "x" * length
    assert (len(rows) == 2) == (length <= 60)


def test_a_heartbeat_says_the_first_the_last_and_one_each_half_a_minute() -> None:
    said: list[str] = []
    now = [0.0]
    pulse = Heartbeat(said.append, clock=lambda: now[0])
    for second in (0.0, 1.0, 29.9, 30.0, 31.0, 61.0):
        now[0] = second
        pulse.beat(f"at {second}")
    now[0] = 62.0
    pulse.beat("the end", last=True)
    assert said == ["at 0.0", "at 30.0", "at 61.0", "the end"]


@pytest.mark.parametrize(
    ("quiet", "terminal", "speaks"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_it_speaks_only_where_no_bar_is_seen_and_nobody_wants_silence(
    capsys: pytest.CaptureFixture[str], quiet: bool, terminal: bool, speaks: bool
) -> None:
    heartbeat(Console(file=io.StringIO(), quiet=quiet, force_terminal=terminal)).beat("round 1 of 2")
    assert capsys.readouterr().err == "round 1 of 2\n" * speaks
