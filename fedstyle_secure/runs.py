"""A run's folder: what lies where, written so that a killed run can go on and a finished one stays."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fedstyle_secure.config import Config
from fedstyle_secure.errors import RunError, pasted
from fedstyle_secure.files import (
    alone,
    append,
    file_sha256,
    held,
    read_json,
    sync_folder,
    write_json,
    write_text,
)

_MARK = ".fedstyle-run"
_FILES = (
    "config.toml",
    "manifest.json",
    "metrics.jsonl",
    "checkpoint.safetensors",
    "opened.safetensors",
    "transcript.jsonl",
    "fixed.safetensors",
    "product.safetensors",
    "ledger.json",
    "summary.staged.json",
    "summary.json",
    "SHA256SUMS",
    "record",
    "canaries.json",
    "audit",
    "report",
    "flower.log",
    "test_pictures",
    ".lock",
    _MARK,
)
"""Everything that a run writes; deleting one deletes nothing else."""

_EVIDENCE = (
    "config.toml",
    "manifest.json",
    "metrics.jsonl",
    "transcript.jsonl",
    "fixed.safetensors",
    "product.safetensors",
    "ledger.json",
    "canaries.json",
)
"""What a finished run states beside its summary and what it recorded; `SHA256SUMS` has the hashes."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run. Creating the object touches nothing.

    Attributes:
        path: The run's folder.
        gallery: The folder of its pictures, for a run that was moved without them; None: where the run says.
        studios: The folder of its artists' ledgers, likewise.
    """

    path: Path
    gallery: Path | None = None
    studios: Path | None = None

    @property
    def config_file(self) -> Path:
        """Resolved settings, TOML."""
        return self.path / "config.toml"

    @property
    def manifest_file(self) -> Path:
        """Versions, seeds, hashes and what was left out of the gallery, JSON."""
        return self.path / "manifest.json"

    @property
    def metrics_file(self) -> Path:
        """A JSON line a round."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint_file(self) -> Path:
        """State of the platform after the last whole round."""
        return self.path / "checkpoint.safetensors"

    @property
    def opened_file(self) -> Path:
        """The last opened sum."""
        return self.path / "opened.safetensors"

    @property
    def transcript_file(self) -> Path:
        """The opener's signed lines, one an opening, JSON lines."""
        return self.path / "transcript.jsonl"

    @property
    def fixed_file(self) -> Path:
        """What never changes in the run: the checkpoint and the recorded rounds have its digest."""
        return self.path / "fixed.safetensors"

    @property
    def product_file(self) -> Path:
        """What was learned: the last state, whole."""
        return self.path / "product.safetensors"

    @property
    def ledger_file(self) -> Path:
        """Every release of every artist, JSON."""
        return self.path / "ledger.json"

    @property
    def summary_file(self) -> Path:
        """Utility, privacy and cost, JSON. It exists exactly if the run is finished."""
        return self.path / "summary.json"

    @property
    def sums_file(self) -> Path:
        """SHA-256 of the finished run's files, as `sha256sum --check` reads it."""
        return self.path / "SHA256SUMS"

    @property
    def record_folder(self) -> Path:
        """What the platform saw of the artists that are audited, a file a round."""
        return self.path / "record"

    @property
    def audit_folder(self) -> Path:
        """What attacks found, with pictures and curves."""
        return self.path / "audit"

    @property
    def canaries_file(self) -> Path:
        """Which canaries are in, JSON; for the auditor and the artists, not for the platform."""
        return self.path / "canaries.json"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.summary_file.exists()

    @property
    def begun(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / _MARK).exists()

    @property
    def state(self) -> str:
        """`finished`, `running` in some process, or `interrupted after N rounds`."""
        if self.finished:
            return "finished"
        return "running" if held(self.path) else f"interrupted after {len(self.metrics())} rounds"

    @property
    def identity(self) -> str:
        """What artists know the run by: 32 hex digits that outlive moving the folder.

        Raises:
            RunError: There is no run here, or its mark is something else: artists name files by it.
        """
        try:
            mark = (self.path / _MARK).read_text(encoding="utf-8", errors="replace")
        except OSError:
            raise RunError(f"{self.path}: no run here; `fedstyle runs` lists them") from None
        if not re.fullmatch("[0-9a-f]{32}", mark):
            raise RunError(f"{self.path / _MARK}: is no identity of a run, which has 32 hex digits")
        return mark

    def config(self) -> Config:
        """The settings that the run was started with, with the place where its pictures lie now.

        Raises:
            RunError: There is no run here, or a folder of pictures is named for a run that has none.
        """
        config = self._kept_config()
        if self.gallery is not None and config.gallery.source != "folder":
            raise RunError(
                f"{self.path}: its pictures come from {config.gallery.source!r}, not from a folder"
            )
        if not config.gallery.path:
            return config
        place = self.path.resolve() / (self.gallery or config.gallery.path)
        return config.at(gallery_path=str(place.resolve()))

    def config_to_go_on(self) -> Config:
        """The settings to go on with a run from its folder alone.

        Raises:
            RunError: There is no run here, or it was stopped so early that it does not say yet where its
                artists' ledgers lie.
        """
        if not self.manifest_file.exists():
            raise RunError(
                f"{self.path}: was stopped before its manifest was written, so nothing here says where its "
                "studios lie; name the configuration and the settings again, with --out"
            )
        return self.config()

    def _kept_config(self) -> Config:
        if not self.begun:
            raise RunError(f"{self.path}: no run here; `fedstyle runs` lists them")
        return Config.load(self.config_file)

    def _to_keep(self, config: Config) -> Config:
        """The settings as they are kept: without where the run lies, as a folder may be copied and moved,
        without where the studios lie, which the manifest says, nor any file that the run began with, and
        with where the pictures lie as seen from the run."""
        left_out = {key: "" for key in config.places if key != "gallery.path"}
        kept = Config.from_flat(config.to_flat() | left_out)
        if not kept.gallery.path:
            return kept
        return kept.at(gallery_path=Path(os.path.relpath(kept.gallery.path, self.path.resolve())).as_posix())

    def summary(self) -> dict[str, Any]:
        """The finished run's summary.

        Raises:
            RunError: There is no run here, or it is not finished.
        """
        self.config()
        if not self.finished:
            again = pasted("fedstyle", "train", "--resume", self.path)
            raise RunError(f"{self.path}: the run is not finished; go on with `{again}`")
        return read_json(self.summary_file, dict)

    def evidence(self) -> list[Path]:
        """The files there are of those that a finished run is judged by, without the summary."""
        files = [self.path / name for name in _EVIDENCE]
        return [path for path in files if path.exists()] + sorted(self.record_folder.glob("*.safetensors"))

    @property
    def staged(self) -> bool:
        """Whether everything that the run states is written, and only its end is to be signed and hashed."""
        return self._staged_file.exists()

    @property
    def _staged_file(self) -> Path:
        return self.path / "summary.staged.json"

    def stage(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, after everything else that the run states, where nobody takes it for one yet."""
        write_json(self._staged_file, summary)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of everything that a staged run states but its transcript, by name."""
        files = {path.relative_to(self.path).as_posix(): path for path in self.evidence()}
        files.pop(self.transcript_file.name, None)
        files[self.summary_file.name] = self._staged_file
        return {name: file_sha256(path) for name, path in files.items()}

    def finish(self) -> None:
        """Write the hashes of everything that a staged run states, and last put its summary in its place:
        then it is finished."""
        sums = self.hashes()
        if self.transcript_file.exists():
            sums[self.transcript_file.name] = file_sha256(self.transcript_file)
        write_text(self.sums_file, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
        self._staged_file.replace(self.summary_file)
        sync_folder(self.path)

    def manifest(self) -> dict[str, Any]:
        """What was written when the run began. Raises RunError if it is missing or damaged."""
        return read_json(self.manifest_file, dict)

    def begin(self, config: Config, *, resume: bool, force: bool) -> None:
        """Make the folder ready for `config`.

        Args:
            config: The settings.
            resume: Go on where an interrupted run with the same settings stopped.
            force: Delete what is there.

        Raises:
            RunError: A run is there and neither was asked for, its settings differ, or the folder holds
                something else.
        """
        if self.begun and not resume:
            if not force:
                raise RunError(
                    f"{self.path}: holds a run ({self.state}); "
                    f"`{pasted('fedstyle', 'train', '--resume', self.path)}` goes on with it, "
                    "`--force` deletes it, `--out` names another folder"
                )
            self.remove()
        if self.begun:
            self.require(config)
            return
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise RunError(f"{self.path}: is there already and holds no run; name a new or empty folder")
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / _MARK, secrets.token_hex(16))
        write_text(self.config_file, self._to_keep(config).to_toml())

    def require(self, config: Config) -> None:
        """Check that this run has these settings, wherever it and its studios lie by now. Raises RunError
        naming the first that differs."""
        old, new = self._kept_config().to_flat(), self._to_keep(config).to_flat()
        changed = [key for key in new if old[key] != new[key]]
        if changed:
            key = changed[0]
            raise RunError(f"{self.path}: was started with {key} = {old[key]!r}, not {new[key]!r}")

    def remove(self) -> None:
        """Delete the run: its own files, and the folder if nothing else is in it.

        Raises:
            RunError: Another process is writing it.
        """
        with self.lock():
            for name in _FILES:
                path = self.path / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def lock(self) -> AbstractContextManager[None]:
        """Keep other processes out of this run while it is written.

        Raises:
            RunError: Another process is writing it.
        """
        return alone(self.path, "another process is writing this run")

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Add the line of a round."""
        append(self.metrics_file, f"{json.dumps(line)}\n".encode())

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of the rounds so far; an incomplete last line is left out. Raises RunError if damaged."""
        if not self.metrics_file.exists():
            return []
        try:
            text = self.metrics_file.read_text(encoding="utf-8")
            return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        except ValueError as error:
            raise RunError(f"{self.metrics_file}: cannot be read: {error}") from None

    def keep_metrics(self, rounds: int) -> None:
        """Drop lines of rounds from `rounds` on: they will be written again."""
        kept = [line for line in self.metrics() if line["round"] < rounds]
        if self.metrics_file.exists():
            write_text(self.metrics_file, "".join(json.dumps(line) + "\n" for line in kept))


def folder_name(artist: str) -> str:
    """An artist's name as the name of a folder: readable, never a path, different for different names."""
    quoted = quote(artist, safe=" ")
    if not quoted or len(quoted) > 100 or quoted.startswith(".") or quoted != quoted.strip():
        return f"{quoted[:80].strip(' .')}-{hashlib.sha256(artist.encode()).hexdigest()[:16]}"
    return quoted


def list_runs(root: Path) -> list[RunFolder]:
    """The runs in `root`, by name."""
    if not root.is_dir():
        return []
    return [RunFolder(p) for p in sorted(root.iterdir()) if RunFolder(p).begun]
