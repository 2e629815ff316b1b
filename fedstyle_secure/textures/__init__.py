"""How a picture is drawn, in numbers: fixed statistics of texture and colour, none of them learned."""

from __future__ import annotations

from pathlib import Path

SOURCES = (Path(__file__).parent,)
"""What statistics of a picture follow from."""
