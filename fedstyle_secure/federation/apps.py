"""The Flower apps, wired to galleries and run folders. `flwr run .` and every engine use these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, FederationError, PrivacyError, RunError
from fedstyle_secure.federation.artist import CanaryStudio, Studio, build_client_app
from fedstyle_secure.federation.desk import Desk, add_desk
from fedstyle_secure.federation.local_training import trained_size
from fedstyle_secure.federation.platform import run_rounds
from fedstyle_secure.federation.record import Recorder, recorder
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.results import write_manifest, write_results
from fedstyle_secure.federation.summing import Counter
from fedstyle_secure.galleries.base import Gallery
from fedstyle_secure.galleries.canaries import (
    Canaries,
    CanaryNote,
    CanaryPictures,
    PlantedGallery,
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
from fedstyle_secure.studios import IDENTITY, claim, opener_home, studio_home, studios_root
from fedstyle_secure.system import AnySystem, State, plan_of, system_bound
from fedstyle_secure.threads import one_thread


def run_folder(config: Config, run_id: int) -> RunFolder:
    """Where the run of a context lies: `run.folder`, or a folder named after Flower's run id."""
    return RunFolder(Path(config.run.folder or f"runs/flower-{run_id}").resolve())


class Studios:
    """The studios of the artists whose nodes this process runs, opened when first asked for."""

    def __init__(self) -> None:
        self._studios: dict[tuple[int, int], Studio] = {}
        self._desks: dict[tuple[int, int], Desk] = {}
        self._plans: dict[Config, Plan] = {}

    def home(self, context: Context) -> Path:
        """The artist's own folder."""
        config, _, artist = _whose(context)
        root = studios_root(config, run_folder(config, context.run_id))
        return studio_home(root, config.gallery, artist)

    def studio(self, context: Context) -> Studio:
        """The artist's studio."""
        key = (context.run_id, int(context.node_config["partition-id"]))
        if key not in self._studios:
            config, artists, artist = _whose(context)
            home = self.home(context)
            if config not in self._plans:
                self._plans[config] = plan_of(config, artists, kept=home / "plan.json")
            run = run_folder(config, context.run_id)
            self._studios[key] = _open_studio(home, run, config, self._plans[config], artists, artist)
        return self._studios[key]

    def desk(self, context: Context) -> Desk:
        """The opener's desk.

        Raises:
            FederationError: The node is no opener.
        """
        key = (context.run_id, int(context.node_config["partition-id"]))
        if key not in self._desks:
            config = Config.from_flat(context.run_config)
            artists = roster(config, open_gallery(config.gallery))
            if not config.secure_sum.enabled or key[1] != len(artists):
                raise FederationError("this node is no opener")
            root = studios_root(config, run_folder(config, context.run_id))
            homes = {artist: studio_home(root, config.gallery, artist) for artist in artists}
            kept = opener_home(root) / "plan.json"
            run = run_folder(config, context.run_id).identity
            plan = plan_of(config, len(artists), kept=kept)
            self._desks[key] = Desk(root, run, homes, config, plan)
        return self._desks[key]


def _whose(context: Context) -> tuple[Config, int, str]:
    """The settings of a context, how many artists there are, and the one whose node it is.

    Raises:
        FederationError: There are more nodes than artists.
    """
    config = Config.from_flat(context.run_config)
    artists = roster(config, open_gallery(config.gallery))
    partition = int(context.node_config["partition-id"])
    if partition >= len(artists):
        raise FederationError(f"node {partition} has no artist; the roster has {len(artists)}")
    return config, len(artists), artists[partition]


def _open_studio(home: Path, run: RunFolder, config: Config, plan: Plan, artists: int, artist: str) -> Studio:
    """An artist's studio, with those of its canaries that are in.

    Raises:
        RunError: Which ones are in cannot be read.
    """
    gallery = open_gallery(config.gallery)
    # Its own consent, whatever the platform checked.
    system = system_bound(config)
    system.check(gallery)
    kind = canary_kind(config)
    if kind is None:
        return Studio(home, run.identity, system, plan, artists, gallery.portfolio(artist))
    canaries = Canaries.load(run.canaries_file, config, gallery)
    portfolio = PlantedGallery(config, gallery, canaries).portfolio(artist)
    inside = canaries.of(artist, inside_only=True)
    if kind == "artist" and artist not in gallery.artists:
        (index,) = canaries.of(artist, inside_only=False)
        return CanaryStudio(
            home, run.identity, system, plan, artists, portfolio, index=index, inside=bool(inside)
        )
    gradients = inside if kind == "gradient" else ()
    return Studio(home, run.identity, system, plan, artists, portfolio, gradients)


def make_client_app() -> ClientApp:
    """The artists' app, with studios of its own."""
    studios = Studios()
    app = build_client_app(studios.studio, studios.home)
    add_desk(app, studios.desk)
    return app


