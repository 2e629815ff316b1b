"""The `fedstyle` command. Everything heavy loads inside the commands, so that `--help` stays quick."""

from __future__ import annotations

import itertools
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedstyle_secure.cli_audit import app as audit_app
from fedstyle_secure.cli_audit import reach_of, run_audit, show_audit
from fedstyle_secure.cli_policy import policy_app
from fedstyle_secure.cli_sites import artist_app, doctor, node, opener_app, platform_app
from fedstyle_secure.cli_view import view
from fedstyle_secure.errors import FedStyleError, pasted
from fedstyle_secure.fairness import paired_gain
from fedstyle_secure.privacy.figures import epsilon_told
from fedstyle_secure.processes import exit_on_sigterm
from fedstyle_secure.shipped import file_of
from fedstyle_secure.terminal import (
    AsJson,
    DeviceOption,
    OpenerKey,
    StudiosPath,
    everything_shown,
    heartbeat,
    notices_on,
    print_json,
    say,
    short,
    table,
)

if TYPE_CHECKING:
    from fedstyle_secure.accounts import Account
    from fedstyle_secure.config import Config
    from fedstyle_secure.privacy.ledger import Entry
    from fedstyle_secure.privacy.statement import Line
    from fedstyle_secure.runs import RunFolder
    from fedstyle_secure.systems.style.private import Found
    from fedstyle_secure.systems.style.retrieval import Match
    from fedstyle_secure.systems.style.search import Cards
    from fedstyle_secure.training import Engine, Run

app = typer.Typer(
    help="Train a shared model over artists who never share their pictures.",
    epilog="Exit codes: 0 done, 1 failed, 2 setting or usage, 3 gallery, 4 run, 5 privacy, 6 federation, "
    "7 encrypted sum, 8 audit or report, 9 policy not met, 10 private search, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
gallery_app = typer.Typer(help="Look at the pictures that a run would use.", no_args_is_help=True)
app.add_typer(gallery_app, name="gallery")
app.add_typer(policy_app, name="policy")
app.add_typer(audit_app)
app.add_typer(artist_app, name="artist")
app.add_typer(opener_app, name="opener")
app.add_typer(platform_app, name="platform")
app.command()(node)
app.command()(doctor)
app.command()(view)


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True)
    ] = False,
) -> None:
    """Train a shared model over artists who never share their pictures."""
    if version:
        from fedstyle_secure.version import __version__

        typer.echo(__version__)
        raise typer.Exit


class EngineName(StrEnum):
    """Engines by name."""

    local = "local"
    ray = "ray"


Settings = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeat."),
]
RunConfig = Annotated[
    Path, typer.Argument(help="TOML file of a run, or a preset's name.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Delete a run that is there.")]


@app.command()
def train(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG|RUN",
            help="TOML file, or a preset's name; with --resume a run's folder will do.",
            show_default=False,
        ),
    ],
    settings: Settings = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder.", show_default="runs/NAME OF THE CONFIG")
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="Where Flower's apps run.")] = EngineName.local,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Train a run: public learning, federated rounds, results."""
    from fedstyle_secure.config import Config
    from fedstyle_secure.errors import ConfigError
    from fedstyle_secure.runs import RunFolder

    if resume and RunFolder(config).begun:
        if out is not None and out.resolve() != config.resolve():
            raise ConfigError(
                f"{config} is a run's folder, and --out names another one: leave one of them out"
            )
        loaded, folder = RunFolder(config).config_to_go_on().override(settings or []), config
    else:
        config = file_of(config, "run")
        loaded = Config.load(config, settings or [])
        folder = out or Path(loaded.run.folder or Path("runs") / config.stem)
    _train(loaded, folder, engine.value, resume=resume, force=force, as_json=as_json)


@app.command()
def rehearse(
    config: RunConfig,
    settings: Settings = None,
    draws: Annotated[int, typer.Option(min=1, help="Times that each plan is played.")] = 4,
    as_json: AsJson = False,
) -> None:
    """Play a run on procedural artists before it begins: what private training would be worth."""
    from dataclasses import asdict

    from fedstyle_secure.config import Config
    from fedstyle_secure.errors import ConfigError
    from fedstyle_secure.galleries.opening import open_gallery
    from fedstyle_secure.systems.style.rehearsal import rehearse as play
    from fedstyle_secure.systems.style.settings import StyleConfig

    loaded = Config.load(file_of(config, "run"), settings or [])
    if not isinstance(loaded, StyleConfig):
        raise ConfigError(f"run.system = {loaded.run.system!r} has no rehearsal; style has")
    artists = len(open_gallery(loaded.gallery).artists)
    found = play(loaded, artists, draws, lambda played: None if as_json else say(played.sentence))
    if as_json:
        told = {"plans": [asdict(played) for played in found.plans], "chosen": found.chosen.plan}
        print_json(told | {"settings": found.settings, "artists": found.artists, "pictures": found.pictures})
        return
    table(
        f"{found.artists} procedural artists of {found.pictures} pictures each, {draws} draws of noise",
        ("plan", "own artist first", "gain over cards alone", "standard error"),
        [(p.plan, f"{p.top1:.3f}", f"{p.gain:+.3f}", f"{p.error:.3f}") for p in found.plans],
    )
    say(f"In this run {found.verdict}")


_DEMO = (
    # A platform's own pictures are of few schools, and artists bring more: where private training pays.
    *("gallery.artists=80", "gallery.public_artists=3", "style.practice_artists=0", "run.rounds=4"),
    "audit.record=all",
)


@app.command()
def demo(
    out: Annotated[Path | None, typer.Option(help="The run's folder.", show_default="runs/demo")] = None,
    sites: Annotated[
        bool, typer.Option("--sites", help="Over processes with homes of their own, as over real sites.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Train the embedded gallery with differential privacy, search it, attack it, and report."""
    if sites:
        _demo_over_sites(out or Path("runs/sites"), as_json)
        return
    out = out or Path("runs/demo")
    from fedstyle_secure.audit.runner import Audit
    from fedstyle_secure.audit.settings import AuditSettings
    from fedstyle_secure.config import Config
    from fedstyle_secure.report.formats import report
    from fedstyle_secure.runs import RunFolder
    from fedstyle_secure.training import Run

    config, folder = Config().override(_DEMO), RunFolder(out)
    if folder.finished and not force:
        run = Run.open(out)
        if not as_json:
            say(f"{out} is there already; `--force` trains it again.")
        _show(run, as_json)
    else:
        run = _train(config, out, "local", resume=folder.begun and not force, force=force, as_json=as_json)
    _demo_search(run, as_json)
    if (run.folder.audit_folder / "audit.json").exists():
        found = Audit.open(run.folder)
    else:
        again = pasted("fedstyle", "demo", "--out", out)
        found = run_audit(
            run.folder, AuditSettings(show_pictures=True), force=False, quiet=as_json, again=again
        )
    pages = report(run.folder.path)
    if not as_json:
        show_audit(found)
        say(f"Report: {short(pages[0].absolute())}")


