"""A policy's checks as JUnit XML and as SARIF, for the tools that read these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fedstyle_secure.policy.points import Point
from fedstyle_secure.report.held import Check
from fedstyle_secure.version import __version__

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def to_junit(checks: Sequence[Check | Point]) -> bytes:
    """A test suite with a test case a check, or a point."""
    failures = str(sum(bool(check.problem) for check in checks))
    counts = {"tests": str(len(checks)), "failures": failures, "errors": "0"}
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "fedstyle check"} | counts)
    for check in checks:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {
                "classname": check.key,
                "name": _legal(check.subject),
                "file": _legal(str(check.policy)),
                "line": str(check.line),
            },
        )
        if check.problem:
            failure = ElementTree.SubElement(
                case, "failure", {"message": _legal(check.problem), "type": "policy"}
            )
            failure.text = _legal(str(check))
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def to_sarif(checks: Sequence[Check | Point]) -> dict[str, Any]:
    """SARIF 2.1.0: a rule a key of the policy, a result a failure, at the policy's line."""
    rules = list(dict.fromkeys(check.key for check in checks))
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "fedstyle check",
                        "version": __version__,
                        "rules": [
                            {"id": rule, "shortDescription": {"text": f"the policy's {rule}"}}
                            for rule in rules
                        ],
                    }
                },
                "results": [_result(check, rules) for check in checks if check.problem],
            }
        ],
    }


def _result(check: Check | Point, rules: Sequence[str]) -> dict[str, Any]:
    return {
        "ruleId": check.key,
        "ruleIndex": rules.index(check.key),
        "level": "error",
        "message": {"text": f"{check.subject}: {check.problem}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(check.policy)},
                    "region": {"startLine": check.line},
                }
            }
        ],
    }


def _uri(path: Path) -> str:
    """Relative where it was given so, as code hosts want it."""
    from urllib.parse import quote

    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def _legal(text: str) -> str:
    """Without characters that XML 1.0 cannot hold."""
    return "".join(
        c
        if c in "\t\n\r" or 0x20 <= ord(c) <= 0xD7FF or 0xE000 <= ord(c) <= 0xFFFD or ord(c) >= 0x10000
        else "\ufffd"
        for c in text
    )
