"""A folder of runs: a real finished one with an audit by hand, and everything else that may lie beside it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from fedstyle_secure.audit.curves import Curve, CurveFile
from fedstyle_secure.audit.findings import read_findings
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.sweep.table import Column, Table
from fedstyle_secure.view.app import view_app
from fedstyle_secure.view.guard import Keys
from fedstyle_secure.view.shelf import Shelf

REPO = Path(__file__).parents[2]
PORT = 8766
BASE = f"http://127.0.0.1:{PORT}"
SECRET = "what no page may tell"

_SPEC = importlib.util.spec_from_file_location("report_conftest", REPO / "tests/report/conftest.py")
assert _SPEC is not None
assert _SPEC.loader is not None
_REPORT = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_REPORT)

CURVE = CurveFile(
    confidence=0.995,
    run=Curve(
        members=4,
        non_members=4,
        thresholds=(None, 0.9, 0.8, 0.5, 0.1),
        fpr=(0.0, 0.0, 0.25, 0.5, 1.0),
        tpr=(0.0, 0.25, 0.5, 0.75, 1.0),
        low=(0.0, 0.001, 0.05, 0.15, 0.3),
        high=(0.7, 0.85, 0.95, 0.999, 1.0),
        fpr_high=(0.7, 0.7, 0.85, 0.95, 1.0),
    ),
    allowed=(0.1, 0.1, 0.6, 0.9, 1.0),
    allowed_at_most=(0.95, 0.95, 0.97, 0.99, 1.0),
    undefended=Curve(
        members=4,
        non_members=4,
        thresholds=(None, 3.0, 2.0),
        fpr=(0.0, 0.25, 1.0),
        tpr=(0.0, 1.0, 1.0),
        low=(0.0, 0.3, 0.3),
        high=(0.7, 1.0, 1.0),
        fpr_high=(0.7, 0.85, 1.0),
    ),
)


def audited(run: RunFolder) -> None:
    """An audit with every verdict, whose curve has its figures beside it."""
    artists = tuple(row["artist"] for row in run.summary()["privacy"]["per_artist"])
    folder = run.audit_folder
    folder.mkdir(exist_ok=True)
    CURVE.write(folder / "rounds.json")
    _REPORT.audit(run, _REPORT.rows(artists))


def sweep(folder: Path) -> None:
    """A sweep's tables, of two epsilons and two seeds, the last cell failed."""
    cells: dict[str, Any] = {
        "cell": "text", "folder": "text", "state": "text", "error": "text", "axis.epsilon": "text",
        "axis.seed": "text", "run.seed": "whole", "secure_sum.enabled": "yes or no", "privacy.dp": "text",
        "privacy.unit": "text", "utility.artist_top1": "number", "utility.baseline_top1": "number",
        "utility.style_top1": "number", "privacy.epsilon_artwork_max": "number",
        "worst.membership_auc": "number", "worst.verdict": "text",
    }  # fmt: skip
    rows = []
    for epsilon in (2, 8):
        for seed in (0, 1):
            failed = (epsilon, seed) == (8, 1)
            name = f"epsilon={epsilon} seed={seed}"
            rows.append(
                dict.fromkeys(cells)
                | {
                    "cell": name, "folder": f"cells/{name}", "state": "failed" if failed else "finished",
                    "error": "no <b>memory</b>" if failed else None, "axis.epsilon": str(epsilon),
                    "axis.seed": str(seed), "run.seed": seed, "secure_sum.enabled": True, "privacy.dp": "on",
                    "privacy.unit": "artwork",
                }
                | ({} if failed else {
                    "utility.artist_top1": 0.5 + 0.01 * epsilon + 0.1 * seed, "utility.baseline_top1": 0.5,
                    "privacy.epsilon_artwork_max": epsilon - 0.001,
                    "worst.membership_auc": 0.5 + 0.02 * epsilon,
                    "worst.verdict": "not broken by this attack",
                })
            )  # fmt: skip
    folder.mkdir()
    (folder / ".fedstyle-sweep").write_text("0" * 32)
    Table(tuple(Column(name, kind, "", "A column.") for name, kind in cells.items()), tuple(rows)).write(
        folder
    )
    (folder / "grid.toml").write_text('[base]\n"run.system" = "style"\n')
    axes = {
        "epsilon": {str(e): {"privacy.target_epsilon": e} for e in (2, 8)},
        "seed": {str(s): {"run.seed": s} for s in (0, 1)},
    }
    (folder / "sweep.json").write_text(json.dumps({"format": 2, "axes": axes}))


