"""The commands on an artist's own policy: see it, and hear before a run what of it would be declined."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedstyle_secure.errors import PolicyError
from fedstyle_secure.shipped import file_of
from fedstyle_secure.terminal import AsJson, print_json, say

policy_app = typer.Typer(
    help="An artist's own policy.toml, which no run can loosen. (`check RUN` holds a finished run against "
    "somebody else's.)",
    no_args_is_help=True,
)


@policy_app.command("check")
def policy_check(
    config: Annotated[
        Path, typer.Argument(help="TOML file of a run, or a preset's name.", show_default=False)
    ],
    policy: Annotated[Path, typer.Option(help="The artist's policy.toml.", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Option("-s", "--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeat."),
    ] = None,
    artists: Annotated[
        int | None, typer.Option(min=1, help="Artists of the run.", show_default="the gallery's")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="The artist's ledger.jsonl, to count what was released before.",
            show_default="none",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say before a run what of it a policy would decline, and what it would tighten; exit code 9 if it would
    decline anything."""
    from fedstyle_secure.config import Config
    from fedstyle_secure.galleries.canaries import roster
    from fedstyle_secure.galleries.opening import open_gallery
    from fedstyle_secure.sites.meeting import foresee
    from fedstyle_secure.sites.policy import Policy
    from fedstyle_secure.system import plan_of

    own, loaded = Policy.load(policy), Config.load(file_of(config, "run"), settings or [])
    count = len(roster(loaded, open_gallery(loaded.gallery))) if artists is None else artists
    found = foresee(own, loaded, plan_of(loaded, count), ledger)
    if as_json:
        told = [{"reason": int(d.reason), "key": d.key, "text": d.text} for d in found.declined]
        print_json({"policy": own.digest(), "declined": told, "tightened": list(found.tightened)})
    else:
        for one in found.declined:
            say(f"declined: {one}")
        for key in found.tightened:
            say(f"tightened: {key}")
    if found.declined:
        raise PolicyError(f"{policy}: would decline this run, for {len(found.declined)} reasons")
    if not as_json:
        say("Nothing of this run would be declined.")


@policy_app.command("template")
def policy_template() -> None:
    """Print a policy.toml to begin with, every key with what it does."""
    from fedstyle_secure.sites.policy import template

    typer.echo(template(), nl=False)
