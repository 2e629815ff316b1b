"""Who might look, and what each of them really holds under a run's settings.

What a view holds is derived from the settings, never assumed: turning a defence off gives something to the
view that the defence kept it from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fedstyle_secure.audit.settings import DEFENCES, Defence
from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError
from fedstyle_secure.galleries.canaries import canary_kind
from fedstyle_secure.privacy.kinds import UPDATE, Kind
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.words import Words


class Item(StrEnum):
    """Something that can be looked at. Values are keys in files."""

    OWN_UPDATES = "own_updates"
    MEAN_UPDATES = "mean_updates"
    NAMED = "named"
    OWN_SUMS = "own_sums"
    OTHERS_SUMS = "others_sums"
    TOTAL_SUMS = "total_sums"
    MOVED = "moved"
    SUM_OF_ONE = "sum_of_one"
    TWO_OPENINGS = "two_openings"
    FINAL_MODEL = "final_model"
    CHOSEN_WEIGHTS = "chosen_weights"
    CANARIES = "canaries"

    @property
    def told(self) -> str:
        """In words."""
        return _TOLD[self]


_TOLD: Mapping[Item, str] = {
    Item.OWN_UPDATES: "each artist's update",
    Item.MEAN_UPDATES: "the model before and after each round",
    Item.NAMED: "what artists publish under their names",
    Item.OWN_SUMS: "each artist's part of a sum",
    Item.OTHERS_SUMS: "a sum less the parts of artists who help",
    Item.TOTAL_SUMS: "an opened sum over all artists",
    Item.MOVED: "what the sums moved",
    Item.SUM_OF_ONE: "an opened sum of one artist alone",
    Item.TWO_OPENINGS: "a round that was opened twice",
    Item.FINAL_MODEL: "the final model",
    Item.CHOSEN_WEIGHTS: "weights of its own that artists train on",
    Item.CANARIES: "what shows the planted canaries",
}


@dataclass(frozen=True)
class View:
    """An adversary.

    Attributes:
        key: Short, for files.
        name: For tables.
        who: In one sentence.
        holds: What it has, each with the reason why.
        lacks: What it does not have, each with the reason why not.
    """

    key: str
    name: str
    who: str
    holds: Mapping[Item, str]
    lacks: Mapping[Item, str]

    def __post_init__(self) -> None:
        if set(self.holds) & set(self.lacks) or set(self.holds) | set(self.lacks) != set(Item):
            raise AuditError(f"view {self.key!r}: everything is held or lacked, with a reason")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "key": self.key, "name": self.name, "who": self.who,
            "holds": list(self.holds.values()), "lacks": list(self.lacks.values()),
        }  # fmt: skip


_WHO = {
    "network": ("Network", "Reads every message on its way; this part of the project has no TLS of its own."),
    "platform": ("Platform", "Runs the rounds as agreed, and keeps everything that it is sent."),
    "platform_opener": ("Platform and opener", "The platform, together with whoever holds the secret key."),
    "platform_artists": ("Platform and artists", "The platform, helped by some of the other artists."),
    "malicious_platform": ("Malicious platform", "A platform that departs from the protocol."),
    "opener": ("Opener", "Holds the secret key, and is sent what it is to open."),
    "buyer": ("Buyer", "Gets what the run ended with, and nothing else."),
}


def views_of(
    config: Config,
    plan: Plan,
    words: Words,
    artists: int,
    colluders: int,
    without: Collection[Defence] = (),
) -> list[View]:
    """All adversary views of a run.

    Args:
        config: The run's settings.
        plan: Solved from them.
        words: What the system calls its parts.
        artists: Length of the roster.
        colluders: Artists who help the platform in the view `platform_artists`.
        without: Defences that are assumed to be missing.

    Raises:
        AuditError: A defence is assumed to be missing that the run never had.
    """
    facts = _Facts(config, plan, words, artists, colluders, frozenset(without))
    return [View(key, name, who, *_split(facts.of(key))) for key, (name, who) in _WHO.items()]


def present_defences(config: Config, plan: Plan) -> tuple[Defence, ...]:
    """The defences that a run has."""
    private = config.privacy.dp == "on" and config.privacy.noise_multiplier != 0
    summed = config.secure_sum.enabled and bool(summed_kinds(plan) or sealed_updates(config, plan))
    there = {
        "noise": private, "clip": config.privacy.dp == "on", "encryption": summed, "masks": summed,
        "min_cohort": summed, "opener_checks": summed,
    }  # fmt: skip
    return tuple(defence for defence in DEFENCES if there[defence])


def sealed_updates(config: Config, plan: Plan) -> bool:
    """Whether updates leave inside encrypted sums only."""
    inside = plan.shared is not None or config.secure_sum.updates
    return config.secure_sum.enabled and inside and bool(plan.rounds_of(UPDATE))


def summed_kinds(plan: Plan) -> list[Kind]:
    """Kinds that are only ever used as sums over artists, but for updates."""
    return [k for k in plan.kinds.values() if k.rounds and k.leaves == "summed" and k.name != UPDATE]


def named_kinds(plan: Plan) -> list[Kind]:
    """Kinds that artists publish under their own names."""
    return [kind for kind in plan.kinds.values() if kind.rounds and kind.leaves == "named"]


def _split(items: Mapping[Item, tuple[bool, str]]) -> tuple[dict[Item, str], dict[Item, str]]:
    return (
        {item: reason for item, (held, reason) in items.items() if held},
        {item: reason for item, (held, reason) in items.items() if not held},
    )


class _Facts:
    """What follows from the settings, item by item."""

    def __init__(
        self,
        config: Config,
        plan: Plan,
        words: Words,
        artists: int,
        colluders: int,
        without: frozenset[Defence],
    ) -> None:
        present = present_defences(config, plan)
        if strange := sorted(without - set(present)):
            raise AuditError(
                f"without: the run has no defence {strange[0]!r}; it has {', '.join(present) or 'none'}"
            )
        self._config, self._plan = config, plan
        self._artists, self._colluders = artists, min(colluders, artists - 1)
        self._on = frozenset(present) - without
        self._summed, self._named = summed_kinds(plan), named_kinds(plan)
        self._sealed_updates = sealed_updates(config, plan)
        self._model, self._moved, self._purpose = words.model, words.moved, words.purpose
        self._sums = _nouns(words, [k for k in plan.kinds.values() if k.leaves == "summed"], "sum")
        self._noun = _nouns(words, [k for k in plan.kinds.values() if k.leaves == "named"], "publication")

    def of(self, key: str) -> dict[Item, tuple[bool, str]]:
        """Every item, whether the view has it, and why."""
        reads = key in ("network", "platform", "platform_opener", "platform_artists", "malicious_platform")
        return {
            Item.OWN_UPDATES: self._own_updates(key, reads),
            Item.MEAN_UPDATES: self._mean_updates(key, reads),
            Item.NAMED: self._published(key),
            Item.OWN_SUMS: self._own_sums(key, reads),
            Item.OTHERS_SUMS: self._others_sums(key),
            Item.TOTAL_SUMS: self._total_sums(key, reads),
            Item.MOVED: self._moved_arrays(key),
            Item.SUM_OF_ONE: self._sum_of_one(key),
            Item.TWO_OPENINGS: self._two_openings(key),
            Item.FINAL_MODEL: self._final_model(key),
            Item.CHOSEN_WEIGHTS: self._chosen_weights(key),
            Item.CANARIES: self._canaries(key, reads),
        }

    def _own_updates(self, key: str, reads: bool) -> tuple[bool, str]:
        if not self._plan.rounds_of(UPDATE):
            return False, "nothing trains privately in this run, so there is no update"
        if not reads:
            return False, "updates are sent to the platform only"
        if not self._sealed_updates:
            return True, "each artist's update is sent in clear, in every round with training"
        if "encryption" not in self._on:
            return True, "without encryption each artist's update is read as it is sent"
        # Whatever takes a sum apart takes the update out that lies in it.
        if key == "platform_opener" and "masks" not in self._on:
            return True, "without masks the secret key opens each artist's own ciphertext, the update in it"
        for held, how in (self._sum_of_one(key), self._two_openings(key)):
            if held:
                return True, f"the update lies in the sum: {how}"
        if key == "platform_artists" and self._left == 1:
            return True, "all other artists take their updates out of the opened sum, which leaves one"
        return False, "updates leave the artist inside the encrypted sum only"

    def _mean_updates(self, key: str, reads: bool) -> tuple[bool, str]:
        if not self._plan.rounds_of(UPDATE):
            return False, "nothing trains privately in this run, so there is no update"
        if reads:
            return True, f"the {self._model} is sent before and after each round"
        if key == "opener" and self._sealed_updates:
            return True, (
                "it opens the sum of the updates of every round; the weights that they moved it is not sent, "
                "but can work back to from the product"
            )
        return False, f"it is sent no {self._model} between rounds"

    def _published(self, key: str) -> tuple[bool, str]:
        if not self._named:
            return False, f"this run publishes no {self._noun}s"
        if key == "opener":
            return False, f"{self._noun}s are not sent to the opener"
        return True, f"{self._noun}s are published under the artist's name, {self._purpose}"

    def _own_sums(self, key: str, reads: bool) -> tuple[bool, str]:
        if not self._summed:
            return False, f"this run releases no {self._sums}s"
        if not self._config.secure_sum.enabled or "encryption" not in self._on:
            return reads, (
                f"each artist's {self._sums} is sent in clear"
                if reads
                else f"{self._sums}s are sent to the platform only"
            )
        if key == "platform_opener" and "masks" not in self._on:
            return True, "without masks the secret key opens each artist's own ciphertext"
        if key == "platform_opener":
            return False, "the key opens nothing but the sum: each ciphertext holds masks that cancel in it"
        if key == "opener":
            return False, "single ciphertexts are not sent to the opener"
        return False, f"{self._sums}s leave the artist encrypted, and this view has no key"

    def _others_sums(self, key: str) -> tuple[bool, str]:
        if not self._summed:
            return False, f"this run releases no {self._sums}s"
        if key != "platform_artists":
            return False, "no artist tells this view what it put into a sum"
        return True, (
            f"{self._colluders} of {self._artists} artists take their own part out of the sum, "
            f"which leaves that of {self._left}"
        )

    @property
    def _left(self) -> int:
        """Artists whose part is left once colluders took theirs out."""
        return self._artists - self._colluders

    def _total_sums(self, key: str, reads: bool) -> tuple[bool, str]:
        if not self._summed:
            return False, f"this run releases no {self._sums}s"
        if key == "buyer":
            return False, f"the product holds {self._moved}s, which the sums moved: no sum itself"
        if key == "opener":
            return self._config.secure_sum.enabled, (
                "it opens the sum over all artists of a round"
                if self._config.secure_sum.enabled
                else "nothing is encrypted in this run, so it opens nothing"
            )
        return reads, "the sum over all artists is read as it is opened, or added up from what is sent"

    def _moved_arrays(self, key: str) -> tuple[bool, str]:
        if not self._summed:
            return (
                False,
                f"this run releases no {self._sums}s, so its {self._moved}s are public from the start",
            )
        if key == "opener":
            return False, f"{self._moved}s are not sent to the opener"
        return True, f"the {self._moved}s, which the sums moved, are part of the product"

    def _sum_of_one(self, key: str) -> tuple[bool, str]:
        if not self._sealed:
            return False, "nothing is summed under encryption"
        if key != "malicious_platform":
            return False, "takes a platform that departs from the protocol"
        if "min_cohort" in self._on:
            return False, "the opener and the artist refuse a sum of fewer artists than agreed"
        return True, "without a smallest cohort a sum may be that of one artist"

    def _two_openings(self, key: str) -> tuple[bool, str]:
        if not self._sealed:
            return False, "nothing is summed under encryption"
        if key == "platform_opener":
            return True, (
                "both together can feign that an artist dropped out, ask the others again, and take one "
                f"opened sum from the other{self._of_one}"
            )
        if key != "malicious_platform":
            return False, "takes a platform that departs from the protocol"
        if "opener_checks" in self._on:
            return False, "the opener writes down every opening, and refuses a second one of the same round"
        return True, "without the opener's checks a round is opened twice, with and without one artist"

    def _final_model(self, key: str) -> tuple[bool, str]:
        if key == "opener":
            return False, f"the {self._model} is not sent to the opener"
        return True, f"the {self._model}, and what else the run ended with, are the product"

    def _chosen_weights(self, key: str) -> tuple[bool, str]:
        if key != "malicious_platform":
            return False, "takes a platform that departs from the protocol"
        return True, "it sends the weights that artists train on; the architecture is their own"

    def _canaries(self, key: str, reads: bool) -> tuple[bool, str]:
        """What `audit.canaries.audit_canaries` reads, and who has all of it."""
        kind, updates = canary_kind(self._config), bool(self._plan.rounds_of(UPDATE))
        if kind is None:
            return False, "the run holds no canaries (audit.canaries)"
        if kind == "artist" or (kind == "gradient" and self._sealed_updates):
            if reads or (key == "opener" and self._config.secure_sum.enabled):
                return True, "canaries show in the sums over all artists"
            return False, "canaries show in the sums of all rounds, which this view is not given"
        if updates and not self._sealed_updates:
            return reads, (
                "canaries show in each artist's update"
                if reads
                else "canaries show in each artist's update, and updates are sent to the platform only"
            )
        if reads:
            return True, f"canaries show in every {self._noun}"
        if key == "opener":
            return False, f"canaries show in {self._noun}s, which are not sent to the opener"
        ages = any(kind.ages for kind in self._named)
        if all(len(kind.rounds) == 1 for kind in self._named) and not (updates and ages):
            return (
                True,
                f"canaries show in the one {self._noun} of each artist, which is part of the product",
            )
        return False, (
            f"canaries show in every {self._noun} under the weights of its round; the product holds the last"
        )

    @property
    def _of_one(self) -> str:
        """What is left of the noise in one artist's part."""
        shared = self._plan.shared is not None or any(
            k.rounds and k.shared for k in self._plan.kinds.values()
        )
        return ", which leaves one share of the noise: too little for any guarantee" if shared else ""

    @property
    def _sealed(self) -> bool:
        """Whether anything is summed under encryption."""
        return self._sealed_updates or (bool(self._summed) and self._config.secure_sum.enabled)


def _nouns(words: Words, kinds: Sequence[Kind], otherwise: str) -> str:
    """What releases of some kinds are called together, in the singular."""
    return " or ".join(words.of(kind.name) for kind in kinds if kind.name != UPDATE) or otherwise
