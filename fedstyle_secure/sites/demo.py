"""`fedstyle demo --sites`: a federation over sites on one machine, from keys to the report."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from fedstyle_secure.config import Config
from fedstyle_secure.errors import FederationError
from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.sites.local import LocalSites
from fedstyle_secure.training import Run

_ARTISTS, _PICTURES, _PUBLIC = 5, 40, 3


def play(out: Path, say: Callable[[str], None]) -> Run:
    """Make homes for five artists, an opener and a platform, train over them, and stop everything.

    Args:
        out: A new folder; each part gets a folder in it, its site.
        say: Takes sentences.

    Raises:
        RunError: Something is there.
        FederationError: The run failed; names the log.
    """
    source = Atelier(
        artists=_ARTISTS, pictures=_PICTURES, public=_PUBLIC, size=64, seed=0, test_fraction=0.25
    )
    with tempfile.TemporaryDirectory(prefix="fedstyle-sites-") as scratch:
        folder = Path(scratch)
        for artist in (*source.artists, *source.public_artists):
            place = folder / ("public" if artist in source.public_artists else artist) / artist
            place.mkdir(parents=True)
            for i, picture in enumerate(source.portfolio(artist).pictures):
                Image.fromarray(picture).save(place / f"{i:04d}.png")
        galleries = {artist: folder / artist for artist in source.artists}
        with LocalSites(out, galleries, folder / "public") as sites:
            apart = "hidden from each other" if sites.hidden else "side by side, as this system hides none"
            say(f"{_ARTISTS} artists, an opener and a platform have homes in {out}, {apart}.")
            sites.start()
            say("All are online, over TLS, each with a key of its own.")
            run = _run(sites, source.public_artists)
    say("Everything that was started is stopped.")
    return run


def _run(sites: LocalSites, public: tuple[str, ...]) -> Run:
    settings = ("gallery.source=folder", f"gallery.public={json.dumps(public)}", "run.rounds=3",
                "style.practice_artists=0", "styles.source=vocabulary", "run.timeout=120")  # fmt: skip
    config = Config().override(["gallery.artists=16", *settings])
    path = sites.platform.path.parent / "run.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    out = sites.platform.path / "runs" / "demo"
    process = sites.spawn(sites.platform, "platform", "run", more=(str(path), "--out", str(out)))
    if process.wait() != 0:
        raise FederationError(f"the run failed; see {sites.log(sites.platform)}")
    return Run.open(out)
