"""Commands of a federation over real sites: homes, who knows whom, and what runs in them."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from fedstyle_secure.shipped import file_of
from fedstyle_secure.terminal import AsJson, print_json, say, short

if TYPE_CHECKING:
    from fedstyle_secure.sites.cards import Role
    from fedstyle_secure.sites.homes import Home

artist_app = typer.Typer(help="An artist's own home, on the artist's machine.", no_args_is_help=True)
opener_app = typer.Typer(help="The home of the opener of encrypted sums.", no_args_is_help=True)
platform_app = typer.Typer(help="The platform's home: its SuperLink and its runs.", no_args_is_help=True)

HomePath = Annotated[Path, typer.Argument(metavar="HOME", help="The folder.", show_default=False)]
Watch = Annotated[
    int | None,
    typer.Option("--watch", metavar="PORT", help="Serve /healthz and /metrics on 127.0.0.1:PORT."),
]
JsonLogs = Annotated[bool, typer.Option("--json-logs", help="Log JSON lines.")]
Cards = Annotated[list[Path], typer.Argument(metavar="CARD...", help="Files that the others sent.")]
Sure = Annotated[bool, typer.Option("--yes", help="The fingerprints were compared already.")]
Replace = Annotated[bool, typer.Option("--replace", help="Take a new card in place of one that is known.")]


@artist_app.command("init")
def artist_init(
    home: HomePath,
    name: Annotated[str, typer.Option(help="The artist's name.", show_default=False)],
    pictures: Annotated[
        Path,
        typer.Option(
            help="A folder with a folder of that name in it, or with a split.csv.", show_default=False
        ),
    ],
) -> None:
    """Make an artist's home: keys, and a policy to be read and changed before anything runs."""
    from fedstyle_secure.sites.homes import init_artist

    _made(init_artist(home, name, pictures), "the opener and the platform")
    say(f"Read {short(home / 'policy.toml')}: no run can loosen what it says.")


@opener_app.command("init")
def opener_init(home: HomePath) -> None:
    """Make an opener's home: the only place where the key of a sum ever is."""
    from fedstyle_secure.sites.homes import init_opener

    _made(init_opener(home), "all artists and the platform")


@platform_app.command("init")
def platform_init(
    home: HomePath,
    host: Annotated[str, typer.Option(help="Name or address that nodes reach it by.", show_default=False)],
    pictures: Annotated[Path, typer.Option(help="Gallery of its public pictures.", show_default=False)],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 8443,
    link: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS:PORT",
            help="What the SuperLink listens on: 0.0.0.0:PORT without a proxy before it.",
            show_default="127.0.0.1:PORT",
        ),
    ] = "",
) -> None:
    """Make a platform's home: a certificate authority of its own, keys, and where its pictures lie."""
    from fedstyle_secure.sites.homes import init_platform

    _made(init_platform(home, host, port, pictures, link), "the opener and all artists")


@artist_app.command("enrol")
def artist_enrol(home: HomePath, cards: Cards, yes: Sure = False, replace: Replace = False) -> None:
    """Keep the platform's and the opener's card, once their fingerprints were compared with them."""
    _enrol(home, cards, "artist", yes=yes, replace=replace)


@opener_app.command("enrol")
def opener_enrol(home: HomePath, cards: Cards, yes: Sure = False, replace: Replace = False) -> None:
    """Keep the platform's and artists' cards, once their fingerprints were compared with them."""
    _enrol(home, cards, "opener", yes=yes, replace=replace)


@platform_app.command("enrol")
def platform_enrol(home: HomePath, cards: Cards, yes: Sure = False, replace: Replace = False) -> None:
    """Keep the opener's and artists' cards, once their fingerprints were compared with them."""
    _enrol(home, cards, "platform", yes=yes, replace=replace)


@artist_app.command("loosen")
def artist_loosen(home: HomePath) -> None:
    """Agree, at this machine, to what policy.toml allows more than before."""
    from fedstyle_secure.errors import PrivacyError
    from fedstyle_secure.sites.homes import Home, loosening, settle

    opened = Home.open(home, "artist")
    more = loosening(opened)
    if more and not typer.confirm(f"Allow more in {', '.join(more)}?"):
        raise PrivacyError(f"{home}: nothing was agreed to")
    settle(opened)
    say("Agreed." if more else "The policy allows nothing more than before.")


@artist_app.command("consent")
def artist_consent(
    home: HomePath,
    way: Annotated[str, typer.Argument(metavar="in|out", help="Whether they take part.", show_default=False)],
    works: Annotated[list[Path], typer.Argument(metavar="WORK...", help="Files.", show_default=False)],
    purpose: Annotated[
        str, typer.Option(help="ai_training, ai_generative_training or another use of CAWG's.")
    ] = "ai_training",
) -> None:
    """Decide, work by work, what takes part; the last decision counts, and all of them are kept."""
    from fedstyle_secure.consent.uses import PURPOSES
    from fedstyle_secure.errors import ConfigError
    from fedstyle_secure.files import file_sha256
    from fedstyle_secure.privacy.gate import now
    from fedstyle_secure.sites.consent_log import Way, decide
    from fedstyle_secure.sites.homes import Home

    ways: tuple[Way, ...] = get_args(Way)
    if way not in ways or purpose not in PURPOSES:
        raise ConfigError(f"{way!r} for {purpose!r}: valid: in or out, for one of {', '.join(PURPOSES)}")
    opened = Home.open(home, "artist")
    said, use = ways[ways.index(way)], PURPOSES[PURPOSES.index(purpose)]
    log = decide(opened.path / opened.policy.consent.file, map(file_sha256, works), use, said, now())
    say(f"{len(works)} works are {way} for {purpose}; {short(log.path)} has {len(log.decisions)} decisions.")


