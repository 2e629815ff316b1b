"""Systems by name: ours as text, others' through Python's entry points, so that nothing below imports one.

A package offers a system of its own under the group `fedstyle_secure.systems`.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from fedstyle_secure.errors import ConfigError
from fedstyle_secure.hints import did_you_mean

if TYPE_CHECKING:
    from fedstyle_secure.words import Words

GROUP = "fedstyle_secure.systems"

_OURS = {
    "art": "fedstyle_secure.systems.art.system:ArtSystem",
    "style": "fedstyle_secure.systems.style.system:StyleSystem",
    "text": "fedstyle_secure.systems.text.system:TextSystem",
}
_SETTINGS = {
    "art": "fedstyle_secure.systems.art.settings:ArtConfig",
    "style": "fedstyle_secure.systems.style.settings:StyleConfig",
    "text": "fedstyle_secure.systems.text.settings:TextConfig",
}
_WORDS = {
    "art": "fedstyle_secure.systems.art.words:WORDS",
    "style": "fedstyle_secure.systems.style.words:WORDS",
    "text": "fedstyle_secure.systems.text.words:WORDS",
}
"""Apart from the systems, as those take seconds to load."""


def system_named(name: str) -> Any:
    """The class of a system (`system.System`), not yet bound to settings.

    Raises:
        ConfigError: There is none of that name, or its package does not load; names those that there are.
    """
    return _load(name, _OURS)


def systems() -> list[str]:
    """The names of all systems that there are, ours and those of other packages."""
    return sorted({*_OURS, *(entry.name for entry in metadata.entry_points(group=GROUP))})


def settings_named(name: str) -> Any:
    """The class of a system's settings (`config.Config`). Raises ConfigError as `system_named` does."""
    return _load(name, _SETTINGS) if name in _SETTINGS else system_named(name).settings


def words_named(name: str) -> Words:
    """What a system calls its parts and figures. Raises ConfigError as `system_named` does."""
    words: Words = _load(name, _WORDS) if name in _WORDS else system_named(name).words
    return words


def _load(name: str, ours: dict[str, str]) -> Any:
    found = ours
    if name not in ours:  # Reading what is installed takes longer than a studio takes to open.
        found = {entry.name: entry.value for entry in metadata.entry_points(group=GROUP)} | ours
    if name not in found:
        raise ConfigError(f"run.system = {name!r} is no system{did_you_mean(name, sorted(found))}")
    try:
        return load(found[name])
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"run.system = {name!r} cannot be loaded from {found[name]!r}: {error}") from None


def load(place: str) -> Any:
    """What lies at `package.module:attribute`."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
