"""The house has floors, and imports go down only: no arrow up, no circle, and `attacks` stands apart."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from fedstyle_secure.systems.style.practice import SOURCES

REPO = Path(__file__).parents[1]

FLOORS = (
    {
        "version",
        "errors",
        "fairness",
        "hints",
        "packages",
        "processes",
        "spreadsheet",
        "threads",
        "visible",
        "words",
    },
    {"devices", "files", "frames", "names", "registry", "shipped", "terminal"},
    {"consent"},
    {"config", "cache", "chains"},
    {"runs", "idle", "hashing", "starting"},
    {"galleries", "privacy", "textures"},
    {"secure_sum", "studios"},
    {"private_search", "system"},
    {"federation", "server_optimizer"},
    {"accounts", "transcripts"},
    {"audit"},
    {"engines"},
    {"training"},
    {"sites"},
    {"sweep"},
    {"report"},
    {"policy", "tracking"},
    {"commands"},
    {"systems"},
    {"view"},
    {"cli_audit", "cli_policy", "cli_sites", "cli_view"},
    {"cli"},
    {"__main__"},
)
"""Rooms of `fedstyle_secure`, the ground first; a room imports lower floors only. The package's own
`__init__` names what it hands out and imports the version alone."""


def imports() -> dict[str, set[str]]:
    """Modules to the modules of ours that they import, wherever in the file."""
    found = {}
    for path in sorted(p for top in ("fedstyle_secure", "attacks") for p in (REPO / top).rglob("*.py")):
        name = ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                inside = (f"{node.module}.{alias.name}" for alias in node.names)
                found[name] |= {i if _is_module(i) else node.module for i in inside}
            elif isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
    ours = {
        name: {i for i in all_ if i.split(".")[0] in ("fedstyle_secure", "attacks")}
        for name, all_ in found.items()
    }
    return {name: inside - {name} for name, inside in ours.items()}


def _is_module(name: str) -> bool:
    path = REPO / Path(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def room(module: str) -> str:
    return module.split(".")[1] if module.startswith("fedstyle_secure.") else module.split(".")[0]


def upward(arrows: dict[str, set[str]]) -> list[str]:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names} | {"attacks": -1}
    # The package itself, as the sources that a sweep hashes.
    floor["fedstyle_secure"] = floor["training"]
    pairs = sorted((module, target) for module, targets in arrows.items() for target in targets)
    apart = [(module, target) for module, target in pairs if room(module) != room(target)]
    return [f"{module} -> {target}" for module, target in apart if floor[room(target)] >= floor[room(module)]]


def test_imports_go_down_only():
    arrows = {m: t for m, t in imports().items() if m != "fedstyle_secure" and not m.startswith("attacks")}
    assert {room(m) for m in arrows} == set().union(*FLOORS), (
        "a room without a floor, or a floor without a room"
    )
    assert upward(arrows) == []


def test_nothing_below_the_roof_names_a_system():
    """A system is loaded by its name: nothing but the command line, the page above it and the package's door
    knows one."""
    users = {room(m) for m, t in imports().items() if any(room(i) == "systems" for i in t)}
    assert users - {"systems"} <= {"cli", "fedstyle_secure", "view"}
    systems = {m: t for m, t in imports().items() if m.startswith("fedstyle_secure.systems.")}
    pairs = [(m, i) for m, targets in systems.items() for i in targets if i in systems]
    named = [(m, i) for m, i in pairs if m.split(".")[2] != i.split(".")[2]]
    assert not named, "one system knows another"


def test_the_table_for_contributors_is_this_one():
    text = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.strip().split("  ")[0] for line in text.splitlines() if line.startswith("    ")]
    assert [set(row.split(", ")) for row in rows] == list(reversed(FLOORS))


def test_an_arrow_up_is_found():
    assert upward({"fedstyle_secure.privacy.plan": {"fedstyle_secure.federation.apps"}})
    assert upward({"fedstyle_secure.privacy.plan": {"fedstyle_secure.galleries.base"}}), (
        "nor to one's own floor"
    )
    assert upward({"fedstyle_secure.privacy.plan": {"fedstyle_secure"}})


def test_there_is_no_circle_of_files():
    arrows = {m: t for m, t in imports().items() if m != "fedstyle_secure"}
    list(TopologicalSorter(arrows).static_order())
    with pytest.raises(CycleError):
        list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


def test_attacks_know_nothing_of_this_project():
    assert not [
        m for m, t in imports().items() if m.startswith("attacks") and any("fedstyle" in i for i in t)
    ]


def test_nothing_but_the_audit_and_what_stands_on_it_knows_attacks():
    users = {
        room(m)
        for m, t in imports().items()
        if not m.startswith("attacks") and any(room(i) == "attacks" for i in t)
    }
    assert users == {"audit", "sweep", "systems"}


def test_all_sources_that_practice_features_follow_from_are_in_their_key():
    """Of the modules that practice imports, near or far, all but the ground, which draws nothing."""
    arrows, reached, left = imports(), set(), {"fedstyle_secure.systems.style.practice"}
    while left:
        reached |= left
        left = set().union(*(arrows.get(module, set()) for module in left)) - reached
    digested = {m for m in reached if any(REPO.joinpath(*m.split(".")).is_relative_to(s) for s in SOURCES)}
    assert {"fedstyle_secure.textures.filters", "fedstyle_secure.galleries.atelier.brushes"} <= digested
    ground = ("cache", "consent.uses", "errors", "files", "galleries.base", "privacy.alone")
    assert reached - digested == {f"fedstyle_secure.{name}" for name in ground}