def _demo_over_sites(out: Path, as_json: bool) -> None:
    from fedstyle_secure.report.formats import report
    from fedstyle_secure.sites.demo import play

    run = play(out, lambda text: None if as_json else say(text))
    pages = report(run.folder.path)
    if as_json:
        print_json(run.summary)
        return
    privacy = run.summary["privacy"]
    stated = epsilon_told(privacy["epsilon_artwork_max"])
    say(
        f"{len(privacy['per_artist'])} artists state epsilon {stated} at most; "
        f"{run.summary['secure_sum']['openings']} sums were opened, of all of them together."
    )
    say(f"Report: {short(pages[0].absolute())}")


@app.command()
def search(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|URL", help="A finished run's folder, or a search service.", show_default=False
        ),
    ],
    picture: Annotated[Path, typer.Argument(help="The picture to search with.", show_default=False)],
    top: Annotated[int, typer.Option(min=1, help="How many artists to list.")] = 5,
    private: Annotated[
        bool, typer.Option("--private", help="Under encryption: nobody but you learns what is asked.")
    ] = False,
    encoder: Annotated[
        Path | None, typer.Option(help="Keep a service's encoder in this file, and use it from there.")
    ] = None,
    studios: StudiosPath = None,
    as_json: AsJson = False,
) -> None:
    """Rank the artists of a run by style, nearest first."""
    from fedstyle_secure.errors import ConfigError

    remote = run.startswith(("http://", "https://"))
    if remote and not private:
        raise ConfigError(f"{run}: a service is asked under encryption only; add --private")
    if encoder is not None and not remote:
        raise ConfigError("--encoder keeps the encoder of a service; a run has its own")
    if remote:
        from fedstyle_secure.systems.style.private import search_at

        _show_found(search_at(run, picture, top, encoder), picture, as_json)
        return
    from fedstyle_secure.runs import RunFolder

    folder = RunFolder(Path(run))
    if private:
        from fedstyle_secure.systems.style.private import search_here

        found = search_here(folder, picture, top, studios)
        _say_of_cards(folder, studios)
        _show_found(found, picture, as_json)
        return
    from fedstyle_secure.systems.style import search as style

    matches = style.search(folder, picture, top, studios)
    _say_of_cards(folder, studios)
    if as_json:
        print_json(_match_rows(matches))
        return
    _show_matches(matches, picture)


def _show_found(found: Found, picture: Path, as_json: bool) -> None:
    from dataclasses import asdict

    if found.note:
        say(found.note, err=True)
    if as_json:
        print_json(asdict(found) | {"matches": _match_rows(found.matches)})
        return
    _show_matches(found.matches, picture)
    theirs = "" if found.platform_s is None else f", {found.platform_s:.3f} s of the platform's"
    say(
        f"Asked under encryption: {found.up} bytes up, {found.down} down; {found.buyer_s:.3f} s of the "
        f"buyer's processor{theirs}."
    )


def _say_of_cards(run: RunFolder, studios: Path | None) -> None:
    from fedstyle_secure.systems.style.search import served_cards

    for note in (_canary_note(run.summary()), *_unlisted(served_cards(run, studios))):
        if note:
            say(note, err=True)


def _match_rows(matches: Sequence[Match]) -> list[dict[str, Any]]:
    return [{"rank": m.rank, "artist": m.artist, "score": m.score} for m in matches]


def _show_matches(matches: Sequence[Match], picture: Path) -> None:
    table(
        f"Artists nearest in style to {picture.name}",
        ("rank", "artist", "cosine"),
        [(str(m.rank), m.artist, f"{m.score:+.3f}") for m in matches],
    )


