"""A run's bill of materials and its report as a research object, read by the libraries that define them."""

import getpass
import hashlib
import json
import socket
import sys
from pathlib import Path

import pytest

from fedstyle_secure.errors import ConfigError
from fedstyle_secure.report.formats import report

pytest.importorskip("cyclonedx", reason="the extra compliance is not installed")
pytest.importorskip("rocrate", reason="the extra compliance is not installed")

DAY = "2026-11-21"


@pytest.fixture
def written(run) -> Path:
    report(run.path, ("html", "json", "csv", "sbom", "crate"), date=DAY)
    return run.path / "report"


def test_both_are_what_their_libraries_take_and_say_what_the_run_says(written, run, tmp_path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from rocrate.rocrate import ROCrate

    text = (written / "sbom.cdx.json").read_text()
    schema = JsonStrictValidator(SchemaVersion.V1_6)
    assert schema.validate_str(text) is None
    assert schema.validate_str(text.replace('"library"', '"book"')) is not None
    bill = json.loads(text)
    manifest = run.manifest()
    assert {one["name"]: one["version"] for one in bill["components"]} == {
        "python": manifest["python"],
        **manifest["packages"],
    }
    torch = next(one for one in bill["components"] if one["name"] == "torch")
    assert torch["purl"].startswith("pkg:pypi/torch@")
    (product,) = bill["metadata"]["component"]["hashes"]
    assert product == {"alg": "SHA-256", "content": run.summary()["product_sha256"]}

    crate = ROCrate(written)
    listed = {entity.id: entity["sha256"] for entity in crate.get_by_type("File")}
    there = {path.name: path for path in written.iterdir() if path.name != "ro-crate-metadata.json"}
    assert listed == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in there.items()}
    assert "sbom.cdx.json" in listed
    assert crate.root_dataset["datePublished"] == DAY
    assert {part.id for part in crate.root_dataset["hasPart"]} == set(listed)

    # The same folder and day give the same bytes; nothing tells where, by whom, or on which machine.
    report(run.path, ("html", "json", "csv", "sbom", "crate"), tmp_path / "again", date=DAY)
    for name in ("sbom.cdx.json", "ro-crate-metadata.json"):
        content = (written / name).read_text()
        assert (tmp_path / "again" / name).read_text() == content
        for private in (
            str(tmp_path),
            str(Path.home()) + "/",
            f'"{socket.gethostname()}"',
            "studios",
            "record",
        ):
            assert private not in content, (name, private)
        assert f'"{getpass.getuser()}"' not in content
        for artist in run.summary()["privacy"]["per_artist"]:
            assert artist["artist"] not in content


def test_they_are_of_runs_only_and_the_extra_is_named(run, tmp_path, monkeypatch):
    (tmp_path / "sweep").mkdir()
    with pytest.raises(ConfigError, match=r"format 'sbom' is none of html, pdf, json, csv$"):
        report(tmp_path / "sweep", ("sbom",))
    monkeypatch.setitem(sys.modules, "rocrate", None)
    with pytest.raises(ConfigError, match=r'pip install "fedstyle-secure\[compliance\]"'):
        report(run.path, ("crate",))
    assert not (run.path / "report").exists()
