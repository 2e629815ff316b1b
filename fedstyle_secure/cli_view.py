"""The command that opens a page to browse runs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedstyle_secure.terminal import say

if TYPE_CHECKING:
    from fedstyle_secure.view.guard import Keys


def view(
    root: Annotated[Path, typer.Argument(help="The folder that holds the runs.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8766,
    policy: Annotated[
        Path | None,
        typer.Option(help="TOML file that every run is held against.", show_default="none"),
    ] = None,
) -> None:
    """Browse runs, audits and sweeps in a browser on this machine: read-only, until interrupted."""
    from fedstyle_secure.view.serve import serve

    def ready(keys: Keys) -> None:
        say(f"Browse {root} at {keys.address}")
        say("The address is a key to everything in that folder: keep it. Ctrl-C ends the page.")

    # Where an interrupt was to be ignored when this began, nothing is raised for it.
    with suppress(KeyboardInterrupt):
        serve(root, port, policy, ready)
    say("fedstyle: the page has ended", err=True)
