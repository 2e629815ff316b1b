"""Every code block of the pages runs, in a small world, or is held against the program that it names.

A block is run, unless the line before it says otherwise: `<!-- parsed: WHY -->` for commands that are only
held against the program that they name. A fence without a language is output, or a picture of folders.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import typer
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import fedstyle_secure
from fedstyle_secure import cli, training
from fedstyle_secure.config import Config
from fedstyle_secure.galleries.opening import open_gallery

REPO = Path(__file__).parents[1]
PAGES = sorted(
    str(path.relative_to(REPO))
    for path in (*REPO.glob("*.md"), *REPO.glob("docs/**/*.md"), *REPO.glob("deploy/*.md"))
)
LANGUAGES = ("sh", "python", "toml")
_FENCE = re.compile(
    r"^(?P<marks>```+)(?P<language>[\w-]*)\n(?P<text>.*?)^(?P=marks)$", re.MULTILINE | re.DOTALL
)
_PARSED = re.compile(r"<!-- parsed: (.+) -->\n\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: Where it stands, and `line`, of its fence.
        language: "" for output, or a picture of folders.
        parsed: Why it is not run, or "".
    """

    page: str
    line: int
    language: str
    text: str
    parsed: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str, text: str | None = None) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = (REPO / page).read_text(encoding="utf-8") if text is None else text
    found = []
    for fence in _FENCE.finditer(text):
        before = text[: fence.start()]
        why = _PARSED.search(before)
        line = before.count("\n") + 1
        found.append(Block(page, line, fence["language"], fence["text"], why[1] if why else ""))
    return found


def every_block() -> list[Block]:
    """Of all pages."""
    return [block for page in PAGES for block in blocks(page)]


def commands(block: Block) -> Iterator[str]:
    """Its lines, continued ones as one, without those that are empty or only a comment."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def words_of(line: str) -> list[str]:
    """A command's words, without its comment."""
    return shlex.split(line, comments=True)


PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ELSEWHERE = {"flwr", "pkill", "export", ".", "cd", "pre-commit", "sha256sum", "docker"}
"""Programs of others that pages name."""


def by_language(language):
    return [block for block in every_block() if block.language == language]


def parse(words):
    """Hold a `fedstyle` command against the program: names, options, values, and settings."""
    command, rest, context = typer.main.get_command(cli.app), words[1:], None
    while getattr(command, "commands", None):
        assert rest, f"{words}: a command is missing"
        assert rest[0] in command.commands, f"{rest[0]}: no such command; {', '.join(command.commands)}"
        command, rest = command.commands[rest[0]], rest[1:]
    context = command.make_context(command.name, list(rest))
    given = context.params
    if given.get("settings"):
        path = REPO / (given.get("config") or "configs/demo.toml")
        (Config.load(path) if path.is_file() else Config()).override(given["settings"])


@pytest.mark.parametrize("block", by_language("sh"), ids=str)
def test_every_command_of_a_page_is_one(block):
    """Also of those that are run below: this takes no time, and names what is wrong."""
    for line in commands(block):
        if re.match(r"[A-Z_]+=", line):
            continue
        words = words_of(line)
        if words[0] == "fedstyle":
            parse(words)
        elif words[0] == "make":
            assert words[1] in re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text("utf-8"), re.MULTILINE)
        elif words[0] in ("python", "python3"):
            assert words[1] in ("-c", "-m") or (REPO / words[1]).is_file(), words
        elif words[0] == "pip":
            for extras in re.findall(r"\[([\w,]+)\]", line):
                assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
        else:
            assert words[0] in ELSEWHERE, f"{block}: {line}"


@pytest.mark.parametrize("block", by_language("python"), ids=str)
def test_python_of_a_page_compiles(block):
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", by_language("toml"), ids=str)
def test_settings_of_a_page_are_settings(block):
    """A run's file is read as one; others name a section that no run has, and are TOML."""
    values = tomllib.loads(block.text)
    if set(values) <= Config().model_dump().keys():
        Config.from_dict(values)


def test_each_block_has_a_language_that_is_tested_or_none():
    known = {*LANGUAGES, "", "mermaid", "yaml"}
    every = every_block()
    assert {block.language for block in every} <= known
    assert len(by_language("sh")) > 10
    assert [str(block) for block in every if block.parsed and block.language != "sh"] == []
    assert all(len(block.parsed) > 5 for block in every if block.parsed)


def test_a_block_says_why_it_is_only_parsed():
    text = "a\n\n<!-- parsed: takes minutes -->\n```sh\nfedstyle demo\n```\n\n```\nout\n```\n"
    first, second = blocks("page", text)
    assert (first.parsed, first.line, first.language) == ("takes minutes", 4, "sh")
    assert (second.parsed, second.language) == ("", "")


def test_a_wrong_command_is_found():
    for line in (
        "fedstyle trian configs/dp.toml",
        "fedstyle train configs/dp.toml --rounds 3",
        "fedstyle train configs/dp.toml -s privacy.epsilon=3",
        "fedstyle train configs/dp.toml -s privacy.target_epsilon=-1",
    ):
        with pytest.raises(Exception, match=r"trian|rounds|epsilon"):
            parse(line.split())


