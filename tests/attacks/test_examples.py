"""The example that users copy runs as it stands, wins, and draws its sheet."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLE = Path(__file__).parents[2] / "examples" / "audit_your_flower_update.py"


@pytest.mark.slow
def test_the_flower_audit_runs_and_finds_the_picture(tmp_path):
    ran = subprocess.run([sys.executable, EXAMPLE], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Replay(verdict='holds'" in ran.stdout
    found = dict(re.findall(r"^(attack|best without looking): ([\d.]+) dB", ran.stdout, re.MULTILINE))
    assert float(found["attack"]) > 25
    assert float(found["attack"]) > float(found["best without looking"]) + 8
    with Image.open(tmp_path / "audit.png") as sheet:
        assert sheet.width > 400


def ran(name, folder):
    """An example's own lines that carry its mark, and what it prints, run against this code."""
    path = EXAMPLE.with_name(name)
    marked = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("# <-")]
    env = os.environ | {"PYTHONPATH": str(EXAMPLE.parents[1])}
    done = subprocess.run(
        [sys.executable, path], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return len(marked), done.stdout


@pytest.mark.slow
def test_an_own_cnn_is_audited_in_at_most_ten_lines(tmp_path):
    lines, said = ran("audit_your_model.py", tmp_path)
    assert lines <= 10
    assert said.startswith("leaks: ")
    assert len(said.splitlines()) == 3
    assert float(re.search(r"AUC ([\d.]+)", said)[1]) > 0.7
    assert (tmp_path / "own_audit" / "findings.json").exists()


@pytest.mark.slow
def test_an_opacus_runs_epsilon_is_bounded_in_at_most_ten_lines(tmp_path):
    """The bound is above the true epsilon once in 200 runs; the claim is above that."""
    lines, said = ran("bound_your_opacus_run.py", tmp_path)
    assert lines <= 10
    bound, claimed = map(float, re.search(r"lower bound ([\d.]+), claimed ([\d.]+)", said).groups())
    assert 0 < bound < claimed
    held = re.search(r"^Holds: ([^.]*)\.", said, re.MULTILINE)[1].split(", ")
    assert held == [
        *("per-record gradients", "sensitivity", "sampling", "clipping", "accounting"),
        *("size of the noise", "fresh noise", "delta"),
    ]


@pytest.mark.slow
def test_an_own_flower_app_is_audited_in_at_most_fifteen_lines(tmp_path):
    lines, said = ran("audit_your_flower_app.py", tmp_path)
    assert lines <= 15
    assert said.count("leaks: strong inversion: reconstruction PSNR") == 2
    assert said.count("Holds: replay.") == 2
    assert len(list(tmp_path.glob("flower_audit/*/findings.json"))) == 2
