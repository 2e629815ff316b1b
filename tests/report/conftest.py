"""A real small run, and an audit folder made by hand that holds every kind of row."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import fedstyle_secure
from fedstyle_secure.audit.findings import FORMAT, Finding, not_run, write_findings
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.files import file_sha256
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.transcript import Closing

VIEWS = (
    ("network", "Network", "Reads every message on its way."),
    ("platform", "Platform", "Runs the rounds as agreed, and keeps everything that it is sent."),
    ("platform_opener", "Platform and opener", "The platform, together with whoever holds the secret key."),
    ("platform_artists", "Platform and artists", "The platform, helped by 1 of 4 artists."),
    ("malicious_platform", "Malicious platform", "A platform that departs from the protocol."),
    ("opener", "Opener", "Holds the secret key, and is sent what it is to open."),
    ("buyer", "Buyer", "Gets the final encoder, the prototypes and the cards, and nothing else."),
)
ATTACKS = (
    (
        "update_one",
        "Inversion of an update",
        "Rebuilds the picture behind an update.",
        "reconstruction",
        "L4",
    ),
    ("card", "Linking a style card", "Finds the artist behind a card without a name.", "exfiltration", "L2"),
    (
        "rounds",
        "Gradient alignment",
        "Compares updates with a candidate's gradient.",
        "membership inference",
        "L1",
    ),
    ("style", "Main style from a sum", "Guesses an artist's main style.", "attribute inference", "L3"),
)


def finding(**values) -> Finding:
    """A membership row that is not broken; anything can be changed."""
    base = Finding(
        view="platform",
        attack="Gradient alignment",
        target="all",
        unit="artwork",
        metric="membership AUC",
        value=0.5213,
        low=0.4127,
        high=0.6298,
        confidence=0.995,
        n=120,
        baseline=0.5,
        bound=0.9471,
        verdict="not broken by this attack",
        seconds=3.25,
        seed=0,
        level="L1",
        category="membership inference",
        method="Mann-Whitney with half ties",
        control=0.998,
        budget="4 rounds",
    )
    return replace(base, **values)


def rows(artists: tuple[str, ...]) -> list[Finding]:
    """Every verdict, over several views and artists; no alarm."""
    low_rate = finding(
        metric="TPR at an FPR", fpr=0.01, value=0.0167, low=0.0002, high=0.1142, baseline=0.0488, control=None
    )
    inversion = finding(
        attack="Inversion of an update",
        metric="identification rate",
        value=0.05,
        low=0.0061,
        high=0.1689,
        n=20,
        baseline=0.05,
        level="L4",
        category="reconstruction",
        pictures=("inversion.png",),
        control=1.0,
        method="ranked first among 100; Clopper-Pearson",
        budget="150 steps, 1 restart",
        details={"advantage": 0.0, "advantage low": -0.17, "advantage high": 0.1689},
    )
    card = finding(
        attack="Linking a style card",
        unit="artist",
        metric="artist named rightly",
        value=1.0,
        low=0.6637,
        high=1.0,
        n=9,
        baseline=0.25,
        bound=None,
        verdict="leaks",
        level="L2",
        category="exfiltration",
        reason="a style card is published so that its artist is found",
        control=1.0,
    )
    style = finding(
        attack="Main style from a sum",
        unit="artist",
        metric="main style named rightly",
        value=0.5,
        low=0.0943,
        high=0.9057,
        n=4,
        baseline=0.5,
        bound=None,
        verdict="inconclusive",
        level="L3",
        category="attribute inference",
        control=0.5,
        reason="the attack was no better than its baseline where nothing was defended either",
    )
    found = []
    for view in ("platform", "malicious_platform", "platform_opener"):
        found += [replace(f, view=view) for f in (inversion, finding(curve="rounds.svg"), low_rate, card)]
    found += [replace(card, view=view) for view in ("network", "buyer")]
    for i, artist in enumerate(artists[:-1]):
        worst = finding(value=0.55 + 0.03 * i, low=0.21, high=0.88, n=18, target=artist)
        found.append(worst)
    found.append(replace(style, view="platform_opener"))
    sealed = "prototype sums leave the artist encrypted, and this view has no key"
    found += [not_run(replace(style, view=view), sealed) for view in ("network", "platform", "buyer")]
    found.append(not_run(replace(inversion, view="opener"), "updates are sent to the platform only"))
    return found


def sheet() -> bytes:
    """A contact sheet: truth, reconstruction, blind baseline, twice."""
    picture = Image.new("RGB", (6 * 66 + 10, 76), "white")
    draw = ImageDraw.Draw(picture)
    for i, colour in enumerate(["#7a9e7e", "#888", "#999", "#b4654a", "#8a8a88", "#949494"]):
        draw.rectangle((5 + 66 * i, 5, 65 + 66 * i, 70), fill=colour)
        draw.ellipse((20 + 66 * i, 20, 50 + 66 * i, 50), fill="#fff" if i % 3 == 0 else "#a0a0a0")
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


CURVE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 220" width="300" height="220">'
    '<rect width="300" height="220" fill="#fff"/><g fill="none" stroke-width="2"><path stroke="#999" '
    'd="M30 190L280 20"/><path stroke="#a01218" stroke-dasharray="6 4" d="M30 190C60 60 120 30 280 20"/>'
    '<path stroke="#0d5260" d="M30 190L90 140L150 95L200 80L280 20"/></g></svg>'
)


def audit(run: RunFolder, findings: list[Finding], **changes) -> None:
    """Write an audit's folder as `fedstyle audit` leaves it."""
    folder = run.path / "audit"
    folder.mkdir(exist_ok=True)
    write_findings(folder / "findings.json", findings)
    (folder / "inversion.png").write_bytes(sheet())
    (folder / "rounds.svg").write_text(CURVE)
    sums = [line.split("  ") for line in run.sums_file.read_text().splitlines()]
    held = ["each artist's update is sent in clear, in every round with training", "cards are published"]
    lacked = ["prototype sums leave the artist encrypted, and this view has no key"]
    values = {
        "format": FORMAT,
        "run": run.identity,
        "preset": "quick",
        "settings": AuditSettings().model_dump(mode="json"),
        "seed": 0,
        "began": "2026-11-21T06:00:00+00:00",
        "wall_s": 41.75,
        "versions": {"fedstyle-secure": "0.1.0", "torch": "2.13.0"},
        "show_pictures": True,
        "artists": [row["artist"] for row in run.summary()["privacy"]["per_artist"]],
        "views": [
            {"key": key, "name": name, "who": who, "holds": held, "lacks": lacked} for key, name, who in VIEWS
        ],
        "attacks": [
            {"key": key, "name": name, "explains": explains, "category": category, "level": level}
            for key, name, explains, category, level in ATTACKS
        ],
        "inputs": {name: digest for digest, name in sums},
        "files": {p.name: file_sha256(p) for p in sorted(folder.iterdir()) if p.name != "audit.json"},
    } | changes
    (folder / "audit.json").write_text(json.dumps(values, indent=1))