@pytest.fixture(scope="session")
def home(finished, tmp_path_factory) -> Path:
    """The folder, to be read: tests that change something take a copy of it."""
    root = tmp_path_factory.mktemp("view")
    runs = root / "runs"
    shutil.copytree(finished.path.parent, runs)
    audited(RunFolder(runs / "run"))
    begun = runs / "begun"
    begun.mkdir()
    for name in (".fedstyle-run", "config.toml", "manifest.json", "metrics.jsonl"):
        shutil.copy(runs / "run" / name, begun / name)
    for name in ('<b>"odd" & name', "a\nb", "ab\u202e", os.fsdecode(b"\xff\xfe")):
        odd = runs / name
        odd.mkdir()
        shutil.copy(runs / "run" / ".fedstyle-run", odd)
        shutil.copy(runs / "run" / "config.toml", odd)
    broken = runs / "broken"
    broken.mkdir()
    for name in (".fedstyle-run", "config.toml"):
        shutil.copy(runs / "run" / name, broken)
    (broken / "summary.json").write_text('{"system": "style"}')
    (root / "secret.json").write_text(json.dumps({"system": SECRET}))
    linked = runs / "linked"
    shutil.copytree(begun, linked)
    (linked / "summary.json").symlink_to(root / "secret.json")
    outside = root / "outside"
    shutil.copytree(begun, outside)
    (outside / "summary.json").write_text(json.dumps({"system": SECRET}))
    (runs / "way-out").symlink_to(outside)
    sweep(runs / "sweep")
    cell = runs / "sweep" / "cells" / "epsilon=2 seed=0"
    shutil.copytree(runs / "run", cell / "run")
    return runs


@pytest.fixture
def mine(home, tmp_path) -> Path:
    """A copy of the folder."""
    shutil.copytree(home, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys(PORT)


@pytest.fixture
def opened(keys):
    """Opens the page on a folder, and goes in with the token."""

    def build(root: Path, policy: Path | None = None) -> TestClient:
        client = TestClient(view_app(Shelf(root), keys, policy), base_url=BASE)
        assert client.get("/", params={"token": keys.token}).status_code == 200
        return client

    return build


@pytest.fixture
def page(opened, home) -> TestClient:
    return opened(home)


@pytest.fixture
def findings(home):
    return read_findings(home / "run" / "audit" / "findings.json")


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Asked:
    """A request as it comes over the wire, however odd."""

    method: str
    path: bytes
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: tuple[bytes, ...] = (b"",)


@pytest.fixture(scope="session")
def ask_all():
    """Puts requests to an application as a server would, one after the other."""

    async def one(app: Any, asked: Asked) -> Answer:
        parts, answer = list(asked.body), Answer()

        async def receive() -> dict[str, Any]:
            if not parts:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in message["headers"]}
            elif message["type"] == "http.response.body":
                answer.body += message.get("body", b"")

        from urllib.parse import unquote

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": asked.method,
            "scheme": "http", "path": unquote(asked.path.decode("ascii", "replace")), "raw_path": asked.path,
            "query_string": asked.query, "root_path": "", "headers": list(asked.headers),
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", PORT),
        }  # fmt: skip
        await app(scope, receive, send)
        return answer

    def all_of(app: Any, requests: list[Asked]) -> Iterator[Answer]:
        with asyncio.Runner() as runner:
            for asked in requests:
                yield runner.run(one(app, asked))

    return all_of


@pytest.fixture(scope="session")
def asked_of():
    """`Asked`, for tests."""
    return Asked
