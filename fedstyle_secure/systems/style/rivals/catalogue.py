"""The rivals by name: what is tuned, what an artist gives away, and whether a guarantee covers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fedstyle_secure.systems.style.rivals.central import central_metric, central_regression
from fedstyle_secure.systems.style.rivals.fedavg import fedavg
from fedstyle_secure.systems.style.rivals.fedproto import fedproto
from fedstyle_secure.systems.style.rivals.fedprox import fedprox
from fedstyle_secure.systems.style.rivals.local import local_only
from fedstyle_secure.systems.style.rivals.moon import moon
from fedstyle_secure.systems.style.rivals.scaffold import scaffold
from fedstyle_secure.systems.style.rivals.settings import Conditions, Settings
from fedstyle_secure.systems.style.rivals.start import encrypted_prototypes, fedhide, start
from fedstyle_secure.systems.style.rivals.task import Found, Task

Method = Callable[[Task, Settings, Conditions], Found]


@dataclass(frozen=True)
class Rival:
    """A method.

    Attributes:
        name: In tables.
        method: On a task, under settings and conditions.
        gives: What an artist gives away.
        covered: Whether all of that is noised where privacy is on.
        grid: What is tuned, beside the common grid of those that train by steps.
        steps: Whether it trains by steps, so that the common grid is tuned too.
    """

    name: str
    method: Method
    gives: str
    covered: bool
    grid: Mapping[str, Sequence[float]] = field(default_factory=dict)
    steps: bool = True


RIVALS: tuple[Rival, ...] = (
    Rival("FedAvg", fedavg, "gradients in sums, a card", True),
    Rival("FedProx", fedprox, "gradients in sums, a card", True, {"weight": (0.01, 0.1)}),
    Rival("MOON", moon, "gradients in sums, a card", True, {"weight": (1.0, 5.0)}),
    Rival("FedProto", fedproto, "named prototypes, answers of its model", True, {"weight": (1.0, 10.0)}),
    Rival("SCAFFOLD", scaffold, "gradients and control variates in sums, a card", True),
    Rival("local only", local_only, "a card", True),
    Rival(
        "central metric head", central_metric, "its pictures", False,
        {"rate": (0.3, 1.0, 3.0), "rounds": (10, 40, 160)}, steps=False,
    ),
    Rival(
        "central logistic regression", central_regression, "its pictures", False,
        {"inverse_penalty": (1.0, 10.0, 100.0)}, steps=False,
    ),
    Rival("start, cards", start, "a card", True, steps=False),
    Rival("start, FedHide proxies", fedhide, "a proxy of its mean", False, steps=False),
    Rival("start, encrypted prototypes", encrypted_prototypes, "sums of styles", True, steps=False),
)  # fmt: skip

HISTOGRAM = "colour histogram"
PRODUCT = "FedStyle"
