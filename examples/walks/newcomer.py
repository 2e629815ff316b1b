"""A newcomer: from `pip install` of the wheel, in an empty folder, to a report of pictures of their own.

Usage: python examples/walks/newcomer.py [WHEEL]
Without a wheel one is built from these sources. Nothing is fetched: what the wheel needs is taken from the
packages of the Python that runs this.
"""

import os
import shutil
import site
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

from steps import AUDIT, Walk, draw, settings

REPO = Path(__file__).parents[2]
SOURCES = ("attacks", "configs", "fedstyle_secure", "LICENSE", "README.md", "pyproject.toml")
OWN = (
    'gallery.public=["eve", "fay", "gus"]', "gallery.size=32", "style.dim=32", "style.practice_artists=0",
    "styles.count=3", "run.rounds=2", "training.expected_pictures=12", "audit.record=all",
)  # fmt: skip

clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
walk = Walk("newcomer", environment=clean)
wheels = walk.folder / "wheels"
wheels.mkdir()
if sys.argv[1:]:
    shutil.copy(sys.argv[1], wheels)
else:
    # A copy, as a build leaves things beside what it is built of.
    sources = Path(tempfile.mkdtemp(prefix="sources-"))
    for name in SOURCES:
        if (REPO / name).is_dir():
            shutil.copytree(REPO / name, sources / name, symlinks=True)
        else:
            shutil.copy(REPO / name, sources / name)
    build = ("wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    walk.run(sys.executable, "-m", "pip", *build, "--wheel-dir", wheels, sources, called="pip wheel")
    shutil.rmtree(sources)

venv.create(walk.folder / "venv", with_pip=True)
python = walk.folder / "venv/bin/python"
# Packages that are here already, so that torch is not fetched; the wheel's own come before them.
there = "\n".join({sysconfig.get_path("purelib"), *site.getsitepackages()})
purelib = Path(walk.run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
(purelib / "there.pth").write_text(there)
install = ("install", "--quiet", "--no-deps", "--no-index")
walk.run(python, "-m", "pip", *install, *wheels.glob("*.whl"), called="pip install")
found = walk.run(python, "-c", "import fedstyle_secure; print(fedstyle_secure.__file__)").strip()
if not Path(found).is_relative_to(walk.folder):
    raise SystemExit(f"the walk would be over {found}, not over the wheel")

walk.program = (str(walk.folder / "venv/bin/fedstyle"),)
walk.fedstyle("init", "mine", "--preset", "folder")
walk.folder /= "mine"
for hand, name in enumerate(("ann", "bo", "cy", "dee", "eve", "fay", "gus")):
    folder = walk.folder / "pictures" / name
    folder.mkdir(parents=True)
    for number in range(16):
        draw(hand, number).save(folder / f"{number:02d}.png")
draw(2, 99).save(walk.folder / "new.png")
(walk.folder / "audit.toml").write_text(AUDIT)
own = settings(OWN)
walk.fedstyle("gallery", "show", "config.toml", *own, "--out", "sheet.png")
walk.fedstyle("train", "config.toml", *own)
walk.fedstyle("search", "runs/config", "new.png")
walk.fedstyle("audit", "runs/config", "audit.toml")
walk.fedstyle("report", "runs/config")
walk.arrived("sheet.png", "runs/config/report/report.html", "runs/config/report/report.pdf")
