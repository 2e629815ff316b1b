"""Templates, filled in with the values of a page."""

from __future__ import annotations

import math
from typing import Any

from fedstyle_secure.report.page.html import environment
from fedstyle_secure.report.page.pieces import Badge
from fedstyle_secure.report.page.sources import STYLES
from fedstyle_secure.report.page.words import LEVEL_WORDS, MEANINGS
from fedstyle_secure.view.pages.run import VERDICTS


class Renderer:
    """Fills in this package's templates, which draw verdicts and scales as a report does.

    Args:
        root: What is browsed, for every page's head.
        policy: Name of the policy, or "".
    """

    def __init__(self, root: str, policy: str) -> None:
        self._environment = environment("fedstyle_secure.view", "fedstyle_secure.report.page")
        self._environment.filters |= {
            "badge": Badge,
            "rate": lambda value: "-" if value is None else STYLES["rate"](value),
            "epsilon": lambda value: "no guarantee" if value is None else STYLES["epsilon"](value),
            "cost": lambda value: "-" if math.isinf(value) else STYLES["epsilon"](value),
            "sentence": lambda text: text[:1].upper() + text[1:],
            "figure": _figure,
            "setting": _setting,
        }
        self._environment.globals |= {
            "root": root,
            "policy": policy,
            "meanings": MEANINGS,
            "level_words": LEVEL_WORDS,
            "verdicts": VERDICTS,
        }

    def page(self, template: str, **values: Any) -> str:
        """A page of the template of this name."""
        text = self._environment.get_template(f"{template}.html.j2").render(**values)
        # JSON can hold lone surrogates, which UTF-8 cannot.
        return text.encode(errors="backslashreplace").decode()


def _figure(value: Any) -> str:
    """A figure of utility: whole numbers are counts, others shares."""
    if value is None:
        return "-"
    return STYLES["whole" if isinstance(value, int) else "rate"](value)


def _setting(value: Any) -> str:
    """A setting as its file has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "not a setting of this run" if value is None else str(value) or "(empty)"
