"""A new folder to begin in, and the few settings that most people need."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, RunError
from fedstyle_secure.files import write_text
from fedstyle_secure.shipped import file_of, presets

START: Mapping[str, str] = {
    "gallery.path": 'With gallery.source = "folder": one folder in it an artist.',
    "gallery.public": "More of them make a better start; their pictures are used without any protection.",
    "privacy.target_epsilon": "What that costs: `fedstyle sweep tradeoff`.",
    "privacy.unit": '"artist" also hides that somebody took part at all; it takes many artists.',
    "privacy.budget_epsilon": "Once it is spent, nothing of an artist leaves any more, in any run.",
    "cards.consent": "Who has a card can be found in a search; the others still help to train.",
    "audit.record": "Attacks on messages need it.",
    "audit.canaries": "An audit proves a lower bound on epsilon by them.",
}
"""Settings that most people need, each with what it does to a run."""

OFFERED: Mapping[str, str] = {
    "dp_he": "style search on the embedded gallery, with differential privacy and encrypted sums",
    "folder": "style search on a folder of your own pictures, protected by noise and encryption",
    "plain": "style search without any protection, to compare with",
    "text_dp": "text recognition at epsilon 8",
    "art_dp": "private AI art at epsilon 8",
}
"""Presets that a new folder is offered with; every other preset of a run will do."""

_IGNORED = (
    ("what runs write", ("runs/",)),
    ("the artists' own disks: ledgers and keys", ("studios/", "identity.key", "passphrase")),
    ("pictures are nobody's to publish by accident", ("pictures/",)),
)

_README = """# {name}

{what}. In this folder:

    fedstyle gallery show config.toml   # a contact sheet, and counts
    fedstyle train config.toml          # writes runs/config
    fedstyle audit runs/config          # attacks it
    fedstyle check runs/config --policy policy.toml
    fedstyle report runs/config         # one page to read and sign

`config.toml` has the settings, with those that most people change; `fedstyle settings` lists all.
`policy.toml` says what a run must meet: its limits are an example, so make them your own.
{more}"""

_OWN_PICTURES = """
Put pictures into `pictures/`, one folder an artist, and name in `gallery.public` the artists whose pictures
the platform owns: the encoder is learned from theirs before anybody else's is looked at. The name that
stands there, `public`, holds a place only.
"""


def chosen(rows: Sequence[dict[str, Any]], prefix: str) -> list[dict[str, Any]]:
    """Those settings whose name begins with a text, else those that have it in their name or help.

    Args:
        rows: As `Config.describe` gives them.
        prefix: A section, the beginning of a name, or a word.

    Raises:
        ConfigError: None has it; lists the sections.
    """
    begin = [row for row in rows if row["key"].startswith(prefix)]
    found = begin or [row for row in rows if prefix.lower() in f"{row['key']} {row['help']}".lower()]
    if not found:
        sections = dict.fromkeys(row["key"].partition(".")[0] for row in rows)
        raise ConfigError(
            f"{prefix}: no setting has this in its name or help; sections: {', '.join(sections)}"
        )
    return found


def start(folder: Path, preset: str = "dp_he") -> list[Path]:
    """Write config.toml, policy.toml, .gitignore and README.md into a folder.

    Args:
        folder: New or empty.
        preset: Of a run, by name.

    Returns:
        What was written.

    Raises:
        ConfigError: There is no such preset.
        RunError: The folder holds something.
    """
    there = presets("run")
    if preset not in there:
        raise ConfigError(f"--preset {preset}: there is none; presets of a run: {', '.join(there)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: is there already and holds something; name a new or empty folder")
    text = there[preset].read_text(encoding="utf-8")
    config = Config.load(there[preset])
    own = needs_pictures(there[preset])
    what = OFFERED.get(preset, f"The preset {preset}")
    files = {
        "config.toml": with_start(text, config),
        "policy.toml": file_of(Path("policy"), "policy")
        .read_text(encoding="utf-8")
        .replace("configs/policy.toml", "policy.toml"),
        ".gitignore": "".join(
            f"# {why}\n" + "".join(f"{line}\n" for line in lines) for why, lines in _IGNORED
        ),
        "README.md": _README.format(
            name=folder.resolve().name,
            what=what[0].upper() + what[1:],
            more=_OWN_PICTURES if own else "",
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_text(folder / name, content)
    return [folder / name for name in files]


def needs_pictures(config: Path) -> bool:
    """Whether a configuration is of pictures that its owner has yet to bring."""
    return Config.load(config).gallery.source == "folder"


def with_start(text: str, config: Config) -> str:
    """A configuration's text with the settings of `START` that it leaves out, as comments in their sections.

    Args:
        text: TOML, sections with keys of their own each.
        config: What it says.
    """
    flat, written = config.to_flat(), _written(text)
    told = {row["key"]: row["help"] for row in type(config).describe()}
    missing: dict[str, list[str]] = {}
    for key, effect in START.items():
        section, _, name = key.partition(".")
        if key in flat and key not in written:
            value = json.dumps(flat[key], ensure_ascii=False)
            missing.setdefault(section, []).append(f"# {told[key]}\n# {effect}\n# {name} = {value}\n")
    blocks = re.split(r"(?m)^(?=\[)", text)
    for number, block in enumerate(blocks):
        header = re.match(r"\[([\w.]+)\]", block)
        if header and header[1] in missing:
            blocks[number] = block.rstrip("\n") + "\n" + "".join(missing.pop(header[1])) + "\n"
    added = [f"[{section}]\n{''.join(lines)}\n" for section, lines in missing.items()]
    return "".join(blocks).rstrip("\n") + "\n\n" + "".join(added).rstrip("\n") + "\n"


def _written(text: str) -> set[str]:
    """The `section.key`s that a TOML text sets."""
    return {f"{section}.{key}" for section, keys in tomllib.loads(text).items() for key in keys}