@pytest.fixture(scope="session")
def trained(finished) -> Path:
    """Where the finished run and its studios lie, with a real ledger and transcript; tests work on copies."""
    return finished.path.parent


@pytest.fixture(scope="session")
def trained_in_clear(tiny, tmp_path_factory) -> Path:
    """The same without an encrypted sum, and so without an opener who signs anything."""
    root = tmp_path_factory.mktemp("clear") / "runs"
    fedstyle_secure.train(tiny.override(["secure_sum.enabled=false", "audit.record=all"]), root / "clear")
    return root


@pytest.fixture
def bare(own) -> RunFolder:
    """A finished run without an audit, a copy with copies of its studios beside it."""
    return own


@pytest.fixture
def run(bare) -> RunFolder:
    """The same with an audit that holds every verdict."""
    audit(bare, rows(tuple(row["artist"] for row in bare.summary()["privacy"]["per_artist"])))
    return bare


def hash_anew(run: RunFolder) -> None:
    """What somebody does who edited files, knows of the hashes, and holds no key."""
    manifest = run.manifest() | {"config_sha256": file_sha256(run.config_file)}
    run.manifest_file.write_text(json.dumps(manifest, indent=2) + "\n")
    names = [line.split("  ")[1] for line in run.sums_file.read_text().splitlines()]
    lines = [f"{file_sha256(run.path / name)}  {name}\n" for name in names if (run.path / name).exists()]
    run.sums_file.write_text("".join(lines))


@pytest.fixture
def resigned():
    """What an opener does who signs whatever it is asked to, also after the run's end."""

    def sign(run: RunFolder) -> None:
        hash_anew(run)
        opener = Identity.load(run.path.parent / "studios" / ".opener" / "identity.key")
        *lines, last = run.transcript_file.read_bytes().splitlines(keepends=True)
        sums = dict(reversed(line.split("  ")) for line in run.sums_file.read_text().splitlines())
        del sums["transcript.jsonl"]
        previous = json.loads(last)["closing"]["previous"]
        closing = Closing(run.identity, run.config().digest(), sums, previous)
        run.transcript_file.write_bytes(b"".join([*lines, closing.to_line(opener)]))
        hash_anew(run)

    return sign


@pytest.fixture
def hashed():
    """`hash_anew`, for tests."""
    return hash_anew


@pytest.fixture
def audited():
    """Audits a run again: `change(rows, finding)` gives the findings, further keys change audit.json."""

    def again(run: RunFolder, change=None, **values) -> None:
        shutil.rmtree(run.path / "audit", ignore_errors=True)
        found = rows(tuple(row["artist"] for row in run.summary()["privacy"]["per_artist"]))
        audit(run, change(found, finding) if change else found, **values)

    return again


@pytest.fixture
def make():
    """`finding`, for tests."""
    return finding
