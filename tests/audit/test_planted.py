"""What canaries prove, as findings: at the audit's confidence, beside the ledger's figure of it."""

import json

import numpy as np
import pytest

from fedstyle_secure.audit.canaries import audit_canaries
from fedstyle_secure.audit.planted import canaries
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.galleries.canaries import Canaries, Canary
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.ledger import entry_from_dict
from fedstyle_secure.privacy.statement import Accountant
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.training import train


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """24 canaries whose coins follow from a seed."""
    config = tiny.override(["style.dim=64", "audit.record=all", "audit.canaries=24"])
    folder = RunFolder(tmp_path_factory.mktemp("planted") / "run")
    folder.begin(config, resume=False, force=False)
    drawn = Canaries.draw(config, open_gallery(config.gallery))
    coins = np.random.default_rng(0).random(24) < 0.5
    each = tuple(Canary(c.artist, bool(coin)) for c, coin in zip(drawn.each, coins, strict=True))
    Canaries(drawn.kind, each).save(folder.canaries_file)
    return train(config, folder.path, resume=True).folder


def test_bounds_have_the_audits_confidence_and_the_ledgers_epsilon_of_what_was_read(run):
    settings = AuditSettings(confidence=0.9, processes=1)
    rows = canaries(Scene(run, settings)).findings
    found = audit_canaries(run, 0.9)
    assert [row.value for row in rows] == [bound.epsilon for bound in found.bounds]
    assert {row.confidence for row in rows} == {0.9}
    ledgers = json.loads(run.ledger_file.read_text(encoding="utf-8"))
    entries = [[entry_from_dict(values) for values in ledger] for ledger in ledgers.values()]
    accountant = Accountant(1e-5)
    updates = max(accountant.spent([e for e in own if e.kind == "update"], "artwork") for own in entries)
    everything = max(accountant.spent(own, "artwork") for own in entries)
    assert updates < 0.9 * everything
    assert {row.bound for row in rows} == {updates}
