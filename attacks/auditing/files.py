"""An audit as a folder: plain JSON that other programs judge, a figure, and the pages that a reporter makes.

    audit.json       what was audited, its checks, the claim, and the hash of every other file
    findings.json    a row a figure
    roc.png, .svg    the curves

Packages offer pages through an entry point of the group `attacks.pages`: a function of the folder that writes
its pages there and returns their paths. fedstyle_secure offers the pages of its runs' reports.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from attacks.auditing.findings import Check, Claim, Row
from attacks.plots import AttackScores, Limits, roc_figure, write_figure

FORMAT = 1
KIND = "attacks"
PAGES = "attacks.pages"
"""The group of entry points."""

_MOST_CURVES = 18
_PLAIN = "audit.html"


class Written(Protocol):
    """What is written of an audit, as `attacks.auditing.audit.Audit` has it."""

    @property
    def subject(self) -> str:
        """What was audited."""
        ...

    @property
    def rows(self) -> tuple[Row, ...]:
        """A figure each."""
        ...

    @property
    def checks(self) -> tuple[Check, ...]:
        """What must hold."""
        ...

    @property
    def claim(self) -> Claim | None:
        """What was claimed."""
        ...

    @property
    def about(self) -> Mapping[str, Any]:
        """What the figures stand on."""
        ...

    @property
    def curves(self) -> Mapping[str, AttackScores]:
        """Scores by attack."""
        ...

    def _repr_html_(self) -> str: ...


def write_audit(audit: Written, folder: Path) -> list[Path]:
    """Write the files, and the pages by who offers them; without any, one plain page.

    Args:
        audit: What was found.
        folder: Made where it is not there.

    Returns:
        What was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [asdict(row) for row in audit.rows]
    written = [_write(folder / "findings.json", _json(rows))]
    written += _curves(audit, folder)
    about = {
        "format": FORMAT,
        "kind": KIND,
        "subject": audit.subject,
        "about": dict(audit.about),
        "claim": _claim(audit),
        "checks": [asdict(check) for check in audit.checks],
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in written},
    }
    written.append(_write(folder / "audit.json", _json(about)))
    makers = entry_points(group=PAGES)
    pages = [Path(page) for maker in makers for page in maker.load()(folder)]
    return written + (pages or [_write(folder / _PLAIN, plain_page(audit))])


def plain_page(audit: Written) -> str:
    """A page that needs nothing else, for where no reporter is installed."""
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Privacy audit</title>'
        "<style>body{font:15px/1.5 sans-serif;margin:2rem}td,th{padding:.2rem .6rem;text-align:left}</style>"
        f"<h1>Privacy audit of a {audit.subject}</h1>{audit._repr_html_()}</html>\n"
    )


def _curves(audit: Written, folder: Path) -> list[Path]:
    drawn = dict(list(audit.curves.items())[:_MOST_CURVES])
    if not drawn:
        return []
    claim = audit.claim
    # A member and a non-member differ in two records: one taken out, and one put in.
    claimed = None
    if claim is not None and math.isfinite(claim.epsilon) and claim.adjacency == "replace":
        claimed = Limits(claim.epsilon, claim.delta)
    return list(write_figure(roc_figure(drawn, claimed), folder / "roc"))


def _claim(audit: Written) -> dict[str, Any] | None:
    if audit.claim is None:
        return None
    found = asdict(audit.claim)
    return found | {"epsilon": found["epsilon"] if math.isfinite(found["epsilon"]) else None}


def _json(values: Any) -> str:
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> Path:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
    return path
