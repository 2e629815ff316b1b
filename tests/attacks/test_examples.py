"""The example that users copy runs as it stands, wins, and draws its sheet."""

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
