"""`policy.toml`: what an artist lets any run do, written in the artist's own home.

Where it lies is said on the artist's own command line, never by a run, and no setting of a run can loosen it
(`sites.meeting`). It is another thing than a policy that a finished run is held against (`policy.checks`).
"""

from __future__ import annotations

import hashlib
import json
import stat
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import Field, Strict, field_validator

from fedstyle_secure.config import Section, Sections, all_none_or_names
from fedstyle_secure.consent.uses import Purpose
from fedstyle_secure.errors import ConfigError, PrivacyError
from fedstyle_secure.names import EVERYONE, NOBODY, Names
from fedstyle_secure.privacy.units import Unit

FILE = "policy.toml"

PLACES = ("portfolio.path", "consent.file")
"""Keys that say where something lies at the artist's: no part of the digest, which others are told."""

_WIDTH = 100

_More = Literal["higher", "lower", "wider", "fewer", "on", "optional", "other"]
"""Which change of a key allows more."""

_Purposes = Annotated[tuple[Purpose, ...], Strict(False)]
_Units = Annotated[tuple[Unit, ...], Strict(False)]
"""TOML has lists only."""


def _key(default: Any, more: _More, description: str, **limits: Any) -> Any:
    """A key, with which change of it allows more."""
    return Field(default, description=description, json_schema_extra={"more": more}, **limits)


class PortfolioSection(Section):
    """Your works. A run's own `gallery` settings do not count here."""

    path: str = _key("pictures", "other", "Folder of your works, seen from this file.", min_length=1)
    split_column: str = _key(
        "split", "other", "Column of split.csv in it that says train or test, if there is such a file."
    )


class AllowSection(Section):
    """What your works may be used for."""

    systems: Names = _key(Names(("style",)), "wider", "Systems that you train with others: style, text, art.")
    purposes: _Purposes = _key(
        ("ai_training",),
        "wider",
        "What systems do with works, in the words of CAWG: ai_training is of models that make no works, "
        "ai_generative_training of those that do (art).",
    )


class PolicyPrivacySection(Section):
    """What may be found out about your works."""

    dp: Literal["required", "optional"] = _key(
        "required", "optional", "Differential privacy: required, or runs without any guarantee, too."
    )
    units: _Units = _key(
        ("artwork", "artist"),
        "wider",
        "What a guarantee may be for: one artwork more or less, or a whole artist.",
    )
    min_noise_multiplier: float = _key(
        0.5, "lower", "Least noise of a release, in units of what one artwork (or artist) can move.", ge=0
    )
    max_epsilon_run: float = _key(8.0, "higher", "Most epsilon of one run, all releases together.", gt=0)
    max_epsilon_lifetime: float = _key(
        16.0, "higher", "Most epsilon of all runs that there ever are, from your ledger.", gt=0
    )
    max_delta: float = _key(
        1e-5, "higher", "Delta that both are counted at, whatever delta a run states.", gt=0, lt=0.1
    )
    max_clip_norm: float = _key(
        1.0,
        "higher",
        "Longest gradient of an artwork, or update of an artist, that a run lets through.",
        gt=0,
    )
    max_rounds: int = _key(64, "higher", "Most rounds of a run in which anything of yours leaves.", ge=0)
    max_releases_a_day: int = _key(
        40, "higher", "Most releases within 24 hours, over all runs; each kind of a round counts.", ge=0
    )


class SumSection(Section):
    """What only leaves added up with others' in a sum that nobody but the opener opens."""

    required: Names = _key(
        Names((EVERYONE,)),
        "fewer",
        'Kinds of release that must leave so: "all" but what bears your name, "none", or names of kinds.',
    )
    min_cohort: int = _key(3, "lower", "Fewest artists that a sum may have.", ge=2)
    min_contributors: int = _key(
        3, "lower", "Fewest artists that a shared style must come from before it is used.", ge=2
    )
    min_colluders: int = _key(
        1, "lower", "Artists who may tell others their noise: a run must reckon with so many.", ge=0
    )

    _allowed = field_validator("required")(all_none_or_names)

    def covers(self, kind: str) -> bool:
        """Whether releases of a kind, which bear no name, must leave inside a sum."""
        return self.required == (EVERYONE,) or (self.required != (NOBODY,) and kind in self.required)


class CardSection(Section):
    """What is published under your name, so that you are found by it."""

    publish: bool = _key(True, "on", "Whether anything is; a run must ask for it besides.")
    max_releases: int = _key(2, "higher", "Most times in one run; what comes after that is left out.", ge=0)


class RecordSection(Section):
    """What a run may keep or plant for its auditors."""

    canaries: bool = _key(
        False, "on", "Runs with planted records, some of them among yours, so that leaks are measured."
    )
    messages: bool = _key(
        False, "on", "Runs whose platform says that it keeps artists' messages, as sensitive as those are."
    )


class ConsentSection(Section):
    """Which of your works take part."""

    file: str = _key(
        "consent.jsonl", "other", "Your decisions, work by work, seen from this file.", min_length=1
    )


