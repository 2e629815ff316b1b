"""What compliance tools read beside a report: a bill of materials, and the folder as a research object.

Kept libraries write both; of the run they hold its name, versions, hashes and the day, and no path.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import NAMESPACE_OID, uuid5

from fedstyle_secure.errors import ConfigError
from fedstyle_secure.report.run.facts import Facts

SBOM, CRATE = "sbom.cdx.json", "ro-crate-metadata.json"
COMPLIANCE = ("sbom", "crate")
"""Formats that the extra `compliance` writes, of runs only."""

_CRATE_SAYS = "What a privacy audit of a training run found. Every file is listed with its SHA-256."


def require_compliance() -> None:
    """Raises ConfigError, naming what installs it, where the extra is missing."""
    try:
        import cyclonedx  # noqa: F401
        import rocrate  # noqa: F401
    except ImportError:
        raise ConfigError(
            '--format sbom and crate need an extra: pip install "fedstyle-secure[compliance]"'
        ) from None


def sbom(facts: Facts, day: str) -> str:
    """The packages that the run's manifest names, and its product, as CycloneDX 1.6 in JSON.

    Args:
        facts: A checked run.
        day: That the report bears, ISO 8601.
    """
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    versions = {"python": facts.manifest["python"]} | dict(facts.manifest["packages"])
    parts = {
        name: Component(
            name=name,
            version=version,
            type=ComponentType.PLATFORM if name == "python" else ComponentType.LIBRARY,
            purl=None if name == "python" else PackageURL("pypi", None, name, version),
            bom_ref=f"{name}@{version}",
        )
        for name, version in versions.items()
    }
    product = Component(
        name=facts.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=facts.summary["product_sha256"])],
        bom_ref="product",
    )
    bom = Bom(components=parts.values(), serial_number=uuid5(NAMESPACE_OID, f"{facts.own['run']} {day}"))
    bom.metadata.timestamp = datetime.fromisoformat(day).replace(tzinfo=UTC)
    bom.metadata.component = product
    bom.register_dependency(product, parts.values())
    return str(JsonV1Dot6(bom).output_as_string(indent=1)) + "\n"


def crate(facts: Facts, day: str, files: Sequence[tuple[str, bytes]]) -> str:
    """The report's folder as an RO-Crate: its metadata, with every file's size, type and SHA-256.

    Args:
        facts: A checked run.
        day: That the report bears, ISO 8601.
        files: Names and contents.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    about = ROCrate()
    about.name, about.description, about.datePublished = f"Report on the run {facts.name}", _CRATE_SAYS, day
    about.root_dataset["license"] = "None is stated: whoever publishes this names one."
    tool = {"@type": "SoftwareApplication", "name": "fedstyle-secure"}
    version = {"softwareVersion": facts.own["made_with"]["fedstyle-secure"]}
    software = about.add(ContextEntity(about, "#fedstyle-secure", properties=tool | version))
    listed = [
        about.add_file(
            dest_path=name,
            properties={
                "name": name,
                "encodingFormat": mimetypes.guess_type(name)[0] or "text/plain",
                "contentSize": str(len(content)),
                "sha256": hashlib.sha256(content).hexdigest(),
            },
        )
        for name, content in files
    ]
    made = {"@type": "CreateAction", "name": "The report was written", "endTime": day}
    action = about.add(ContextEntity(about, "#report", properties=made))
    action["instrument"], action["result"] = software, listed
    about.root_dataset["mentions"] = action
    return json.dumps(about.metadata.generate(), indent=1, ensure_ascii=False) + "\n"
