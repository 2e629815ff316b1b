"""Five users' jobs as scripts: each arrives, and prints what its steps took."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
WALKS = sorted(path for path in REPO.glob("examples/walks/*.py") if path.stem != "steps")


def test_there_is_a_walk_for_each_user_and_its_first_line_says_whose():
    assert {path.stem for path in WALKS} == {"auditor", "researcher", "compliance", "engineer", "newcomer"}
    for path in WALKS:
        assert path.stem in path.read_text(encoding="utf-8").splitlines()[0].lower()


@pytest.mark.slow
@pytest.mark.parametrize("path", WALKS, ids=lambda path: path.stem)
def test_a_walk_arrives(path, tmp_path):
    env = os.environ | {"PYTHONPATH": str(REPO), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, path], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *steps, whole = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(step["walk"] == path.stem and step["wall_s"] >= 0 for step in steps)
    assert len(steps) >= 3
    assert whole["wall_s"] >= sum(step["wall_s"] for step in steps) - 0.1
    assert Path(whole["folder"]).is_relative_to(tmp_path)
    shutil.rmtree(whole["folder"])