class Policy(Sections):
    """What a `policy.toml` says; what it leaves out is as in `template()`."""

    portfolio: PortfolioSection = PortfolioSection()
    allow: AllowSection = AllowSection()
    privacy: PolicyPrivacySection = PolicyPrivacySection()
    sum: SumSection = SumSection()
    card: CardSection = CardSection()
    record: RecordSection = RecordSection()
    consent: ConsentSection = ConsentSection()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], origin: str = FILE) -> Self:
        """Build from nested sections.

        Raises:
            ConfigError: A key is unknown or a value is not allowed; names the key and what would be valid.
        """
        return cls._validated(values, origin)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a policy.

        Raises:
            ConfigError: The file is missing or no TOML, or as `from_dict`.
            PrivacyError: Others can write to it, so that it may not be the artist's own word.
        """
        try:
            mode = path.stat().st_mode
            text = path.read_text(encoding="utf-8-sig")
            values = tomllib.loads(text)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such policy; `template` has one to begin with") from None
        except IsADirectoryError:
            raise ConfigError(f"{path}: is a folder, not a policy") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{path}: not a TOML file: {error}") from None
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PrivacyError(f"{path}: others can write to this policy; run chmod 600 on it")
        return cls.from_dict(values, str(path))

    def changed(self, values: Mapping[str, Any]) -> Self:
        """The same with other values, by `section.key`. Raises ConfigError as `from_dict`."""
        own = self._nest(((key, value) for key, (value, _) in self._told().items()), FILE)
        for section, keys in self._nest(values.items(), FILE).items():
            own[section] = own.get(section, {}) | keys
        return self.from_dict(own)

    def to_toml(self) -> str:
        """As commented TOML text that `load` reads back to an equal policy."""
        blocks = [_comment("What I let any run do with my works. No setting of a run can loosen it.")]
        for name, section in self._sections().items():
            blocks.append(f"\n{_comment(section.__doc__ or '')}\n[{name}]")
            for key, field in section.model_fields.items():
                value, _ = self._told()[f"{name}.{key}"]
                blocks += [_comment(field.description or ""), f"{key} = {_written(value)}"]
        return "\n".join(blocks) + "\n"

    def digest(self) -> str:
        """SHA-256 of all that it says but `PLACES`, 64 hexadecimal digits; the order of a list, and what is
        written out that is as usual, make no difference."""
        told = {
            key: sorted(set(value)) if isinstance(value, list) else value
            for key, (value, _) in self._told().items()
            if key not in PLACES
        }
        return hashlib.sha256(f"policy\n{json.dumps(told, sort_keys=True)}".encode()).hexdigest()

    def _told(self) -> dict[str, tuple[Any, _More]]:
        """Every key's value, lists for whatever is several, and which change of it allows more."""
        found = {}
        for name in self._sections():
            section: Section = getattr(self, name)
            for key, field in type(section).model_fields.items():
                extra, value = field.json_schema_extra, getattr(section, key)
                more: Any = extra["more"] if isinstance(extra, dict) else "other"
                found[f"{name}.{key}"] = (list(value) if isinstance(value, tuple) else value, more)
        return found


def template(values: Mapping[str, Any] | None = None) -> str:
    """A commented policy to begin with.

    Args:
        values: What it says in place of what is usual, by `section.key`.

    Raises:
        ConfigError: As `Policy.from_dict`.

    Example:
        >>> print(template().partition("[sum]")[2].splitlines()[3])
        # Fewest artists that a sum may have.
    """
    return Policy().changed(values or {}).to_toml()


def loosened(old: Policy, new: Policy) -> tuple[str, ...]:
    """Keys of a new policy that allow more than those of the old one.

    Whatever is neither more nor less (other pictures) counts as more. Where no key is loosened, the old
    policy declines nothing that the new one lets out.

    Example:
        >>> old = Policy()
        >>> loosened(old, old.changed({"privacy.max_rounds": 65, "card.publish": False}))
        ('privacy.max_rounds',)
    """
    before, after = old._told(), new._told()
    return tuple(key for key, (value, more) in before.items() if _LOOSER[more](value, after[key][0]))


def _fewer(old: list[str], new: list[str]) -> bool:
    """Whether kinds that had to leave inside sums no longer have to."""
    if new == [EVERYONE] or old == [NOBODY]:
        return False
    return old == [EVERYONE] or new == [NOBODY] or not set(old) <= set(new)


_LOOSER: Mapping[_More, Callable[[Any, Any], bool]] = {
    "higher": lambda old, new: new > old,
    "lower": lambda old, new: new < old,
    "wider": lambda old, new: not set(new) <= set(old),
    "fewer": _fewer,
    "on": lambda old, new: new and not old,
    "optional": lambda old, new: (old, new) == ("required", "optional"),
    "other": lambda old, new: old != new,
}


def _written(value: Any) -> str:
    """A value in TOML, on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return tomli_w.dumps({"x": value}).strip().removeprefix("x = ")


def _comment(text: str) -> str:
    lines: Iterable[str] = textwrap.wrap(text, _WIDTH)
    return "\n".join(f"# {line}" for line in lines)
