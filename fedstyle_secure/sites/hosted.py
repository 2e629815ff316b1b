"""A run over sites, from the platform's side: submitted, taken on, and gone on with until it is finished."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
from flwr.app import Context, RecordDict
from flwr.common.constant import SubStatus

from fedstyle_secure.config import Config
from fedstyle_secure.engines.flower import quiet
from fedstyle_secure.errors import ConfigError, FederationError
from fedstyle_secure.federation.apps import make_server_app
from fedstyle_secure.federation.bundle import packed
from fedstyle_secure.files import alone, private_folder
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.sites import superlink
from fedstyle_secure.sites.grid import LinkLost, SiteGrid
from fedstyle_secure.sites.heads import Keeper
from fedstyle_secure.sites.homes import Home, platform_facts
from fedstyle_secure.sites.hosting import Hosting
from fedstyle_secure.sites.roster import FILE, Roster
from fedstyle_secure.sites.tls import raw_public
from fedstyle_secure.training import Run

log = logging.getLogger("fedstyle_secure")

_AGAIN_S = 3.0


def run_over_sites(
    home: Home,
    config: Config,
    out: Path,
    on_round: Callable[[dict[str, Any], int], None] | None = None,
    *,
    wait: float = 60.0,
    stop: threading.Event | None = None,
) -> Run:
    """Train over the nodes of everybody who is enrolled, until the run is finished.

    A SuperLink that dies meanwhile is waited for, and the run goes on where it was. Called again with the
    same settings and folder, it goes on with a run that was interrupted.

    Args:
        home: The platform's.
        config: The settings. `gallery.source` is "folder"; artists' pictures are their own.
        out: The run's folder.
        on_round: Called with the metrics of each round and the number of rounds in all.
        wait: Seconds to wait for all enrolled nodes to be online, before the run begins without some.
        stop: Ends it.

    Raises:
        ConfigError: A setting does not go with a run over sites.
        RunError: The folder holds another run.
        FederationError: Too few artists answered.
        PrivacyError: Nobody, or no opener, is enrolled.
    """
    if config.gallery.source != "folder":
        raise ConfigError(
            f"gallery.source = {config.gallery.source!r}: over sites pictures are the artists' own; valid: "
            '"folder", with gallery.public for those of the platform'
        )
    folder, stop = RunFolder(out.resolve()), stop or threading.Event()
    opener = home.known.require("opener") if config.secure_sum.enabled else home.known.card("opener")
    roster = Roster.of(home.known.artists(), opener, home.identity.public)
    shared = Config.from_flat(config.to_flat() | dict.fromkeys(config.places, ""))
    own = Config.from_flat(
        config.to_flat() | {"gallery.path": platform_facts(home)["pictures"], "run.folder": str(folder.path)}
    )
    bundle = packed(shared, {FILE: roster.to_toml(home.identity)})
    with _alone(home), quiet():
        _until_finished(lambda: _once(home, own, folder, roster, bundle, on_round, wait, stop), folder, stop)
    return Run.open(folder.path)


def _alone(home: Home) -> AbstractContextManager[None]:
    """Keep a second run out: an artist has one key at a time to mask its share of a sum with."""
    runs = private_folder(home.path / "runs")
    return alone(runs, "another run of this platform is under way; one at a time")


def _until_finished(once: Callable[[], None], folder: RunFolder, stop: threading.Event) -> None:
    while not folder.finished and not stop.is_set():
        try:
            once()
        except (LinkLost, httpx.HTTPError, OSError) as error:
            if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
                raise
            if not stop.is_set():
                log.warning("%s; going on when it answers again", error)
                stop.wait(_AGAIN_S)
    if not folder.finished:
        raise FederationError(f"{folder.path}: told to stop; the same command goes on with the run")


def _once(
    home: Home,
    config: Config,
    folder: RunFolder,
    roster: Roster,
    bundle: bytes,
    on_round: Callable[[dict[str, Any], int], None] | None,
    wait: float,
    stop: threading.Event,
) -> None:
    """Submit the run, take it on, and play it to its end, or until the SuperLink is lost."""
    superlink.register(home)
    run_id = superlink.submit(home, bundle, hashlib.sha256(bundle).hexdigest())
    token = superlink.acquire(home, run_id, lambda token: _refused(home, token), stop)
    if token is None:
        return
    settings = config.digest()
    grid = SiteGrid(
        superlink.address(home), superlink.authority(home), token,
        identity=home.identity,
        bound=lambda: (folder.identity, settings, roster.digest),
        enrolled={raw_public(card.node_key): card.name for card in superlink.enrolled(home)},
        keys=dict(roster.artists), keeper=Keeper(home.path / "heads"), stop=stop,
    )  # fmt: skip
    status, details = SubStatus.FAILED, "the platform's program failed"
    try:
        grid.take()
        _await(grid, len(superlink.enrolled(home)), wait, stop)
        app = make_server_app(on_round, lambda config, context: Hosting(home, config, folder, roster, grid))
        flat = dict(config.to_flat())
        app(grid, Context(run_id=run_id, node_id=0, node_config={}, state=RecordDict(), run_config=flat))
        status, details = SubStatus.COMPLETED, ""
    finally:
        grid.give_back(status, details)
        grid.close()


def _await(grid: SiteGrid, nodes: int, wait: float, stop: threading.Event) -> None:
    """Wait until everybody is online, or for so many seconds."""
    left = wait
    while left > 0 and len(grid.get_node_ids()) < nodes and not stop.wait(0.3):
        left -= 0.3


def _refused(home: Home, token: str) -> None:
    """End a run that somebody else started on the platform's SuperLink."""
    log.warning("somebody else started a run on this SuperLink; it is refused")
    grid = SiteGrid(
        superlink.address(home), superlink.authority(home), token,
        identity=home.identity, bound=lambda: ("", "", ""), enrolled={}, keys={},
        keeper=Keeper(home.path / "heads"), stop=threading.Event(),
    )  # fmt: skip
    grid.give_back(SubStatus.FAILED, "not a run of this platform")
    grid.close()