@app.command()
def search_service(
    run: Annotated[Path, typer.Argument(help="A finished run's folder.", show_default=False)],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8765,
    queries: Annotated[int, typer.Option(min=1, help="Queries that an address may ask a minute.")] = 30,
    studios: StudiosPath = None,
) -> None:
    """Serve `fedstyle search URL PICTURE --private` until interrupted; it cannot read what is asked."""
    from fedstyle_secure.private_search.service import SearchServer
    from fedstyle_secure.private_search.shelf import Shelf
    from fedstyle_secure.runs import RunFolder
    from fedstyle_secure.systems.style.private import offer

    folder = RunFolder(run)
    note = _canary_note(folder.summary())
    shelf = Shelf(lambda: offer(folder, studios, note))
    found = len(shelf.now().catalogue.names)
    _say_of_cards(folder, studios)
    with SearchServer(shelf, host, port, queries) as server:
        say(f"{found} artists can be searched at {server.url}; who withdraws is gone from it in a minute.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("fedstyle: the service has ended", err=True)


@app.command()
def read(
    run: Annotated[Path, typer.Argument(help="A finished run of text recognition.", show_default=False)],
    pictures: Annotated[list[Path], typer.Argument(help="Crops of one word each.", show_default=False)],
    artist: Annotated[str | None, typer.Option(help="By this artist's own recogniser.")] = None,
    studios: StudiosPath = None,
    as_json: AsJson = False,
) -> None:
    """Read lettering: the text of each crop and how sure the recogniser is, a line each."""
    from fedstyle_secure.runs import RunFolder
    from fedstyle_secure.systems.text.reading import Reader

    guesses = Reader.of(RunFolder(run), artist, studios).read_files(pictures)
    if as_json:
        rows = zip(pictures, guesses, strict=True)
        print_json([{"picture": str(p), "text": g.text, "confidence": g.confidence} for p, g in rows])
        return
    for picture, guess in zip(pictures, guesses, strict=True):
        say(f"{guess.text or '-'}  {guess.confidence:.2f}  {short(picture)}")


@app.command()
def personalise(
    run: Annotated[Path, typer.Argument(help="A finished run of text recognition.", show_default=False)],
    artist: Annotated[str, typer.Argument(help="For whom.", show_default=False)],
    studios: StudiosPath = None,
    device: DeviceOption = None,
) -> None:
    """Train the shared recogniser on for one artist, on that artist's machine, where it stays."""
    from fedstyle_secure.runs import RunFolder
    from fedstyle_secure.systems.text.personal import personalise as train_on

    path = train_on(RunFolder(run), artist, studios, device)
    say(f"{artist}'s own recogniser lies in {short(path)} and costs no privacy, as it leaves nobody.")
    say(f"  fedstyle read {short(run)} --artist {artist} CROP.png")


@app.command()
def adapt(
    run: Annotated[Path, typer.Argument(help="A finished run of private AI art.", show_default=False)],
    artist: Annotated[str, typer.Option("--artist", help="Whose works.", show_default=False)],
    studios: StudiosPath = None,
    device: DeviceOption = None,
) -> None:
    """Train an artist's own adapter of a finished run, on that artist's machine, where it stays."""
    from fedstyle_secure.runs import RunFolder
    from fedstyle_secure.systems.art.adapters import adapt as learn

    path = learn(RunFolder(run), artist, studios, device)
    say(f"{artist}'s own adapter lies in {short(path)} and costs no privacy while it stays there.")
    say(f"  fedstyle generate {short(run)} --artist {artist} --out sheet.png")


@app.command()
def generate(
    run: Annotated[Path, typer.Argument(help="A finished run of private AI art.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The PNG to write.", show_default=False)],
    artist: Annotated[str, typer.Option("--artist", help="Draw with this artist's own adapter too.")] = "",
    condition: Annotated[str, typer.Option("--condition", help="One of the backbone's names.")] = "",
    number: Annotated[int, typer.Option("-n", help="Pictures.")] = 16,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same pictures.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", help="Of the solver.", show_default=False)] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="How much more as asked.", show_default=False)
    ] = None,
    studios: StudiosPath = None,
    device: DeviceOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Draw a sheet of pictures, with an artist's adapter beside the shared model without it."""
    from fedstyle_secure.runs import RunFolder
    from fedstyle_secure.systems.art.drawing import generate as draw
    from fedstyle_secure.systems.art.drawing import require_free, save_sheet

    require_free(out, force=force)
    sheet = draw(
        RunFolder(run), number, seed, artist=artist, condition=condition, steps=steps, guidance=guidance,
        studios=studios, device=device,
    )  # fmt: skip
    save_sheet(sheet, out, force=force)
    say(f"{number} pictures {'of each model ' if artist else ''}lie in {short(out)}.")


@app.command()
def influence(
    run: Annotated[Path, typer.Argument(help="A finished run of private AI art.", show_default=False)],
    picture: Annotated[
        Path | None, typer.Option("--picture", help="A drawn picture: which works it is nearest to.")
    ] = None,
    artist: Annotated[
        str, typer.Option("--artist", help="Look through this artist's own works too, on its machine.")
    ] = "",
    without: Annotated[
        list[str] | None,
        typer.Option("--without", help="Experimenter's: play the run again without this artist."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what may have influenced a model, or a picture that it drew: bounds, and what is measured."""
    from dataclasses import asdict

    from fedstyle_secure.runs import RunFolder
    from fedstyle_secure.systems.art.influence import bound, left_out, nearest

    folder = RunFolder(run)
    told = bound(folder)
    near = [] if picture is None else nearest(folder, picture, artist)
    moved = left_out(folder, without) if without else []
    if as_json:
        print_json(
            {"bound": told, "nearest": [asdict(n) for n in near], "without": [asdict(m) for m in moved]}
        )
        return
    say(told)
    if near:
        rows = [
            (n.artist, n.name, f"{n.distance:.3f}", "-" if n.as_near is None else f"{n.as_near:.2f}")
            for n in near
        ]
        table("Nearest works", ("artist", "work", "distance", "others as near"), rows)
        say(
            "A work nearer than all held-out ones (0.00), or where nothing is held out than works lie to one "
            "another, may have been copied; others only look alike."
        )
    if moved:
        rows = [(m.artist, f"{m.without:.2e}", f"{m.again:.2e}", f"{m.training:.2e}") for m in moved]
        heads = ("left out", "without it", "noise alone", "all training")
        table("Change of predictions of the public set", heads, rows)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A finished run of text recognition.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Crops with a labels.csv or a gt.txt.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Read crops whose texts are known, and count: word accuracy, character error rate, 1-NED."""
    from fedstyle_secure.runs import RunFolder
    from fedstyle_secure.systems.text.reading import Reader
    from fedstyle_secure.systems.text.reading import evaluate as score

    found = score(Reader.of(RunFolder(run)), folder)
    if as_json:
        print_json(found.to_dict())
        return
    rows = [
        (what, str(r.words), f"{r.word_accuracy:.3f}", f"{r.cer:.3f}", f"{r.ned:.3f}")
        for what, r in (("a-z, 0-9, any case", found.alphanumeric), ("every letter", found.exact))
    ]
    table(f"Read: {short(folder)}", ("counted", "words", "word accuracy", "CER", "1-NED"), rows)
    say(
        f"Word accuracy {found.low:.3f} to {found.high:.3f}, CER {found.cer_low:.3f} to {found.cer_high:.3f} "
        "with confidence 0.95, by the first line's count."
    )
    for row in found.left_out:
        say(f"left out: {row.name}: {row.reason}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A finished run of text recognition.", show_default=False)],
    model: Annotated[Path, typer.Argument(help="The ONNX file to write.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the recogniser of a run as ONNX, to read text in other programs; needs the extra `onnx`."""
    from fedstyle_secure.runs import RunFolder
    from fedstyle_secure.systems.text.export import export as write
    from fedstyle_secure.systems.text.reading import Reader

    reader = Reader.of(RunFolder(run))
    size = write(reader, model, force=force)
    if as_json:
        print_json({"model": str(model), "bytes": size, "charset": reader.system.charset.letters})
        return
    say(f"{short(model.absolute())}: {size / 1e6:.2f} MB; its scores were checked against torch's.")
    say("Its metadata_props tell the charset, what to do to a picture before, and how scores become text.")


@app.command()
def rivals(
    config: RunConfig,
    settings: Settings = None,
    out: Annotated[Path, typer.Option(help="Where tables and plots go.")] = Path("runs/rivals"),
    draws: Annotated[int, typer.Option(min=1, help="Draws of noise, or seeds without privacy.")] = 8,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a comparison that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare style search with rivals on the same gallery and budget; each is tuned on public artists."""
    from rich.console import Console

    from fedstyle_secure.config import Config
    from fedstyle_secure.systems.style.rivals import results
    from fedstyle_secure.systems.style.rivals.compare import compare
    from fedstyle_secure.systems.style.rivals.plot import draw

    loaded = Config.load(file_of(config, "run"), settings or [])
    results.require_free(out, force=force)
    # Before minutes of work, not after them, it is known that the folder can be written.
    out.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True, quiet=as_json)
    with notices_on(console), console.status("rivals") as status:
        rows = compare(loaded, draws, status.update)
    results.write(rows, out)
    draw(rows, out)
    if as_json:
        print_json([results.flat(row) for row in rows])
        return
    table("FedStyle and its rivals", results.FOUND, [results.found_cells(row) for row in rows])
    table("What an artist gives away", results.GIVEN, [results.given_cells(row) for row in rows])
    for row in rows:
        if row.chosen:
            say(f"{row.method}: {results.chosen(row)}")
    say(f"{results.NOTE} {results.LEAKS}")
    say(f"Tables and plots: {short(out.absolute())}")


@app.command()
def runs(
    root: Annotated[Path, typer.Argument(help="The folder that holds the runs.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List runs with their utility and epsilon."""
    from fedstyle_secure.runs import list_runs

    rows = []
    for folder in list_runs(root):
        summary = folder.summary() if folder.finished else {}
        rows.append(
            {
                "run": str(folder.path),
                "state": folder.state,
                **_judged_by(summary),
                "epsilon_artwork_max": summary.get("privacy", {}).get("epsilon_artwork_max"),
                "epsilon_artist_max": summary.get("privacy", {}).get("epsilon_artist_max"),
            }
        )
    if as_json:
        print_json(rows)
        return
    if not rows:
        say(f"No runs in {root}. `fedstyle demo` makes one.")
        return
    table(
        f"Runs in {root}",
        ("run", "state", "figure", "value", "epsilon per artwork", "per artist"),
        [
            (
                r["run"],
                r["state"],
                r["figure"] or "-",
                _number(r["value"]),
                epsilon_told(r["epsilon_artwork_max"]) if r["state"] == "finished" else "-",
                epsilon_told(r["epsilon_artist_max"]) if r["state"] == "finished" else "-",
            )
            for r in rows
        ],
    )


@app.command()
def ledger(
    run: Annotated[Path, typer.Argument(help="A run's folder.", show_default=False)],
    artist: Annotated[str | None, typer.Option(help="Only this artist, a line a release.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="A table an artist too, not only the summary.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Write every release to this CSV file too.")] = None,
    studios: StudiosPath = None,
    as_json: AsJson = False,
) -> None:
    """Print what the artists of a run have given away, over everything that ever left."""
    from fedstyle_secure.accounts import accounts, write_csv
    from fedstyle_secure.runs import RunFolder

    each = artist is not None or as_json or csv is not None
    found = accounts(RunFolder(run), artist, each=each, studios=studios)
    if csv is not None:
        write_csv(csv, found)
    if as_json:
        print_json([account.to_dict() for account in found])
        return
    if csv is not None:
        say(f"{sum(len(account.lines) for account in found)} releases written to {csv}")
        return
    if artist is None:
        _show_accounts(found, run)
    if artist is None and not every:
        return
    for account in found:
        _show_account(account)
    say(
        f"Epsilon at delta {found[0].delta:g} per {found[0].unit}, add or remove one. RDP and PRV/PLD: the "
        "line's releases alone, by two accountants (- where the second knows no such mechanism); total: "
        "everything up to there, by the tighter one that knows it all (epsilons do not add up). "
        "z: noise multiplier, C: clip norm, q: sampling rate, a: parameter of "
        "discrete Laplace noise, m: honest shares of noise."
    )


@app.command()
def verify(
    path: Annotated[
        Path, typer.Argument(metavar="RUN|PAGE", help="A run's folder, or a report.html.", show_default=False)
    ],
    opener: OpenerKey = None,
    studios: StudiosPath = None,
    as_json: AsJson = False,
) -> None:
    """Check offline that a run's files and openings, or a report's page, are as they were written."""
    from fedstyle_secure.audit.integrity import check_finished
    from fedstyle_secure.runs import RunFolder
    from fedstyle_secure.transcripts import check

    if path.is_file():
        _verify_page(path, as_json)
        return
    folder = RunFolder(path)
    signed = check(folder, opener, studios) if opener or folder.config().secure_sum.enabled else None
    problems = signed.problems if signed else []
    whole = check_finished(folder, opener, studios) if folder.finished and not problems else None
    planted = folder.manifest().get("audit", {}).get("canaries", {}).get("number", 0)
    if as_json:
        print_json(
            {
                "files": len(whole.sums) if whole else None,
                "openings": len(signed.manifests) if signed else None,
                "opener": signed.opener if signed else None,
                "opener_by": signed.source if signed else None,
                "own_ledgers": len(whole.own) if whole else None,
                "artists": whole.artists if whole else None,
                "problems": problems,
                "canaries": planted,
            }
        )
    else:
        for problem in problems:
            say(problem)
        if signed:
            say(
                f"{'FAIL' if problems else 'PASS'}: openings {len(signed.manifests)}, problems "
                f"{len(problems)}, checked against the key {signed.opener}."
            )
            if signed.source != "named":
                where = "the run itself" if signed.source == "run" else "its studios"
                say(f"That key came from {where}; ask the opener for it, and pass it with --opener.")
            say(
                "Each opening is a line of transcript.jsonl: manifest, cohort, digests, styles kept; a "
                "finished run's last line signs for every file of it."
            )
        if whole is not None:
            say(
                f"PASS: {len(whole.sums)} files are as SHA256SUMS says, and say what the settings make of "
                f"them; {len(whole.own)} of {whole.artists} artists' own ledgers were compared."
            )
            if not signed:
                say("Who can write the folder can write SHA256SUMS anew: keep its hash elsewhere.")
        elif not problems:
            say("The run is not finished, so its other files were not checked.")
        if note := _canary_note(folder.manifest()):
            say(note)
    if problems:
        raise typer.Exit(7)


def _verify_page(path: Path, as_json: bool) -> None:
    from fedstyle_secure.report.page.selfhash import verify_page

    digest = verify_page(path)
    if as_json:
        print_json({"self_hash": digest})
    else:
        say(f"PASS: the page has the hash that it states: {digest}")
        say("Who can write the page can write its hash anew: compare it with one that was kept elsewhere.")


@app.command()
def withdraw(
    run: Annotated[Path, typer.Argument(help="A run's folder.", show_default=False)],
    artist: Annotated[str, typer.Argument(help="Who withdraws.", show_default=False)],
    studios: StudiosPath = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw an artist: nothing of its portfolio is released any more, and no search lists it."""
    from fedstyle_secure.accounts import withdraw as write
    from fedstyle_secure.runs import RunFolder

    done = write(RunFolder(run), artist, studios)
    if as_json:
        print_json({"artist": done.artist, "withdrawn": done.at, "ledger": str(done.ledger)})
        return
    say(f"{artist} has withdrawn, at {done.at}, for every run on its portfolio. Its ledger says so:")
    say(f"  {short(done.ledger)}")
    say(
        "No search lists it any more, reports say so, and a run that goes on drops its card in the next "
        "round. What was released before cannot be called back: an encoder keeps what it learned, and "
        "product.safetensors of a finished run the card; do not pass it on."
    )


class PurposeName(StrEnum):
    """What works could be used for, in CAWG's words."""

    ai_training = "ai_training"
    ai_generative_training = "ai_generative_training"
    data_mining = "data_mining"
    ai_inference = "ai_inference"


@app.command()
def consent(
    folder: Annotated[Path, typer.Argument(help="An artist's folder, or a gallery.", show_default=False)],
    purpose: Annotated[PurposeName, typer.Option(help="For which use.")] = PurposeName.ai_generative_training,
    as_json: AsJson = False,
) -> None:
    """Show which works may be used for a purpose, and who says so: consent.toml, tdmrep.json, the picture."""
    from dataclasses import asdict

    from fedstyle_secure.galleries.consented import review

    found = review(folder, purpose.value)
    if as_json:
        print_json([asdict(one) | {"allowed": one.refused is None} for one in found])
        return
    for one in found:
        verdict = "allowed" if one.refused is None else f"refused: {one.refused.reason}"
        say(f"{one.name}  {verdict}")
        for voice in one.said:
            say(f"    {voice.way}: {voice.reason}")
    allowed = sum(one.refused is None for one in found)
    say(f"{allowed} of {len(found)} works may be used for {purpose.value}.")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")] = Path(),
    preset: Annotated[
        str, typer.Option(help="Of a run: dp_he, folder, plain, text_dp, art_dp ...")
    ] = "dp_he",
    as_json: AsJson = False,
) -> None:
    """Begin a folder: a configuration, a policy, a .gitignore, a README."""
    from fedstyle_secure.starting import OFFERED, needs_pictures, start

    written = start(folder, preset)
    if as_json:
        print_json({"preset": preset, "written": [str(path) for path in written]})
        return
    for path in written:
        say(f"{short(path.absolute())}")
    for name, what in OFFERED.items():
        say(f"{'*' if name == preset else ' '} --preset {name}: {what}")
    say(f"Next, in that folder (`cd {short(folder.absolute())}`), as its README.md says:")
    if needs_pictures(written[0]):
        say("  put pictures into pictures/, one folder an artist, and name some in gallery.public")
    say("  fedstyle gallery show config.toml")
    say("  fedstyle train config.toml")


@app.command()
def settings(
    prefix: Annotated[
        str, typer.Argument(help="Only a section, or what begins so or has this word.", show_default="all")
    ] = "",
    start: Annotated[bool, typer.Option("--start", help="Only the few that most people need.")] = False,
    system: Annotated[str | None, typer.Option(help="Of this system in place of the default one.")] = None,
    as_json: AsJson = False,
) -> None:
    """List every setting with its default and what it may be."""
    from fedstyle_secure.config import Config
    from fedstyle_secure.starting import START, chosen

    rows = (Config if system is None else Config.of_system(system)).describe()
    if start:
        known = {row["key"]: row for row in rows}
        rows = [known[k] | {"help": f"{known[k]['help']} {said}"} for k, said in START.items() if k in known]
    rows = chosen(rows, prefix)
    if as_json:
        print_json(rows)
        return
    table(
        "Settings",
        ("setting", "default", "allowed", "what it does"),
        [(r["key"], str(r["default"]), r["allowed"], r["help"]) for r in rows],
    )
    if not prefix and not start:
        say("Most people need few: `fedstyle settings --start`; `fedstyle settings privacy` lists a section.")


@gallery_app.command("show")
def gallery_show(
    config: Annotated[
        Path | None,
        typer.Argument(help="TOML file of a run, or a preset's name.", show_default="the embedded gallery"),
    ] = None,
    settings: Settings = None,
    out: Annotated[Path, typer.Option(help="Where the contact sheet goes.")] = Path("gallery.png"),
    columns: Annotated[int, typer.Option(min=1, max=60, help="Pictures a row.")] = 12,
    as_json: AsJson = False,
) -> None:
    """Write a contact sheet (a row an artist) and print counts and what was left out."""
    from dataclasses import asdict

    from fedstyle_secure.audit.reach import reach
    from fedstyle_secure.audit.settings import AuditSettings
    from fedstyle_secure.config import Config
    from fedstyle_secure.errors import ConfigError
    from fedstyle_secure.galleries.checks import survey
    from fedstyle_secure.galleries.opening import open_gallery
    from fedstyle_secure.galleries.sheet import contact_sheet
    from fedstyle_secure.system import system_bound

    start = Config.load(file_of(config, "run")) if config else Config()
    loaded = start.override(settings or [])
    gallery = open_gallery(loaded.gallery)
    found = survey(gallery, loaded.gallery.on_bad)
    names = (*gallery.artists, *gallery.public_artists)
    out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet([gallery.portfolio(name) for name in names], columns=columns).save(out, format="PNG")
    system = system_bound(loaded)
    works = [(a.train, a.test) for a in found.artists if not a.public]
    could = reach(works, AuditSettings(), dear=system.dear)
    if as_json:
        print_json(found.to_dict() | {"sheet": str(out), "audit": could and asdict(could)})
        return
    table(
        "Gallery",
        ("artist", "owner", "train", "test"),
        [(a.artist, "platform" if a.public else "artist", str(a.train), str(a.test)) for a in found.artists],
    )
    for item in found.skipped:
        say(f"left out: {item.artist}: {item.name + ': ' if item.name else ''}{item.reason}")
    for one in found.refused:
        say(f"refused: {one.artist}: {one.name}: {one.reason}")
    for pair in found.shared:
        say(f"shared: {pair.name} of {pair.artist} is also {pair.also_name} of {pair.also_artist}")
    for line in could.lines() if could else ():
        say(line)
    try:
        system.require_learnable()
    except ConfigError as error:
        say(f"A run of {loaded.run.system} would be refused: {error}")
    say(f"Contact sheet: {out} (a dot marks pictures that are held out for testing)")


def main() -> None:
    """Entry point of the `fedstyle` script: one line for an error a person can act on, and its code."""
    with exit_on_sigterm(), everything_shown():
        try:
            app()
        except FedStyleError as error:
            say(f"fedstyle: {error}", err=True)
            raise SystemExit(error.exit_code) from None
        except BrokenPipeError:
            raise SystemExit(0) from None
        except OSError as error:
            say(f"fedstyle: {error.filename or 'output'}: {error.strerror or error}", err=True)
            raise SystemExit(1) from None
        except MemoryError:
            say("fedstyle: out of memory", err=True)
            raise SystemExit(1) from None


def _train(config: Config, out: Path, engine: Engine, *, resume: bool, force: bool, as_json: bool) -> Run:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from fedstyle_secure.registry import words_named
    from fedstyle_secure.training import train

    console = Console(stderr=True, quiet=as_json)
    if config.privacy.dp == "off":
        console.print(
            "[bold red]privacy.dp = off: releases have no noise, so nothing bounds what they give away.[/]"
        )
    elif config.privacy.noise_multiplier == 0:
        console.print("[bold red]privacy.noise_multiplier = 0: clipping without noise protects nobody.[/]")
    elif config.privacy.noise_multiplier != "auto":
        console.print("[bold]privacy.noise_multiplier is set, so privacy.target_epsilon is not used.[/]")
    if config.audit.canaries and config.audit.record == ("none",):
        console.print("[bold]audit.record = none: nothing will be kept to look for canaries in.[/]")
    words = words_named(config.run.system)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    pulse = heartbeat(console)
    pulse.beat("learning from the public set")
    with notices_on(console), Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("learning from the public set", total=None)

        def on_round(line: dict[str, Any], rounds: int) -> None:
            headline = words.headline(line)
            note = "" if headline is None else f", {headline.key} {line[headline.key]:.2f}"
            done = line["round"] + 1
            pulse.beat(f"round {done} of {rounds}{note}", last=done == rounds)
            progress.update(task, description=f"rounds{note}", total=rounds, completed=done)

        try:
            run = train(config, out, engine, resume=resume, force=force, on_round=on_round)
        except KeyboardInterrupt:
            progress.stop()
            again = ("--engine", engine) if engine != "local" else ()
            how = pasted("fedstyle", "train", "--resume", short(out.absolute()), *again)
            print(f"fedstyle: interrupted; this goes on with it:\n  {how}", file=sys.stderr)
            raise SystemExit(130) from None
    _show(run, as_json)
    return run


def _show(run: Run, as_json: bool) -> None:
    if as_json:
        print_json(run.summary | {"run": str(run.folder.path)})
        return
    found, privacy, time = run.summary["utility"], run.summary["privacy"], run.summary["time"]
    from fedstyle_secure.registry import words_named

    words = words_named(run.summary["system"])
    rows = [
        (f"utility.{one.key}", _figure(found[one.key]), one.told)
        for one in words.figures
        if found.get(one.key) is not None
    ]
    delta = f"delta {privacy['delta']:g}"
    rows += [
        (
            "privacy.epsilon_artwork_max",
            epsilon_told(privacy["epsilon_artwork_max"]),
            f"per artwork, add or remove one, {delta}, all releases",
        ),
        (
            "privacy.epsilon_artist_max",
            epsilon_told(privacy["epsilon_artist_max"]),
            f"per artist, add or remove a portfolio, {delta}, all releases",
        ),
        ("time.wall_s", f"{time['wall_s']:.1f}", "seconds"),
    ]
    table("Run", ("what", "value", "in words"), rows)
    headline = words.headline(found)
    if words.headlines and headline is not words.headlines[0]:
        say(words.headlines[0].missing)
    if privacy["unit"] == "artist" and privacy["epsilon_artwork_max"] is not None:
        say(
            "The run was calibrated per artist. Its figure per artwork is larger, as an artwork that comes "
            "or goes changes its artist's vector: charged as one vector removed and another one added."
        )
    if privacy["unit"] == "artist" and not run.summary["secure_sum"]["enabled"]:
        say(
            "secure_sum.enabled is false: the platform sees every artist's share, which by itself has next "
            "to no noise. There is no figure for such a run."
        )
    if note := _before(run):
        say(note)
    start = found.get(headline.start) if headline is not None else None
    if headline is not None and start is not None:
        gain = paired_gain(found.get("fairness"))
        error = f" (by artist {gain[0]:+.3f} ± {gain[1]:.3f})" if gain else ""
        after = found[headline.key]
        say(f"{_helped(gain)}: {headline.key} is {after:.3f} after it and was {start:.3f} before{error}.")
        kept = [line["update_kept"] for line in run.folder.metrics() if line["update_kept"] is not None]
        if kept and max(kept) < 0.1:
            say(f"The updates' noise hides their signal: at most {max(kept):.0%} of an update was kept.")
    if note := _canary_note(run.summary):
        say(note)
    if (could := reach_of(run.folder)) is not None:
        say(
            f"An audit of it would hold {could.members} works that trained against {could.non_members} held "
            f"out: {could.membership}."
        )
    say(f"The run lies in {short(run.folder.path)}")


def _helped(gain: tuple[float, float] | None) -> str:
    """Whether private training helped, as far as its artists can show: beyond two standard errors."""
    if gain is None or abs(gain[0]) <= 2 * gain[1]:
        return "Private training made no difference that so few artists can show"
    return "Private training helped" if gain[0] > 0 else "Private training did harm"


def _before(run: Run) -> str:
    """What artists had released before a run, with what that leaves of its guarantee; "" where none had."""
    privacy = run.summary["privacy"]
    unit, rows = privacy["unit"], privacy["per_artist"]
    earlier = [row for row in rows if row[f"lifetime_epsilon_{unit}"] != row[f"epsilon_{unit}"]]
    if not earlier:
        return ""
    told = f"{len(earlier)} artists had released something before this run: over everything, "
    values = [row[f"lifetime_epsilon_{unit}"] for row in earlier]
    more = f" (`{pasted('fedstyle', 'ledger', short(run.folder.path))}`)."
    if None not in values:
        return told + f"epsilon per {unit} is up to {epsilon_told(max(values))}" + more
    from fedstyle_secure.accounts import released
    from fedstyle_secure.privacy.statement import unguarded

    bare = earlier[values.index(None)]["artist"]
    why = unguarded(released(run.folder, bare), unit)
    return told + f"there is no guarantee per {unit}, as of {bare} {why}" + more


def _canary_note(told: dict[str, Any]) -> str:
    """What a summary or manifest says of planted canaries, as a sentence; "" where there are none."""
    canaries = told.get("audit", {}).get("canaries", {})
    if not canaries.get("number"):
        return ""
    return (
        f"This run holds canaries: {canaries['number']} of the kind {canaries['kind']} were planted for an "
        "audit, each in with probability one half. Its model is not of the artists' works alone."
    )


def _unlisted(cards: Cards) -> Iterator[str]:
    """Whom a search leaves out, and what it could not ask, as sentences."""
    if cards.withdrawn:
        gone = ", ".join(f"{artist} (at {at})" for artist, at in cards.withdrawn.items())
        yield f"Withdrew, and is not listed: {gone}."
    if cards.unknown:
        yield f"Not listed, as its own ledger is missing or damaged: {', '.join(cards.unknown)}."
    if not cards.checked:
        yield "The artists' own ledgers are not here, so who has withdrawn since this run ended is not known."


def _show_accounts(found: Sequence[Account], run: Path) -> None:
    """A row an artist, and all of them together."""
    budget = any(math.isfinite(account.left) for account in found)
    head = ("artist", "releases", "epsilon per artwork", "per artist", *("left of budget",) * budget, "")
    rows = [
        (
            account.artist,
            str(len(account.entries)),
            *(epsilon_told(value) for value in account.spent.values()),
            *(f"{account.left:.2f}",) * budget,
            _state(account),
        )
        for account in found
    ]
    table(f"What the artists of {short(run)} have given away", head, rows)
    worst = {unit: max(account.spent[unit] for account in found) for unit in found[0].spent}
    over = "over everything" if all(account.lifetime for account in found) else "in this run"
    say(
        f"{len(found)} artists, {sum(len(account.entries) for account in found)} releases; {over} at most "
        + ", ".join(f"{epsilon_told(value)} per {unit}" for unit, value in worst.items())
        + f" at delta {found[0].delta:g}, add or remove one."
    )
    for unit in found[0].spent:
        if whose := [account for account in found if account.why_none(unit)]:
            say(
                f"No guarantee per {unit} for {len(whose)} of them: of {whose[0].artist}, "
                f"{whose[0].why_none(unit)}."
            )
    more = pasted("fedstyle", "ledger", short(run), "--artist", found[0].artist)
    say(f"Release by release: `{more}`, or --all")


def _state(account: Account) -> str:
    if account.withdrawn:
        return f"withdrew at {account.withdrawn}"
    return "" if account.live else "as the run left it"


def _show_account(account: Account) -> None:
    head = ("rounds", "release", "noise", "RDP", "PRV/PLD", "total")
    for run, group in itertools.groupby(account.lines, key=lambda line: line.entries[0].run):
        lines = list(group)
        began = lines[0].entries[0].at[:16].replace("T", " ")
        table(f"{account.artist}, run {run[:8]} of {began} UTC", head, [_ledger_row(line) for line in lines])
    spent = ", ".join(f"{epsilon_told(value)} per {unit}" for unit, value in account.spent.items())
    left = "no budget set" if math.isinf(account.left) else f"{account.left:.2f} left of its budget"
    whole = "lifetime epsilon" if account.lifetime else "epsilon of this run"
    say(f"{account.artist}: {whole} {spent}; {left}")
    if why := account.why_none(account.unit):
        say(f"{account.artist}: no guarantee per {account.unit}, as {why}")
    if account.withdrawn:
        say(f"{account.artist} withdrew at {account.withdrawn}")
    if not account.live:
        say(f"{account.artist}: as the run left it; the artist's own ledger is not beside this run")
    say("")


def _ledger_row(line: Line) -> tuple[str, ...]:
    first, last = line.entries[0], line.entries[-1]
    return (
        f"{first.round}" if first.round == last.round else f"{first.round}-{last.round}",
        first.kind if len(line.entries) == 1 else f"{first.kind} x{len(line.entries)}",
        _noise(first),
        epsilon_told(line.rdp, "-"),
        epsilon_told(line.grid, "-"),
        epsilon_told(line.total, "-"),
    )


def _noise(entry: Entry) -> str:
    """The parameters of a mechanism that decide its cost, short."""
    inner = entry.parameters.get("noise")
    values = dict(entry.parameters) | (inner if isinstance(inner, dict) else {})
    names = {"noise_multiplier": "z", "clip_norm": "C", "sampling_rate": "q", "parameter": "a", "honest": "m"}
    return " ".join(f"{short}={_plain(values[key])}" for key, short in names.items() if key in values)


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _demo_search(run: Run, as_json: bool) -> None:
    """Write a test picture of each artist into the run's folder and show how to search with them."""
    from PIL import Image

    from fedstyle_secure.galleries.opening import open_gallery

    gallery = open_gallery(run.folder.config().gallery)
    folder = run.folder.path / "test_pictures"
    folder.mkdir(exist_ok=True)
    for artist in gallery.artists:
        Image.fromarray(gallery.portfolio(artist).test_pictures[0]).save(folder / f"{artist}.png")
    if not as_json:
        example = folder / f"{gallery.artists[0]}.png"
        say("Search it with a picture that it has never seen:")
        program = "fedstyle" if shutil.which("fedstyle") else short(Path(sys.argv[0]).absolute())
        say(f"  {program} search {short(run.folder.path)} {short(example)}")


def _judged_by(summary: dict[str, Any]) -> dict[str, Any]:
    """The figure that a finished run is judged by, and its value."""
    from fedstyle_secure.registry import words_named

    headline = words_named(summary["system"]).headline(summary["utility"]) if "system" in summary else None
    if headline is None:
        return {"figure": None, "value": None}
    return {"figure": headline.key, "value": summary["utility"][headline.key]}


def _figure(value: float | int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