def make_server_app(on_round: Callable[[dict[str, Any], int], None] | None = None) -> ServerApp:
    """The platform's app.

    Args:
        on_round: Called with the metrics of each round and the number of rounds in all.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        config = Config.from_flat(context.run_config)
        run = run_folder(config, context.run_id)
        if run.finished:
            raise RunError(f"{run.path}: the run is finished")
        claim(studios_root(config, run), run)
        run.begin(config, resume=True, force=False)
        with run.lock(), one_thread():
            counter_of = _counter_of(config, run) if config.secure_sum.enabled else None
            # Killed after everything was written, a run has only its end to be signed and hashed.
            if not run.staged:
                _run(grid, config, run, counter_of, on_round)
            if counter_of is not None:
                counter_of(grid).close(run.hashes())
            run.finish()

    return app


def _run(
    grid: Grid,
    config: Config,
    run: RunFolder,
    counter_of: Callable[[Grid], Counter] | None,
    on_round: Callable[[dict[str, Any], int], None] | None,
) -> None:
    """Everything up to the staged summary."""
    system = system_bound(config)
    system.require_learnable()
    gallery = open_gallery(config.gallery)
    artists = roster(config, gallery)
    _check(system, gallery, artists)
    found = survey(gallery, config.gallery.on_bad)
    if run.manifest_file.exists() and run.manifest()["gallery"]["digest"] != found.digest:
        raise RunError(f"{run.path}: the gallery has changed since the run began")
    note = CanaryNote.of(config, len(gallery.artists))
    plan = plan_of(config, len(artists))
    root = studios_root(config, run)
    write_manifest(run, config, plan, found, note, root)
    _plant(config, run, gallery)
    # Of those who have something to lose: canary artists have ledgers too, which count in no figure.
    homes = {artist: studio_home(root, config.gallery, artist) for artist in gallery.artists}
    warn_of_budgets(
        budget_of(config.privacy),
        plan.events(),
        {artist: _released_elsewhere(home, run.identity) for artist, home in homes.items()},
    )
    # Without canaries, which are no pictures of anybody's.
    look = system.meter([gallery.portfolio(artist) for artist in gallery.artists])

    def report(line: dict[str, Any]) -> None:
        if on_round:
            on_round(line, plan.rounds)

    def opening(state: State, layouts: Layouts) -> Recorder | None:
        _check_room(layouts)
        named = {
            kind.name: sum(system.publishes(kind, artist) for artist in artists)
            for kind in plan.kinds.values()
            if kind.leaves == "named"
        }
        return recorder(run, layouts, artists, state, named)

    public = [gallery.portfolio(artist) for artist in gallery.public_artists]
    state = run_rounds(grid, system, run, plan, artists, public, look, opening, counter_of, report)
    layouts = Layouts(config, plan, system.forms(state), len(artists))
    sums = (layouts.summed(number) for number in range(plan.rounds))
    example = next((found for found in sums if found is not None), None)
    opener = _pin(config, run).read_text(encoding="utf-8") if config.secure_sum.enabled else None
    write_results(run, system, plan, homes, state, example, note, opener)


def _plant(config: Config, run: RunFolder, gallery: Gallery) -> None:
    """Throw the canaries' coins, once a run. Only artists' studios, and an auditor, ever read them.

    Raises:
        ConfigError: There are not enough pictures to plant.
        RunError: They were thrown before, and are gone.
    """
    kind = canary_kind(config)
    if kind is None:
        return
    if run.canaries_file.exists():
        return
    if run.checkpoint_file.exists():
        raise RunError(f"{run.canaries_file}: is gone, and other coins would be those of another run")
    if kind == "mislabelled":
        CanaryPictures(config, gallery)[0]
    Canaries.draw(config, gallery).save(run.canaries_file)


def _check_room(layouts: Layouts) -> None:
    """Raise ConfigError where canaries have not a coordinate each."""
    config, plan = layouts.config, layouts.plan
    kind, number, seed = canary_kind(config), config.audit.canaries, config.run.seed
    if kind == "gradient":
        coordinates(seed, number, trained_size(layouts))
    elif kind == "artist":
        coordinates(seed, number, min(layouts.vector(n).size for n in plan.sums))


def _counter_of(config: Config, run: RunFolder) -> Callable[[Grid], Counter]:
    """Makes the platform's side of encrypted sums."""
    artists = roster(config, open_gallery(config.gallery))
    return lambda grid: Counter(
        grid, run.identity, artists, _pin(config, run), run.transcript_file, config.run.timeout
    )


def _pin(config: Config, run: RunFolder) -> Path:
    """The file with the opener's public key."""
    return opener_home(studios_root(config, run)) / IDENTITY


def _released_elsewhere(home: Path, run: str) -> list[Entry]:
    """What an artist released for other runs; nothing where its ledger is damaged, as it will decline."""
    try:
        return [entry for entry in Ledger(home / "ledger.jsonl").entries if entry.run != run]
    except PrivacyError:
        return []


def _check(system: AnySystem, gallery: Gallery, artists: tuple[str, ...]) -> None:
    """Settings that only make sense together, or with this gallery, before anything is released.

    Raises:
        ConfigError: Names the setting.
    """
    config = system.config
    require_artists("audit.record", config.audit.record, artists)
    if config.run.min_artists > len(gallery.artists):
        raise ConfigError(
            f"run.min_artists = {config.run.min_artists}, but the gallery has {len(gallery.artists)} artists"
        )
    system.check(gallery)


client_app = make_client_app()
server_app = make_server_app()
