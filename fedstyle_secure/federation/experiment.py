"""What only a simulation knows of its run: everybody's pictures, folders and ledgers, on one disk.

Utility on private pictures, who shares a picture with whom, and what each artist spent elsewhere are the
experimenter's to see. A platform over real sites has none of it (`sites.hosting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, PrivacyError, RunError
from fedstyle_secure.federation.local_training import trained_size
from fedstyle_secure.federation.platform import Look
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.results import History, write_manifest, write_results
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.canaries import (
    Canaries,
    CanaryNote,
    CanaryPictures,
    canary_kind,
    coordinates,
    roster,
)
from fedstyle_secure.galleries.checks import require_artists, survey
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.budget import budget_of, warn_of_budgets
from fedstyle_secure.privacy.ledger import Entry, Ledger
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import IDENTITY, claim, note_of, opener_home, studio_home, studios_root
from fedstyle_secure.system import AnySystem, State


class Experiment:
    """A run whose artists' pictures, folders and ledgers lie where its platform runs.

    Attributes:
        run: The run's folder.
        artists: Who takes part: the gallery's private artists, then canary artists.
        opener: File with the opener's public key, as the opener leaves it.
    """

    def __init__(self, config: Config, run: RunFolder) -> None:
        """Args: config: The settings. run: The run's folder."""
        self.run = run
        self._config = config
        self._gallery = open_gallery(config.gallery)
        self._root = studios_root(config, run)
        self.artists = roster(config, self._gallery)
        self.opener = opener_home(self._root) / IDENTITY

    def claim(self) -> None:
        """Make the studios, or check that they are the run's. Raises RunError where they are not."""
        claim(self._root, self.run)

    def begin(self, system: AnySystem, plan: Plan) -> None:
        """Check settings and pictures before anything is released, and write the manifest.

        Raises:
            ConfigError: A setting does not go with another, or with the gallery.
            GalleryError: The gallery cannot be used.
            RunError: It has changed since the run began.
        """
        self._check(system)
        found = survey(self._gallery, self._config.gallery.on_bad)
        manifest = self.run.manifest_file
        if manifest.exists() and self.run.manifest()["gallery"]["digest"] != found.digest:
            raise RunError(f"{self.run.path}: the gallery has changed since the run began")
        around = {"studios": note_of(self._root, self.run), "gallery": found.to_dict()}
        write_manifest(self.run, self._config, plan, self._note, around)
        self._plant()
        warn_of_budgets(
            budget_of(self._config.privacy),
            plan.events(),
            {artist: _released_elsewhere(home, self.run.identity) for artist, home in self._homes.items()},
        )

    def public(self) -> Sequence[Portfolio]:
        """The platform's own portfolios."""
        return [self._gallery.portfolio(artist) for artist in self._gallery.public_artists]

    def look(self, system: AnySystem) -> Look:
        """Figures of a round on private pictures: without canaries, which are no pictures of anybody's."""
        return system.meter([self._gallery.portfolio(artist) for artist in self._gallery.artists])

    def speaks(self, node: int) -> str | None:
        """Nobody knows: whose node it is, an artist's own folder says when it is asked."""
        return None

    def check_room(self, layouts: Layouts) -> None:
        """Raise ConfigError where canaries have not a coordinate each."""
        config, plan = layouts.config, layouts.plan
        kind, number, seed = canary_kind(config), config.audit.canaries, config.run.seed
        if kind == "gradient":
            coordinates(seed, number, trained_size(layouts))
        elif kind == "artist":
            coordinates(seed, number, min(layouts.vector(n).size for n in plan.sums))

    def end(self, system: AnySystem, layouts: Layouts, state: State) -> None:
        """Write the results. Args: system: What was learned. layouts: What was released. state: The last."""
        histories = {artist: _history(self.run, artist, home) for artist, home in self._homes.items()}
        opener = self.opener.read_text(encoding="utf-8") if self._config.secure_sum.enabled else None
        write_results(self.run, system, layouts, histories, state, self._note, opener)

    @property
    def _note(self) -> CanaryNote:
        return CanaryNote.of(self._config, len(self._gallery.artists))

    @property
    def _homes(self) -> dict[str, Path]:
        """Of those who have something to lose: canary artists have ledgers too, which count in no figure."""
        gallery = self._config.gallery
        return {artist: studio_home(self._root, gallery, artist) for artist in self._gallery.artists}

    def _check(self, system: AnySystem) -> None:
        config = self._config
        require_artists("audit.record", config.audit.record, self.artists)
        if config.run.min_artists > len(self._gallery.artists):
            raise ConfigError(
                f"run.min_artists = {config.run.min_artists}, but the gallery has "
                f"{len(self._gallery.artists)} artists"
            )
        system.check(self._gallery.artists)

    def _plant(self) -> None:
        """Throw the canaries' coins, once a run. Only artists' studios, and an auditor, ever read them.

        Raises:
            ConfigError: There are not enough pictures to plant.
            RunError: They were thrown before, and are gone.
        """
        kind = canary_kind(self._config)
        if kind is None or self.run.canaries_file.exists():
            return
        if self.run.checkpoint_file.exists():
            raise RunError(
                f"{self.run.canaries_file}: is gone, and other coins would be those of another run"
            )
        if kind == "mislabelled":
            CanaryPictures(self._config, self._gallery)[0]
        Canaries.draw(self._config, self._gallery).save(self.run.canaries_file)


def _history(run: RunFolder, artist: str, home: Path) -> History:
    """What an artist released, by its ledger; without entries where no figure can stand on it: it cannot be
    read, or it lacks a round in which the platform did get a release."""
    try:
        ledger = Ledger(home / "ledger.jsonl")
    except PrivacyError:
        return History(None, withdrawn=False)
    seen = {line["round"] for line in run.metrics() if artist in line["released_by"]}
    whole = seen <= {e.round for e in ledger.entries if e.run == run.identity}
    return History(ledger.entries if whole else None, whole and ledger.withdrawal is not None)


def _released_elsewhere(home: Path, run: str) -> list[Entry]:
    """What an artist released for other runs; nothing where its ledger is damaged, as it will decline."""
    try:
        return [entry for entry in Ledger(home / "ledger.jsonl").entries if entry.run != run]
    except PrivacyError:
        return []
