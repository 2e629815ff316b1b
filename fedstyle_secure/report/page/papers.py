"""A paper that an attack follows, as a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedstyle_secure.report.page.pieces import Line, Piece, Ref


def paper_line(cited: Mapping[str, Any]) -> Line:
    """Who, what, when, where to find it, which place in it, and what is taken from it.

    Args:
        cited: As `attacks.references.Cited.to_dict` gives it.
    """
    told = f"{cited['authors']}, {cited['title']}, {cited['year']}, {cited['at']}"
    place = f", {cited['place']}" if cited["place"] else ""
    line: list[Piece] = [Ref(told + place, "name"), f": {cited['use']}"]
    return line
