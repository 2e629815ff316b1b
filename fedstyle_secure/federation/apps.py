"""The Flower apps, wired to galleries and run folders. `flwr run .` and every engine use these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedstyle_secure.config import Config
from fedstyle_secure.errors import FederationError, RunError
from fedstyle_secure.federation.artist import CanaryStudio, Studio, build_client_app
from fedstyle_secure.federation.desk import Desk, add_desk
from fedstyle_secure.federation.experiment import Experiment
from fedstyle_secure.federation.platform import Look, run_rounds
from fedstyle_secure.federation.record import Recorder, recorder
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.summing import Counter
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.canaries import Canaries, PlantedGallery, canary_kind, roster
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import IDENTITY, opener_home, studio_home, studios_root
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
            keys = {artist: partial(_left, home / IDENTITY) for artist, home in homes.items()}
            self._desks[key] = Desk(opener_home(root), run, keys, config, plan)
        return self._desks[key]


def _left(path: Path) -> str:
    """An artist's public identity key where it left it; "" where it has not yet."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


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
    system.check(gallery.artists)
    kind = canary_kind(config)
    # The opener leaves it there when it first answers, after the studio was opened.
    opener = partial((opener_home(studios_root(config, run)) / IDENTITY).read_text, "utf-8")
    if kind is None:
        return Studio(home, run.identity, system, plan, artists, gallery.portfolio(artist), opener)
    canaries = Canaries.load(run.canaries_file, config, gallery)
    portfolio = PlantedGallery(config, gallery, canaries).portfolio(artist)
    inside = canaries.of(artist, inside_only=True)
    if kind == "artist" and artist not in gallery.artists:
        (index,) = canaries.of(artist, inside_only=False)
        return CanaryStudio(
            home, run.identity, system, plan, artists, portfolio, opener, index=index, inside=bool(inside)
        )
    gradients = inside if kind == "gradient" else ()
    return Studio(home, run.identity, system, plan, artists, portfolio, opener, gradients)


def make_client_app() -> ClientApp:
    """The artists' app, with studios of its own."""
    studios = Studios()
    app = build_client_app(studios.studio, studios.home)
    add_desk(app, studios.desk)
    return app


class Around(Protocol):
    """What stands around the rounds of a run: who takes part, what is checked before, what is written after.

    Attributes:
        run: The run's folder.
        artists: Who may take part.
        opener: File with the opener's public key.
    """

    run: RunFolder
    artists: tuple[str, ...]
    opener: Path

    def claim(self) -> None:
        """Make what outlives the run, or check that it is the run's."""

    def begin(self, system: AnySystem, plan: Plan) -> None:
        """Check everything that can be checked before a release, and write the manifest."""

    def public(self) -> Sequence[Portfolio]:
        """The platform's own portfolios."""

    def look(self, system: AnySystem) -> Look:
        """Figures of a round beside the protocol's own."""

    def speaks(self, node: int) -> str | None:
        """The artist that a node is known to speak for, "" for the opener; None: nobody knows."""

    def check_room(self, layouts: Layouts) -> None:
        """Refuse what has no room in the run's layouts."""

    def end(self, system: AnySystem, layouts: Layouts, state: State) -> None:
        """Write the results, the staged summary last."""


def simulated(config: Config, context: Context) -> Around:
    """Where everybody's folders lie on this disk."""
    return Experiment(config, run_folder(config, context.run_id))


def make_server_app(
    on_round: Callable[[dict[str, Any], int], None] | None = None,
    around_of: Callable[[Config, Context], Around] = simulated,
) -> ServerApp:
    """The platform's app.

    Args:
        on_round: Called with the metrics of each round and the number of rounds in all.
        around_of: What stands around the run of a context.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        config = Config.from_flat(context.run_config)
        around = around_of(config, context)
        run = around.run
        if run.finished:
            raise RunError(f"{run.path}: the run is finished")
        around.claim()
        run.begin(config, resume=True, force=False)
        with run.lock(), one_thread():
            counter_of = _counter_of(config, around) if config.secure_sum.enabled else None
            # Killed after everything was written, a run has only its end to be signed and hashed.
            if not run.staged:
                _run(grid, config, around, counter_of, on_round)
            if counter_of is not None:
                counter_of(grid).close(run.hashes())
            run.finish()

    return app


def _run(
    grid: Grid,
    config: Config,
    around: Around,
    counter_of: Callable[[Grid], Counter] | None,
    on_round: Callable[[dict[str, Any], int], None] | None,
) -> None:
    """Everything up to the staged summary."""
    run, artists = around.run, around.artists
    system = system_bound(config)
    system.require_learnable()
    plan = plan_of(config, len(artists))
    around.begin(system, plan)

    def report(line: dict[str, Any]) -> None:
        if on_round:
            on_round(line, plan.rounds)

    def opening(state: State, layouts: Layouts) -> Recorder | None:
        around.check_room(layouts)
        named = {
            kind.name: sum(system.publishes(kind, artist) for artist in artists)
            for kind in plan.kinds.values()
            if kind.leaves == "named"
        }
        return recorder(run, layouts, artists, state, named)

    state = run_rounds(
        grid,
        system,
        run,
        plan,
        artists,
        around.public(),
        around.look(system),
        opening,
        counter_of,
        report,
        around.speaks,
    )
    around.end(system, Layouts(config, plan, system.forms(state), len(artists)), state)


def _counter_of(config: Config, around: Around) -> Callable[[Grid], Counter]:
    """Makes the platform's side of encrypted sums."""
    run = around.run
    return lambda grid: Counter(
        grid,
        run.identity,
        around.artists,
        around.opener,
        run.transcript_file,
        config.run,
        around.speaks,
    )


client_app = make_client_app()
server_app = make_server_app()
