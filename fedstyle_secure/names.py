"""Names of artists in settings: a list is exactly its names, and a text that could mean others is refused.

Names are compared in normalisation form C (Unicode Standard Annex 15): file systems and keyboards write one
name in several codings.
"""

from __future__ import annotations

import json
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from fedstyle_secure.errors import ConfigError

EVERYONE = "all"
NOBODY = "none"
WORDS = (EVERYONE, NOBODY)
"""What settings say instead of names; no artist is called so."""

_QUOTES = ('"', "'")


def nfc(text: str) -> str:
    """The text in the one coding that names are compared in."""
    return unicodedata.normalize("NFC", text)


class Names(tuple[str, ...]):
    """Names of artists, exactly.

    Attributes:
        split: Whether they were read from a text without quotes, at its commas. A name may hold a comma, so
            such a text is clear only beside the names that there are: see `refuse_unclear`.
    """

    split: bool

    def __new__(cls, names: Iterable[str] = (), *, split: bool = False) -> Self:
        """
        Args:
            names: Each is kept whole: commas, quotes and outer spaces are part of it.
            split: As the attribute.

        Raises:
            ValueError: A name is empty.
        """
        self = super().__new__(cls, (nfc(name) for name in names))
        if "" in self:
            raise ValueError("a name is empty")
        self.split = split
        return self

    @classmethod
    def read(cls, text: str) -> Self:
        """From a text: `ann, bo`, or a list in TOML or JSON, whose brackets may be left out.

        Raises:
            ValueError: It begins like a list and is none, or quotes some of its names.
        """
        text = text.strip()
        if text.startswith(("[", *_QUOTES)):
            return cls(_list(text if text.startswith("[") else f"[{text}]"))
        names = _split(text)
        if any(name.startswith(_QUOTES) or name.endswith(_QUOTES) for name in names):
            raise ValueError("quotes around some of the names")
        return cls(names, split=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """As a setting: a list of texts, or a text to `read`; written as whichever it was."""

        def validated(value: object, as_list: core_schema.ValidatorFunctionWrapHandler) -> Names:
            if isinstance(value, Names):
                return value
            if isinstance(value, str):
                return cls.read(value)
            # Types are strict here, and a list in a file is a tuple in the settings.
            return cls(as_list(tuple(value) if isinstance(value, list) else value))

        return core_schema.no_info_wrap_validator_function(
            validated,
            handler(tuple[str, ...]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda names: names.to_text() if names.split else list(names)
            ),
        )

    def to_text(self) -> str:
        """The text that `read` makes the same names of."""
        return ", ".join(self) if self.split else json.dumps(self, ensure_ascii=False)

    def refuse_unclear(self, key: str, known: Iterable[str]) -> None:
        """Refuse names that were split from a text where a known name could have been meant instead.

        Args:
            key: The setting.
            known: All names that could be meant.

        Raises:
            ConfigError: Names the setting, the known name, and how to write either.
        """
        if not self.split:
            return
        for name in known:
            if name not in self and _holds(self, _split(name)):
                one, all_ = (json.dumps(names, ensure_ascii=False) for names in ([name], self))
                raise ConfigError(
                    f"{key} = {self.to_text()!r} is not clear, as there is an artist {name!r}; "
                    f"write a list: {one}, or {all_}"
                )


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _holds(names: Sequence[str], run: Sequence[str]) -> bool:
    """Whether `run` stands in `names`, without gaps."""
    places = range(len(names) - len(run) + 1) if run else ()
    return any(tuple(names[i : i + len(run)]) == tuple(run) for i in places)


def _list(text: str) -> list[str]:
    """The texts of a list in TOML or JSON. Raises ValueError."""
    try:
        values = tomllib.loads(f"names = {text}")
    except tomllib.TOMLDecodeError:
        # JSON writes what lies beyond 16 bits as two escapes, which TOML has not.
        values = {"names": json.loads(text)}
    found = values.pop("names")
    if values or not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError("not a list of texts")
    return found
