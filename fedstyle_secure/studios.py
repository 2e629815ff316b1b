"""Where the artists' own files lie: one folder an artist, beside the runs and outliving them.

In a simulation these folders stand for the artists' own disks. They hold what must not begin anew with a
run: the ledger above all. A run knows its studios by an identity of theirs, and by their place as seen from
its own folder: both can be copied and moved together, and a copy never reaches for the original's.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from fedstyle_secure.config import Config, GallerySection
from fedstyle_secure.errors import PrivacyError, RunError
from fedstyle_secure.files import PRIVATE, private_folder, write_text
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.runs import RunFolder, folder_name

_MARK = ".fedstyle-studios"
_BESIDE = "../studios"

OPENER = ".opener"
"""The opener's folder; no artist's folder begins with a dot."""

IDENTITY = "identity.pub"
"""File in an artist's and in the opener's folder with the public identity key, for others to read."""


def studios_root(config: Config, run: RunFolder) -> Path:
    """The folder of all studios: `run.studios`, else where the run's manifest says, else `studios` beside it.

    Relative places are seen from the run's folder.
    """
    place = config.run.studios or _noted(run).get("place") or _BESIDE
    return (run.path.resolve() / place).resolve()


def beside(run: RunFolder) -> Path:
    """Where studios lie if nobody says otherwise."""
    return (run.path.resolve() / _BESIDE).resolve()


def note_of(root: Path, run: RunFolder) -> dict[str, str]:
    """What a run's manifest says of its studios, which `claim` made: their identity, and their place."""
    place = Path(os.path.relpath(root, run.path.resolve())).as_posix()
    return {"identity": _identity(root) or "", "place": place}


def known_studios(run: RunFolder, named: Path | None = None) -> Path:
    """The studios that a run began with, for a command that writes into them, or stands on what they hold.

    Args:
        run: The run; it need not be finished.
        named: Where they lie; None: where the run says.

    Raises:
        RunError: They are not there, or are other ones.
    """
    root = studios_root(run.config(), run) if named is None else named.resolve()
    identity = _identity(root)
    if identity is None:
        raise RunError(
            f"{root}: no studios here; {run.path} was moved or copied without them: name them with --studios"
        )
    if identity != _noted(run).get("identity"):
        raise RunError(f"{root}: are not the studios that {run.path} began with; name them with --studios")
    return root


def personal_file(run: RunFolder, artist: str, named: Path | None = None) -> Path:
    """Where what an artist makes of a run for itself lies, on its own disk: it never leaves.

    Args:
        run: The run.
        artist: Whose.
        named: Where the studios lie; None: where the run says.

    Raises:
        RunError: The artist has no studio there.
    """
    home = studio_home(known_studios(run, named), run.config().gallery, artist)
    if not home.is_dir():
        raise RunError(f"{home}: no such studio; valid is an artist of the run")
    return home / "personal" / f"{run.identity}.safetensors"


def has_studios(run: RunFolder, root: Path) -> bool:
    """Whether a folder holds the studios that a run began with, or ones that released something for it,
    whatever the run itself says. What lies inside a run's own folder is the run's own word, and no studios.
    """
    if _inside(run, root):
        return False
    identity = _identity(root)
    own = identity is not None and identity == _noted(run).get("identity")
    return own or (identity is not None and has_released(root, run.identity))


def _inside(run: RunFolder, root: Path) -> bool:
    return root.resolve().is_relative_to(run.path.resolve())


def studio_home(root: Path, gallery: GallerySection, artist: str) -> Path:
    """An artist's own folder, the same for every run on its portfolio.

    A portfolio is known by its artist's name; procedural artists of another seed are other artists. Two
    galleries that name an artist alike share a ledger, which can only overstate what was spent.
    """
    name = f"{artist} {gallery.seed}" if gallery.source == "atelier" else artist
    return root / folder_name(name)


def opener_home(root: Path) -> Path:
    """The opener's own folder."""
    return root / OPENER


def found_studios(run: RunFolder, named: Path | None = None) -> Path | None:
    """The studios that a run began with, for a command that also knows what to say without them.

    Args:
        run: The run; it need not be finished.
        named: Where they lie; None: where the run says.

    Returns:
        None where they are not where the run says.

    Raises:
        RunError: Those that are named are other ones.
    """
    if named is not None:
        return known_studios(run, named)
    said = studios_root(run.config(), run)
    return said if has_studios(run, said) else None


def withdrawals(run: RunFolder, artists: Iterable[str], studios: Path | None = None) -> dict[str, str] | None:
    """When each of a run's artists withdrew, as its own ledger says today; "" for who has not.

    Args:
        run: The run.
        artists: Of the run.
        studios: Where the artists' own ledgers lie; None: where the run says, if they are there.

    Returns:
        Without artists whose ledger is missing or damaged, of whom nobody can tell; None where no studios are
        there.
    """
    root = found_studios(run, studios)
    if root is None:
        return None
    gallery, found = run.config().gallery, {}
    for artist in artists:
        path = studio_home(root, gallery, artist) / "ledger.jsonl"
        try:
            ledger = Ledger(path) if path.exists() else None
        except PrivacyError:
            ledger = None
        if ledger is not None:
            found[artist] = ledger.withdrawal.at if ledger.withdrawal else ""
    return found


def claim(root: Path, run: RunFolder | None = None) -> None:
    """Make the folder of studios, or check that it is one.

    Args:
        root: The folder.
        run: The run that it is for, which goes on only with the studios that it began with.

    Raises:
        RunError: It holds something else, or the run's studios lie elsewhere, or it lies inside the run.
    """
    if run is not None and _inside(run, root):
        raise RunError(
            f"{root}: lies inside the run's own folder, and ledgers outlive runs; change run.studios"
        )
    began = _noted(run).get("identity") if run is not None else None
    identity = _identity(root)
    if began is not None and identity != began:
        raise RunError(
            f"{root}: holds not the studios that the run began with, and their ledgers go on; name them with "
            "run.studios"
        )
    if identity is not None:
        return
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise RunError(f"{root}: holds something else than studios; name another folder with run.studios")
    write_text(private_folder(root) / _MARK, secrets.token_hex(16), mode=PRIVATE)
    logging.getLogger("fedstyle_secure").info("new studios in %s: the artists' ledgers begin here", root)


def has_released(root: Path, run: str) -> bool:
    """Whether any artist released anything for a run; yes also where a ledger cannot be read."""
    try:
        return any(entry.run == run for path in root.glob("*/ledger.jsonl") for entry in Ledger(path).entries)
    except PrivacyError:
        return True


def _identity(root: Path) -> str | None:
    """What studios are known by; None: there are none."""
    try:
        return (root / _MARK).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _noted(run: RunFolder) -> Mapping[str, str]:
    """What the run's manifest says of its studios; nothing where it has no manifest yet."""
    if not run.manifest_file.exists():
        return {}
    noted = run.manifest().get("studios")
    if isinstance(noted, dict) and all(isinstance(noted.get(key), str) for key in ("identity", "place")):
        return noted
    raise RunError(f"{run.manifest_file}: does not say which studios the run began with")