SMALL = (
    "gallery.artists=6", "gallery.public_artists=3", "gallery.pictures=12", "gallery.size=32", "style.dim=16",
    "style.practice_artists=0", "styles.count=3", "run.rounds=1", "training.expected_pictures=9",
)  # fmt: skip
ROOMY = "[epsilon]\nartwork = 100.0\n"
GRID = "[sweep]\nprocesses = 1\naudit = 'none'\n[base]\n{base}\n[grid]\nepsilons = [8]\n"


def small(path):
    """A run's configuration with fewer of everything, for files of the style system."""
    config = Config.load(path)
    painted = config.gallery.source == "atelier"
    numbers = ("gallery.artists", "gallery.pictures", "gallery.public_artists")
    return config.override([one for one in SMALL if painted or one.partition("=")[0] not in numbers])


def fit(data, seed):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(10):
        for x, y in DataLoader(data, 32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    return net


def names_of_a_reader():
    """What a page's Python may take for granted: a net, its records, its training."""
    torch.manual_seed(0)
    members, others = (TensorDataset(torch.randn(60, 16), torch.randint(0, 3, (60,))) for _ in range(2))
    return {"net": fit(members, 0), "members": members, "others": others, "fit": fit}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder like the repository, where everything is small: configs, a demo that ran, own pictures."""
    root = tmp_path_factory.mktemp("world")
    (root / "configs").mkdir()
    base = "\n".join(one.replace("=", " = ") for one in SMALL)
    for path in (REPO / "configs").glob("*.toml"):
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        if path.stem.startswith("audit_"):
            text = "targets = 4\ncandidates = 10\nrounds = 1\nprocesses = 1\nartists = 2\n"
        elif path.stem == "policy":
            text = ROOMY
        elif "grid" in values:
            text = GRID.format(base=base)
        elif values.get("run", {}).get("system", "style") == "style":
            text = small(path).to_toml()
        else:
            text = path.read_text(encoding="utf-8")
        (root / "configs" / path.name).write_text(text)
    settings = Config.load(root / "configs/demo.toml").override(["gallery.pictures=16", "audit.record=all"])
    gallery = open_gallery(settings.gallery)
    fedstyle_secure.train(settings, root / "runs/demo")
    fedstyle_secure.report(root / "runs/demo")
    (root / "runs/demo/test_pictures").mkdir()
    for artist in gallery.artists:
        picture = Image.fromarray(gallery.portfolio(artist).test_pictures[0])
        picture.save(root / f"runs/demo/test_pictures/{artist}.png")
        picture.save(root / "picture.png")
    for name, artist in zip(("ann", "bo", "cy", "dee", "eve", "fay"), gallery.artists, strict=True):
        folder = root / "art" / name
        folder.mkdir(parents=True)
        for number, picture in enumerate(gallery.portfolio(artist).pictures):
            Image.fromarray(picture).save(folder / f"{number}.png")
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/activate").write_text("")
    return root


@pytest.fixture
def world(made, tmp_path, monkeypatch):
    """A copy for a page, to work in: what one page runs is not there for another."""
    shutil.copytree(made, tmp_path / "world")
    monkeypatch.chdir(tmp_path / "world")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    return tmp_path / "world"


def call(words, monkeypatch):
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code, f"{words} ended with {ended.value.code}"


def expand(line, folder):
    """Words of a `fedstyle` command as a shell makes them."""
    script = f'fedstyle() {{ printf "%s\\0" "$@"; }}\n{line}'
    done = subprocess.run(["bash", "-ec", script], cwd=folder, capture_output=True, text=True, check=True)
    return ["fedstyle", *done.stdout.split("\0")[:-1]]


def of_a_page(language):
    pages = {block.page for block in by_language(language) if not block.parsed}
    return sorted(pages)


@pytest.mark.slow
@pytest.mark.parametrize("page", of_a_page("sh"))
def test_commands_of_a_page_run_in_order(page, world, monkeypatch):
    ran = 0
    for block in blocks(page):
        if block.language != "sh" or block.parsed:
            continue
        for line in commands(block):
            ran += 1
            if line.startswith("fedstyle "):
                call(expand(line, world), monkeypatch)
            else:
                subprocess.run(["bash", "-ec", line], cwd=world, check=True)
    assert ran


@pytest.mark.slow
@pytest.mark.parametrize("page", of_a_page("python"))
def test_python_of_a_page_runs_in_order(page, world, monkeypatch):
    """A training in it is of fewer pictures than it would be."""
    train = training.train
    monkeypatch.setattr(training, "train", lambda config, out: train(config.override(SMALL), out))
    known: dict[str, typing.Any] = names_of_a_reader()
    with torch.random.fork_rng():
        for block in blocks(page):
            if block.language == "python":
                exec(compile(block.text, str(block), "exec"), known)