@artist_app.command("withdraw")
def artist_withdraw(home: HomePath) -> None:
    """Withdraw: nothing leaves this home any more, and the card is taken down at the next contact."""
    from fedstyle_secure.privacy.gate import withdraw
    from fedstyle_secure.sites.homes import Home

    opened = Home.open(home, "artist")
    say(f"{opened.name} withdrew at {withdraw(opened.path).at}, as {short(home / 'ledger.jsonl')} says.")


@platform_app.command("serve")
def platform_serve(home: HomePath, watch: Watch = None, json_logs: JsonLogs = False) -> None:
    """Run the SuperLink of a platform, started again when it ends, and play the platform's runs."""
    from fedstyle_secure.sites.homes import Home
    from fedstyle_secure.sites.played import serving
    from fedstyle_secure.sites.superlink import serve

    opened = Home.open(home, "platform")
    with _watched(opened.role, watch, json_logs) as (stop, online, _), serving(opened, stop):
        serve(opened, stop, online)


@platform_app.command("run")
def platform_run(
    home: HomePath,
    config: Annotated[
        Path, typer.Argument(help="TOML file of a run, or a preset's name.", show_default=False)
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("-s", "--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeat."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder.", show_default="HOME/runs/NAME OF THE CONFIG")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for nodes that are not online.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Train over the enrolled nodes; the same command goes on with a run that was interrupted."""
    from fedstyle_secure.config import Config
    from fedstyle_secure.privacy.figures import epsilon_told
    from fedstyle_secure.runs import RunFolder
    from fedstyle_secure.sites.homes import Home
    from fedstyle_secure.sites.played import follow

    opened = Home.open(home, "platform")
    config = file_of(config, "run")
    loaded = Config.load(config, settings or [])
    folder = out or opened.path / "runs" / config.stem

    def on_round(line: dict[str, object], rounds: int) -> None:
        if not as_json:
            say(f"round {line['round']} of {rounds}: {line['replies']} of {line['asked']} artists answered")

    with _told_to_stop() as stop:
        if not follow(opened, loaded, folder, on_round, wait=wait, stop=stop):
            from fedstyle_secure.sites.hosted import run_over_sites

            run_over_sites(opened, loaded, folder, on_round, wait=wait, stop=stop)
    summary = RunFolder(folder).summary()
    if as_json:
        print_json(summary)
        return
    epsilon = summary["privacy"]["epsilon_artwork_max"]
    said = "no guarantee for all" if epsilon is None else f"epsilon {epsilon_told(epsilon)} at most"
    say(f"Done: {said}. The run lies in {short(folder)}.")


def node(home: HomePath, watch: Watch = None, json_logs: JsonLogs = False) -> None:
    """Run the node of an artist or of an opener: it answers one platform, and runs no code of a bundle."""
    from fedstyle_secure.sites.homes import Home
    from fedstyle_secure.sites.node import serve

    opened = Home.open(home, "artist", "opener")
    with _watched(opened.role, watch, json_logs) as (stop, online, count):
        serve(opened, stop, online, count)


def doctor(home: HomePath, as_json: AsJson = False) -> None:
    """Look at a home: versions, keys, disk, who it knows, policy, ledger, the SuperLink and its clock."""
    from dataclasses import asdict

    from fedstyle_secure.sites.doctor import examined
    from fedstyle_secure.sites.homes import Home

    found = []
    for check in examined(Home.open(home)):
        found.append(check)
        if not as_json:
            say(f"{'ok  ' if check.well else 'BAD '} {check.name}: {check.said}")
    if as_json:
        print_json([asdict(check) for check in found])
    if not all(check.well for check in found):
        raise typer.Exit(4)


def _made(home: Home, to: str) -> None:
    say(f"{short(home.path)} is the home of the {home.card.title}.")
    say(f"Send {short(home.path / 'card.json')} to {to}, by any way but over the platform.")
    say(f"Its fingerprint, to be compared by telephone: {home.card.fingerprint}")
    if find_spec("segno") is not None and sys.stdout.isatty():
        import segno

        segno.make(home.card.fingerprint).terminal(compact=True)


def _enrol(path: Path, cards: list[Path], role: Role, *, yes: bool, replace: bool) -> None:
    from fedstyle_secure.errors import PrivacyError
    from fedstyle_secure.sites.cards import Card
    from fedstyle_secure.sites.homes import Home, enrol

    home = Home.open(path, role)
    for file in cards:
        card = Card.load(file)
        say(f"{card.title}: {card.fingerprint}")
        if not yes and not typer.confirm("Is that what its owner reads to you?"):
            raise PrivacyError(f"{file}: the fingerprint was not compared; nothing of it is kept")
        enrol(home, card, replacing=replace)


@contextmanager
def _watched(
    role: str, port: int | None, json_logs: bool
) -> Iterator[tuple[threading.Event, threading.Event, Callable[[str, int], None] | None]]:
    """What stops a part, what says that it is online, and what counts its messages where it is watched."""
    from fedstyle_secure.sites.watch import JsonLines, Tally

    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if json_logs else logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("fedstyle_secure")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    online = threading.Event()
    with _told_to_stop() as stop:
        if port is None:
            yield stop, online, None
            return
        tally = Tally(role, online)
        with tally.served(port):
            yield stop, online, tally.answered


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
