"""The files beside an attack's curve: the works that stand out, and the drawing of the scores."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedstyle_secure.errors import AuditError, first_problem
from fedstyle_secure.files import read_json

_Count = Annotated[int, Field(ge=0)]


class _Work(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    artist: str
    work: str
    place: Annotated[int, Field(ge=1)]
    score: float
    as_high: _Count


class _Exposed(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    works: list[_Work]
    members: _Count
    held_out: _Count


def exposed_file(curve: str) -> str:
    """The file with the works that stand out, by that of the attack's curve."""
    return f"exposed_{_stem(curve)}.json"


def histogram_file(curve: str) -> str:
    """The file with the drawing of the scores, by that of the attack's curve."""
    return f"scores_{_stem(curve)}.png"


def read_exposed(path: Path) -> dict[str, Any]:
    """Read the works that stand out. Raises AuditError naming the file and what is wrong in it."""
    found: dict[str, Any] = read_json(path, dict, AuditError)
    try:
        _Exposed.model_validate(found)
    except ValidationError as error:
        raise AuditError(f"{path}: {first_problem(error)}") from None
    return found


def _stem(curve: str) -> str:
    return PurePath(curve).stem.removeprefix("roc_")
