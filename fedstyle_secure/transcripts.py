"""A run's transcript, checked offline."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, RunError
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.secure_sum.manifest import Manifest
from fedstyle_secure.secure_sum.transcript import Closing, read, verify
from fedstyle_secure.studios import IDENTITY, has_studios, known_studios, opener_home, studios_root

Source = Literal["named", "studios", "run"]
"""Who says which key is the opener's: whoever checks, the studios, or only the run that is checked."""


@dataclass(frozen=True)
class Checked:
    """What was found.

    Attributes:
        opener: The public key that the lines were checked against, 64 hexadecimal digits.
        source: Who says that it is the opener's.
        problems: One line each, naming the line of the transcript or the round.
        manifests: Of the openings; empty where there are problems.
        closing: What the opener signed at the run's end; None where there are problems, or it goes on.
    """

    opener: str
    source: Source
    problems: list[str]
    manifests: tuple[Manifest, ...] = ()
    closing: Closing | None = None


def check(run: RunFolder, opener: str | None = None, studios: Path | None = None) -> Checked:
    """Check signatures, digests, chain, cohorts and settings of every opening, that none is missing, and that
    a finished run was closed.

    Args:
        run: The run.
        opener: The opener's public key; None takes it from the studios, or else from the run's own summary.
        studios: Where the studios lie; None: where the run says.

    Raises:
        RunError: There is no such run, or it sums nothing under encryption, or there is no key.
        ConfigError: The key is none.
    """
    config = run.config()
    if not config.secure_sum.enabled:
        raise RunError(f"{run.path}: the run sums nothing under encryption, so there is no transcript")
    stated = _stated(run)
    key, source = _key(run, config, opener, studios, stated)
    problems = [] if stated in (None, key) else [f"summary.json states the opener {stated}, not {key}"]
    sums = {line["round"]: line["sum"]["artists"] for line in run.metrics() if line["sum"]}
    opened = [number for number, artists in sums.items() if artists]
    if not run.transcript_file.exists():
        if opened or run.finished:
            problems.append(f"transcript.jsonl is missing, and rounds {opened} were summed")
        return Checked(key, source, problems)
    problems += verify(run.transcript_file, key)
    if problems:
        return Checked(key, source, problems)
    told = read(run.transcript_file)
    # A round that was opened, and whose sum was lost with a process that was killed, has a line more.
    lines = {manifest.round: len(manifest.roster) for manifest in told.manifests}
    for number in opened:
        if lines.get(number) != sums[number]:
            problems.append(
                f"round {number} summed {sums[number]} artists, and transcript.jsonl says "
                f"{lines.get(number, 'nothing of it')}"
            )
    for manifest in told.manifests:
        problems += _foreign(f"round {manifest.round}", run, config, manifest)
    if told.closing is not None:
        problems += _foreign("its closing", run, config, told.closing)
    elif run.finished:
        problems.append("the run is finished, and the opener did not close it")
    return Checked(key, source, problems, told.manifests, told.closing)


def _foreign(what: str, run: RunFolder, config: Config, signed: Manifest | Closing) -> list[str]:
    """Why something that the opener signed is not of this run under these settings."""
    problems = [] if signed.run == run.identity else [f"{what}: is of another run, {signed.run[:32]}"]
    if signed.settings != config.digest():
        problems.append(f"{what}: was signed for other settings than those of config.toml")
    return problems


def _stated(run: RunFolder) -> str | None:
    """The opener that a finished run itself names."""
    if not run.finished:
        return None
    try:
        return str(run.summary()["secure_sum"]["opener"])
    except (KeyError, TypeError):
        raise RunError(f"{run.summary_file}: names no opener") from None


def _key(
    run: RunFolder, config: Config, opener: str | None, studios: Path | None, stated: str | None
) -> tuple[str, Source]:
    root = known_studios(run, studios) if studios is not None else studios_root(config, run)
    pin = opener_home(root) / IDENTITY
    source: Source = "named"
    if opener is None and pin.exists() and has_studios(run, root):
        opener, source = pin.read_text(encoding="utf-8"), "studios"
    elif opener is None:
        opener, source = stated, "run"
    if opener is None:
        raise RunError(f"{run.path}: no opener beside this run; name its public key with --opener")
    if re.fullmatch("[0-9a-f]{64}", opener) is None:
        raise ConfigError(f"opener {opener[:80]!r}: a public key has 64 hexadecimal digits")
    return opener, source
