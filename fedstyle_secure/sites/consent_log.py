"""What an artist decided for each work and purpose, one decision a line, in the artist's own home.

The last line of a work and a purpose counts. Without one a work takes part in what makes no works, as its
artist put it into the portfolio for that, and in nothing that trains generators. The log is chained like the
ledger (`chains`), which keeps its length besides (`works_of`): an edited or shortened log lets nothing out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from fedstyle_secure.chains import Chain
from fedstyle_secure.consent.uses import PURPOSES, Purpose, Use, of_purpose
from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.files import locked, private_folder
from fedstyle_secure.galleries.base import Portfolio, Refused
from fedstyle_secure.privacy.ledger import Ledger, Works

Way = Literal["in", "out"]

_USE: Mapping[Way, Use] = {"in": "allowed", "out": "notAllowed"}

UNASKED: Mapping[Purpose, Way] = {
    "ai_training": "in",
    "ai_generative_training": "out",
    "data_mining": "in",
    "ai_inference": "in",
}
"""What counts of a work that nothing is decided of."""


@dataclass(frozen=True)
class Decision:
    """One line.

    Attributes:
        artwork: SHA-256 of the work's bytes, 64 hexadecimal digits.
        purpose: For which use, in the words of CAWG.
        way: Whether the work takes part.
        at: When, UTC, ISO 8601 to the second.
    """

    artwork: str
    purpose: Purpose
    way: Way
    at: str

    def __post_init__(self) -> None:
        digest = len(self.artwork) == 64 and set(self.artwork) <= set("0123456789abcdef")
        if not digest or self.purpose not in PURPOSES or self.way not in get_args(Way):
            raise PrivacyError(
                f"no decision: {self.artwork[:64]!r} {self.purpose!r} {self.way!r}; valid: a SHA-256 of 64 "
                f"digits, one of {', '.join(PURPOSES)}, and in or out"
            )


class ConsentLog:
    """An artist's decisions."""

    def __init__(self, path: Path) -> None:
        """Read a log; where neither it nor its length is there, nothing is decided.

        Args:
            path: The file. Its length is kept in a file of the same name that ends in `.head`.

        Raises:
            PrivacyError: A line was edited, removed or reordered, or the last ones are missing; names it.
        """
        self.path = path
        self._chain: Chain[Decision] = Chain(path, _parse)
        self._last: dict[str, dict[Purpose, Use]] = {}
        for decision in self._chain.lines:
            self._count(decision)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Every decision so far, oldest first."""
        return tuple(self._chain.lines)

    @property
    def heads(self) -> tuple[str, ...]:
        """Hashes that stand for its first 0, 1, 2, ... lines."""
        return self._chain.heads

    def allows(self, artwork: str, purpose: Purpose) -> bool:
        """Whether a work takes part in a use. Who is out of a wider one (`consent.uses`) is out of it, too.

        Args:
            artwork: SHA-256 of its bytes.
            purpose: Which use.
        """
        return (self._said(artwork, purpose) or _USE[UNASKED[purpose]]) == "allowed"

    def of(self, portfolio: Portfolio, purpose: Purpose) -> Portfolio:
        """A portfolio of the works that take part in a use, as if there were no others.

        Args:
            portfolio: All works of the artist, without canaries.
            purpose: Which use.

        Raises:
            PrivacyError: Canaries are among them, which have nobody who could decide.
        """
        if portfolio.canaries:
            raise PrivacyError(
                f"artist {portfolio.artist!r}: works are chosen before canaries are planted among them"
            )
        stays = np.array([self.allows(sha256, purpose) for sha256 in portfolio.sha256], dtype=bool)
        places = np.flatnonzero(stays)
        out = tuple(
            Refused(
                portfolio.artist,
                name,
                "unsaid" if self._said(sha256, purpose) is None else "consent.jsonl",
                f"its artist keeps it out of {purpose}",
            )
            for name, sha256, there in zip(portfolio.names, portfolio.sha256, stays, strict=True)
            if not there
        )
        return replace(
            portfolio,
            pictures=portfolio.pictures[stays],
            test=portfolio.test[stays],
            names=tuple(portfolio.names[i] for i in places),
            sha256=tuple(portfolio.sha256[i] for i in places),
            labels=tuple(portfolio.labels[i] for i in places),
            refused=portfolio.refused + out,
        )

    def _said(self, artwork: str, purpose: Purpose) -> Use | None:
        found = of_purpose(self._last.get(artwork, {}), purpose)
        return None if found is None else found[1]

    def _decide(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            self._chain.write(decision, {"decision": asdict(decision)})
            self._count(decision)

    def _count(self, decision: Decision) -> None:
        self._last.setdefault(decision.artwork, {})[decision.purpose] = _USE[decision.way]


def decide(path: Path, artworks: Iterable[str], purpose: Purpose, way: Way, at: str) -> ConsentLog:
    """Write decisions into a log; one that counts already is not written again.

    Args:
        path: The log.
        artworks: SHA-256 of each work's bytes.
        purpose: For which use.
        way: Whether they take part.
        at: When, UTC, ISO 8601 to the second.

    Returns:
        The log with them.

    Raises:
        PrivacyError: The log is damaged, or something is no decision; nothing is written then.
    """
    wanted = [Decision(artwork, purpose, way, at) for artwork in dict.fromkeys(artworks)]
    with locked(private_folder(path.parent)):
        log = ConsentLog(path)
        said = log._last
        log._decide(d for d in wanted if said.get(d.artwork, {}).get(purpose) != _USE[way])
        return log


def works_of(home: Path, log: ConsentLog, portfolio: Portfolio) -> Works:
    """Which works take part, and by which decisions: for the ledger, in which the artist's gate writes it for
    each round, before anything is computed of them.

    Args:
        home: The artist's folder, which holds `ledger.jsonl`.
        log: The artist's decisions.
        portfolio: What they leave of its works.

    Raises:
        PrivacyError: A file is damaged, or the log lacks decisions that the ledger knows of.
    """
    known = Ledger(home / "ledger.jsonl").works
    if known is not None and known.consent_hash != _head(log, known.consent_lines):
        raise PrivacyError(
            f"{log.path}: the ledger knows of {known.consent_lines} decisions, and they are not these; "
            "another file was put in its place, or an older one"
        )
    return Works(portfolio.digest(), len(log.decisions), log.heads[-1])


def _head(log: ConsentLog, lines: int) -> str | None:
    return log.heads[lines] if lines < len(log.heads) else None


def _parse(record: Mapping[str, Any]) -> Decision:
    if set(record) != {"decision"}:
        raise KeyError("decision")
    return Decision(**record["decision"])
