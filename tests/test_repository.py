"""Files for hosts and builders of this repository: what they name is there, and says what pyproject says."""

import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ACTION = REPO / ".github/actions/check/action.yml"


def load(path):
    return yaml.safe_load((REPO / path).read_text(encoding="utf-8"))


def instructions(path):
    """Instructions of a Dockerfile and what follows them."""
    text = (REPO / path).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_the_image_is_built_of_files_that_are_there_and_are_let_in():
    told = instructions("Dockerfile")
    copied = [
        name for key, rest in told if key == "COPY" and "--from" not in rest for name in rest.split()[:-1]
    ]
    let_in = {
        line[1:] for line in (REPO / ".dockerignore").read_text(encoding="utf-8").split() if line[0] == "!"
    }
    assert [name for name in copied if not (REPO / name).exists()] == []
    assert set(copied) == let_in
    packages = {name.partition("*")[0] for name in ("attacks*", "fedstyle_secure*")}
    assert packages | {PROJECT["readme"], PROJECT["license"]["file"], "pyproject.toml"} <= set(copied)


def test_the_image_has_the_torch_of_the_project_and_is_not_roots():
    told = instructions("Dockerfile")
    torch = next(one for one in PROJECT["dependencies"] if one.startswith("torch"))
    assert any(f'"{torch}"' in rest and "TORCH_INDEX" in rest for key, rest in told if key == "RUN")
    users = [rest for key, rest in told if key == "USER"]
    made = re.search(r"useradd .*?(\w+) &&", next(rest for key, rest in told if "useradd" in rest))
    assert users == [made[1]]
    entry = next(rest for key, rest in told if key == "ENTRYPOINT")
    assert entry.strip('[]"') in PROJECT["scripts"]


def test_the_workflow_runs_what_a_submission_must_pass():
    jobs = load(".github/workflows/ci.yml")["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert ".ci/run" in runs
    assert (REPO / ".ci/run").stat().st_mode & stat.S_IXUSR
    targets = set(re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {run.split()[1] for run in runs if run.startswith("make ")} <= targets
    pythons = jobs["test"]["strategy"]["matrix"]["python"]
    stated = {one.rpartition(" ")[2] for one in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", one)}
    assert set(pythons) == stated


def test_hooks_before_a_commit_are_the_linters_of_make_lint():
    hooks = [hook["entry"] for hook in load(".pre-commit-config.yaml")["repos"][0]["hooks"]]
    recipe = re.search(
        r"^lint:.*\n((?:\t.*\n)+)", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    linted = {
        " ".join(line.removeprefix("\t$(BIN)/").split()[:2]).strip(" .") for line in recipe[1].splitlines()
    }
    assert {" ".join(entry.split()[:2]) for entry in hooks} == linted


def test_issue_forms_have_what_their_host_asks_for():
    forms = sorted((REPO / ".github/ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) == 4
    for path in forms:
        form = load(path)
        if path.name == "config.yml":
            continue
        assert {"name", "description", "body"} <= form.keys()
        ids = [block["id"] for block in form["body"] if block["type"] != "markdown"]
        assert ids
        assert len(set(ids)) == len(ids)
        for block in form["body"]:
            assert ("value" if block["type"] == "markdown" else "label") in block["attributes"]


def test_each_input_of_the_action_reaches_the_check_as_a_variable():
    action = load(ACTION)
    step = action["runs"]["steps"][-1]
    assert {f"${{{{ inputs.{name} }}}}" for name in action["inputs"]} - set(step["env"].values()) == {
        "${{ inputs.python-version }}", "${{ inputs.torch-index }}",
    }  # fmt: skip
    install = action["runs"]["steps"][-2]
    assert install["env"] == {"PIP_EXTRA_INDEX_URL": "${{ inputs.torch-index }}"}
    assert "${{" not in install["run"]
    assert all(f"${name}" in step["run"] for name in step["env"])
    assert "${{" not in step["run"]


@pytest.mark.slow
def test_the_action_says_the_code_of_the_check(finished, tmp_path):
    """What it runs, run here: a policy that is met, one that is not, and a name like an option."""
    command = tmp_path / "fedstyle"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fedstyle_secure "$@"\n')
    command.chmod(0o700)
    policies = {"met": "artwork = 1e6", "unmet": "artwork = 1e-6"}
    for name, line in policies.items():
        (tmp_path / f"{name}.toml").write_text(f"[epsilon]\n{line}\n")

    def code(policy, run=str(finished.path)):
        said = tmp_path / "output"
        said.write_text("")
        given = dict.fromkeys(("OPENER", "STUDIOS", "SARIF"), "")
        env = os.environ | given | {
            "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(REPO), "RUN": run,
            "POLICY": str(tmp_path / f"{policy}.toml"), "JUNIT": str(tmp_path / "a b.xml"),
            "GITHUB_OUTPUT": str(said),
        }  # fmt: skip
        script = load(ACTION)["runs"]["steps"][-1]["run"]
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script], env=env, capture_output=True, check=False
        )
        assert said.read_text() == f"code={done.returncode}\n"
        return done.returncode

    assert code("met") == 0
    assert (tmp_path / "a b.xml").read_text().startswith("<")
    assert code("unmet") == 9
    assert code("met", run="--help") == 4
