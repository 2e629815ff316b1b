"""A gate for other people's CI: what a run must meet, line by line of a policy, and what it does not.

Whatever bounds a leak is held against the upper end of the interval: a figure that stands on too few trials
to show that it is below its limit is a failure, not a pass.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from fedstyle_secure.audit.catalogue import catalogues
from fedstyle_secure.audit.findings import IDENTIFICATION, MEMBERSHIP, RATE, Finding, Verdict
from fedstyle_secure.errors import AuditError, ConfigError
from fedstyle_secure.hints import did_you_mean
from fedstyle_secure.privacy.figures import epsilon_told
from fedstyle_secure.registry import systems
from fedstyle_secure.report.held import Check
from fedstyle_secure.report.run.facts import Facts, read_facts

VIEWS = (
    "network",
    "platform",
    "platform_opener",
    "platform_artists",
    "malicious_platform",
    "opener",
    "buyer",
)
"""Adversary views that a policy may name."""

_MOST = 12
"""Most names that a line lists."""

_Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Verdicts = Annotated[tuple[Verdict, ...], Strict(False)]
"""TOML has lists only."""

_Attacks = Annotated[tuple[str, ...], Strict(False)]

_Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class EpsilonLimits(_Part):
    """Most epsilon, of the run and over everything that a portfolio released, at no more than `delta`."""

    artwork: _Limit | None = None
    artist: _Limit | None = None
    lifetime_artwork: _Limit | None = None
    lifetime_artist: _Limit | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5


class MaxTpr(_Part):
    """Most true positives at a false-positive rate."""

    fpr: Annotated[float, Field(gt=0, lt=1)]
    value: _Rate


class AttackLimits(_Part):
    """What attacks may find, and which must have been run: of every run, or by the run's system.

    Limits hold whatever the verdict is. A verdict “by design” counts as “leaks” where that is forbidden,
    unless `allow_by_design` says that what is published on purpose may do what it is published for; “by
    design” itself can be forbidden, and then nothing allows it.
    """

    max_tpr: MaxTpr | None = None
    max_identification_advantage: _Rate | None = None
    required: _Attacks | dict[str, _Attacks] = ()
    forbidden_verdicts: _Verdicts | dict[str, _Verdicts] = ()
    allow_by_design: bool = False
    allow_inconclusive: bool = False
    min_confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    all_artists: bool = True

    def required_of(self, system: str) -> Iterable[tuple[tuple[str, ...], str]]:
        """Each attack that must have been run on a system, below the keys that ask for it."""
        if not isinstance(self.required, dict):
            yield from ((("attacks", "required"), name) for name in self.required)
            return
        for part in ("all", system):
            yield from ((("attacks", "required", part), name) for name in self.required.get(part, ()))

    @property
    def asks(self) -> bool:
        """Whether anything that an attack finds could fail."""
        limits = (self.max_tpr, self.max_identification_advantage, self.required, self.forbidden_verdicts)
        return (
            any(limit is not None and limit not in ((), {}) for limit in limits)
            or not self.allow_inconclusive
        )


class Evidence(_Part):
    """What the run's figures must stand on beside its own folder.

    Attributes:
        own_ledgers: Whether every artist's own ledger must have been compared.
        signed: Whether an opener must have signed for the run's files, with a key that is not only the run's
            own word.
        opener: The public key that it must have signed with.
    """

    own_ledgers: bool = False
    signed: bool = False
    opener: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @property
    def asks(self) -> bool:
        """Whether anything could fail."""
        return self.own_ledgers or self.signed or self.opener is not None


class Consent(_Part):
    """Whether an artist of the run may have withdrawn by now; of whom nobody can tell fails, too."""

    allow_withdrawn: bool = False

    @property
    def asks(self) -> bool:
        """Whether anything could fail."""
        return not self.allow_withdrawn


class Policy(_Part):
    """A policy file's content."""

    evidence: Evidence | None = None
    epsilon: EpsilonLimits | None = None
    attacks: AttackLimits | None = None
    consent: Consent | None = None

    @property
    def asks(self) -> bool:
        """Whether any run could fail it."""
        limits = self.epsilon.model_dump(exclude={"delta"}).values() if self.epsilon else ()
        parts = (self.attacks, self.evidence, self.consent)
        return any(limit is not None for limit in limits) or any(part and part.asks for part in parts)


Failure = Check
"""A `Check` that has a problem."""


def check(
    run: Path | str, policy: Path | str, opener: str | None = None, studios: Path | None = None
) -> list[Failure]:
    """What of a policy a run does not meet.

    Args:
        run: The run's folder.
        policy: The policy's file.
        opener: The opener's public key; None: the policy's, or the studios', or else the one that the run
            states.
        studios: Where the artists' own ledgers lie; None: where the run says.

    Raises:
        ConfigError: The policy cannot be read, asks for nothing, or has an unknown key.
        RunError, AuditError: As `read_facts`.
    """
    return [one for one in checks(run, policy, opener, studios) if one.problem]


def checks(
    run: Path | str, policy: Path | str, opener: str | None = None, studios: Path | None = None
) -> list[Check]:
    """Everything that a policy asks of a run, met or not. Args and raises as `check`."""
    path = Path(policy)
    text, asked = load_policy(path)
    pinned = asked.evidence.opener if asked.evidence else None
    if opener is not None and pinned not in (None, opener):
        raise ConfigError(f"{path}: evidence.opener = {pinned}, which is not the one that --opener names")
    facts = read_facts(run, opener or pinned, studios)
    assumed = facts.audit["settings"]["without"] if facts.audit else []
    if assumed:
        raise AuditError(
            f"{run}: its audit assumes that the run lacks {', '.join(assumed)}; a policy is for an audit of "
            "the run as it is"
        )
    if asked.attacks is not None and asked.attacks.required:
        _refuse_unknown_attacks(path, key_lines(text), asked.attacks, facts)
    return list(Gate(facts, path, key_lines(text)).all(asked))


def _refuse_unknown_attacks(
    path: Path, lines: Mapping[tuple[str, ...], int], limits: AttackLimits, facts: Facts
) -> None:
    """Raises ConfigError where an attack must have been run that nobody knows, or a system that is none."""
    there = catalogues()
    absent = set(systems()) - there.keys()
    parts = limits.required if isinstance(limits.required, dict) else {"": limits.required}
    if strange := [part for part in parts if part and part not in (*systems(), "all")]:
        line, near = (
            _line(lines, "attacks", "required", strange[0]),
            did_you_mean(strange[0], ("all", *systems())),
        )
        raise ConfigError(f"{path}:{line}: attacks.required: unknown system {strange[0]!r}{near}")
    audited = facts.audit["attacks"] if facts.audit else []
    called = {known.card.key: known.card.name for all_ in there.values() for known in all_}
    called |= {attack["key"]: attack["name"] for attack in audited}
    called |= {finding.attack: finding.attack for finding in facts.findings}
    for part, names in parts.items():
        for name in names:
            attack = _named(name)[1]
            # What a system knows that lacks its extra here, nobody can tell: it is asked of its runs only.
            if part not in absent and attack not in (*called, *called.values()):
                line = _line(lines, "attacks", "required", *(part,) * bool(part))
                raise ConfigError(
                    f"{path}:{line}: attacks.required: no attack is called {attack!r}"
                    f"{did_you_mean(attack, called)}; `fedstyle attacks` lists them"
                )


def _named(name: str) -> tuple[str, str]:
    """`ATTACK` or `VIEW/ATTACK` as view, or "", and attack."""
    view, slash, attack = name.partition("/")
    return (view, attack) if slash and view in VIEWS else ("", name)


def load_policy(path: Path) -> tuple[str, Policy]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such policy; `fedstyle init` writes one to begin with"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: no policy can be read: {error}") from None
    lines = key_lines(text)
    _refuse_unknown(path, lines, values)
    try:
        policy = Policy.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        keys = [str(part) for part in problem["loc"] if isinstance(part, str)]
        line = _line(lines, *keys)
        key = ".".join(key for key in keys if key.islower())
        raise ConfigError(
            f"{path}:{line}: {key} = {problem['input']!r} is not allowed: {problem['msg']}"
        ) from None
    if not policy.asks:
        raise ConfigError(
            f"{path}: asks for nothing; set a key under [epsilon], [attacks], [evidence] or [consent]"
        )
    views = policy.attacks.forbidden_verdicts if policy.attacks else ()
    for view in views if isinstance(views, dict) else ():
        if view not in (*VIEWS, "all"):
            line = _line(lines, "attacks", "forbidden_verdicts", view)
            raise ConfigError(f"{path}:{line}: unknown view {view!r}{did_you_mean(view, (*VIEWS, 'all'))}")
    return text, policy


def _refuse_unknown(path: Path, lines: Mapping[tuple[str, ...], int], values: Mapping[str, Any]) -> None:
    parts: Mapping[str, type[BaseModel]] = {
        "epsilon": EpsilonLimits,
        "attacks": AttackLimits,
        "evidence": Evidence,
        "consent": Consent,
    }
    for section, inner in values.items():
        if section not in parts:
            raise ConfigError(
                f"{path}:{_line(lines, section)}: unknown section {section!r}{did_you_mean(section, parts)}"
            )
        if not isinstance(inner, dict):
            raise ConfigError(
                f"{path}:{_line(lines, section)}: {section!r} is a section; set a key inside it"
            )
        known = parts[section].model_fields
        for key, value in inner.items():
            if key not in known:
                where = _line(lines, section, key)
                raise ConfigError(f"{path}:{where}: unknown key '{section}.{key}'{did_you_mean(key, known)}")
            if key == "max_tpr" and isinstance(value, dict):
                for name in value:
                    if name not in MaxTpr.model_fields:
                        where = _line(lines, section, key, name)
                        near = did_you_mean(name, MaxTpr.model_fields)
                        raise ConfigError(f"{path}:{where}: unknown key '{section}.{key}.{name}'{near}")


def some(names: Sequence[str]) -> str:
    """Names for a line: the first few, and how many there are beside them."""
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """On which line of a TOML text each table and key begins; an inline table is on its key's line."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[([^\[\]]+)\]\s*(#.*)?$", line):
            table = _dotted(header[1])
            lines.setdefault(table, number)
        elif key := re.match(
            r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""", line
        ):
            lines.setdefault((*table, *_dotted(key[1])), number)
    return lines


def _dotted(text: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def _line(lines: Mapping[tuple[str, ...], int], *keys: str) -> int:
    """The line of a key, else of the table that it would be in, else of the first key below it, else 1."""
    for end in range(len(keys), 0, -1):
        if keys[:end] in lines:
            return lines[keys[:end]]
        below = [line for key, line in lines.items() if key[:end] == keys[:end]]
        if below:
            return min(below)
    return 1


class Gate:
    """Asks one run what one policy asks."""

    def __init__(self, facts: Facts, policy: Path, lines: Mapping[tuple[str, ...], int]) -> None:
        self._facts, self._policy, self._lines = facts, policy, lines

    def all(self, policy: Policy) -> Iterable[Check]:
        if policy.evidence is not None:
            yield from self._evidence(policy.evidence)
        if policy.epsilon is not None:
            yield from self._epsilon(policy.epsilon)
        if policy.attacks is not None:
            yield from self._attacks(policy.attacks)
        if policy.consent is not None and policy.consent.asks:
            yield from self._consent()
        for i in self._facts.alarms:
            problem = "lies above what the guarantee allows: a bug in the defence or in the attack"
            yield self._of_finding(i, "attacks", problem=problem)

    def _check(self, *keys: str, subject: str, problem: str = "") -> Check:
        return Check(self._policy, _line(self._lines, *keys), ".".join(keys), subject, problem)

    def _of_finding(self, i: int, *keys: str, problem: str = "", quantity: str = "") -> Check:
        """A check of a finding, or of another figure of its attack and target."""
        finding = self._facts.findings[i]
        figure = quantity or finding.quantity
        subject = f"{finding.view}, {finding.attack}, {finding.target}, {figure}"
        check = self._check(*keys, subject=subject, problem=problem)
        return replace(check, about=finding.attack, view=finding.view, case=f"{figure} [{finding.target}]")

    def _of_artist(self, artist: str, *keys: str, problem: str = "") -> Check:
        check = self._check(*keys, subject=f"artist {artist}", problem=problem)
        return replace(check, about="artists", case=artist)

    def _evidence(self, asked: Evidence) -> Iterable[Check]:
        found = self._facts.own["checked"]
        if asked.own_ledgers:
            problem = ""
            if found["artists_ledgers"] < found["artists"]:
                problem = (
                    f"{found['artists_ledgers']} of {found['artists']} artists' own ledgers were compared"
                )
            yield self._check("evidence", "own_ledgers", subject="run", problem=problem)
        problem = ""
        if found["opener"] is None:
            problem = "nothing is summed under encryption, so no opener signed for its files"
        elif found["opener_by"] == "run":
            problem = "only the run itself says who its opener is; name the opener's key"
        if asked.signed:
            yield self._check("evidence", "signed", subject="run", problem=problem)
        if asked.opener is not None:
            # With another key, or without signatures, the run is refused before anything is asked of it.
            yield self._check("evidence", "opener", subject="run", problem=problem)

    def _consent(self) -> Iterable[Check]:
        own = self._facts.own
        for row in self._facts.summary["privacy"]["per_artist"]:
            artist, problem = row["artist"], ""
            if artist in own["withdrawn"]:
                problem = f"withdrew at {own['withdrawn'][artist]}, and the model keeps what it released"
            elif row["withdrawn"]:
                problem = "withdrew before the run ended, and the model keeps what it released"
            elif artist in own["withdrawal_unknown"]:
                problem = "its own ledger is not here, so nobody can tell whether it has withdrawn"
            yield self._of_artist(artist, "consent", "allow_withdrawn", problem=problem)

    def _epsilon(self, limits: EpsilonLimits) -> Iterable[Check]:
        privacy = self._facts.summary["privacy"]
        for key in ("artwork", "artist", "lifetime_artwork", "lifetime_artist"):
            limit = getattr(limits, key)
            if limit is None:
                continue
            kind = key if key.startswith("lifetime_") else f"epsilon_{key}"
            column = kind.replace("lifetime_", "lifetime_epsilon_") if kind is key else kind
            for row in privacy["per_artist"]:
                found, problem = row[column], ""
                since = self._facts.own["since"].get(row["artist"])
                if since is not None and kind is key:
                    found = since[key.replace("lifetime_", "epsilon_")]
                if found is None:
                    problem = "there is no guarantee"
                elif found > limit:
                    problem = f"{epsilon_told(found)} is above {limit:g}"
                yield self._of_artist(row["artist"], "epsilon", key, problem=problem)
            if not privacy["per_artist"]:
                yield self._check("epsilon", key, subject="run", problem="it has no artists")
        delta = privacy["delta"]
        late = f"{delta:g} is above {limits.delta:g}, and epsilon says nothing without it"
        yield self._check("epsilon", "delta", subject="run", problem=late if delta > limits.delta else "")

    def _attacks(self, limits: AttackLimits) -> Iterable[Check]:
        if self._facts.audit is None:
            yield self._check("attacks", subject="run", problem="no audit was run; `fedstyle audit` runs one")
            return
        yield from self._reach(limits)
        if limits.max_tpr is not None:
            yield from self._tpr(limits.max_tpr)
        if limits.max_identification_advantage is not None:
            yield from self._advantage(limits.max_identification_advantage)
        for keys, name in limits.required_of(self._system):
            yield self._required(keys, name)
        yield from self._verdicts(limits)

    def _ran(self) -> list[int]:
        return [i for i, finding in enumerate(self._facts.findings) if finding.value is not None]

    def _reach(self, limits: AttackLimits) -> Iterable[Check]:
        """How far the audit went; an audit that hardly looked finds nothing."""
        audit = self._facts.audit
        assert audit is not None
        there = {view["key"] for view in audit["views"]}
        ran = [self._facts.findings[i] for i in self._ran()]
        missing = [view for view in VIEWS if view not in there]
        problem = f"has no view {', '.join(missing)}" if missing else "" if ran else "ran no attack"
        yield self._check("attacks", subject="audit", problem=problem)
        low = min((finding.confidence or 0.0 for finding in ran), default=1.0)
        problem = f"has intervals of confidence {low:g}" if low < limits.min_confidence else ""
        yield self._check("attacks", "min_confidence", subject="audit", problem=problem)
        left = [name for _, name in self._facts.artists if name not in audit["artists"]]
        problem = f"did not attack {some(left)}" if left and limits.all_artists else ""
        yield self._check("attacks", "all_artists", subject="audit", problem=problem)

    def _tpr(self, limit: MaxTpr) -> Iterable[Check]:
        """Every membership attack that ran must have this rate."""
        keys, asked = ("attacks", "max_tpr"), f"{RATE} of {limit.fpr}"
        ran = [i for i in self._ran() if self._facts.findings[i].metric == MEMBERSHIP]
        for i in ran:
            finding = self._facts.findings[i]
            if finding.target != "all":
                continue
            alike = [
                f
                for f in self._facts.findings
                if (f.view, f.attack, f.metric) == (finding.view, finding.attack, RATE)
            ]
            rates = [f for f in alike if f.target == "all" and f.fpr == limit.fpr]
            there = sorted({f.fpr for f in alike if f.value is not None and f.fpr is not None})
            problem = ""
            if not rates:
                problem = f"has no {asked}"
                problem += f"; it has one at {', '.join(str(rate) for rate in there)}" if there else ""
            for rate in rates:
                if rate.value is None:
                    problem = f"its {asked} was not run: {rate.reason}"
                else:
                    problem = problem or _above(rate, rate.value, rate.high, limit.value)
            yield self._of_finding(i, *keys, problem=problem, quantity=asked)
        if not ran:
            yield self._check(*keys, subject="audit", problem="no membership attack was run")

    def _advantage(self, limit: float) -> Iterable[Check]:
        keys = ("attacks", "max_identification_advantage")
        found = [i for i in self._ran() if self._facts.findings[i].metric == IDENTIFICATION]
        for i in found:
            finding = self._facts.findings[i]
            value, high = _advantage_of(finding)
            problem = "has no baseline" if value is None else _above(finding, value, high, limit)
            yield self._of_finding(i, *keys, problem=problem)
        if not found:
            yield self._check(*keys, subject="audit", problem=f"no finding has an {IDENTIFICATION}")

    @property
    def _system(self) -> str:
        """Of the run."""
        return str(self._facts.summary["system"])

    def _required(self, keys: tuple[str, ...], name: str) -> Check:
        """`ATTACK`, or `VIEW/ATTACK`; the attack by its name or its key."""
        audit = self._facts.audit
        assert audit is not None
        called = {attack["key"]: attack["name"] for attack in audit["attacks"]}
        view, attack = _named(name)
        wanted = called.get(attack, attack)
        rows = [f for f in self._facts.findings if f.attack == wanted and view in ("", f.view)]
        weak = sorted({f.reason for f in rows if f.verdict == "inconclusive" and f.target == "all"})
        problem = f"is inconclusive: {'; '.join(weak)}" if weak else ""
        if not any(f.value is not None for f in rows):
            known = {*called, *called.values(), *(f.attack for f in self._facts.findings)}
            reasons = sorted({f.reason for f in rows})
            problem = "was not run" + (f": {'; '.join(reasons)}" if reasons else "")
            if attack not in known:
                problem += f"; {self._elsewhere(attack, known)}"
        return self._check(*keys, subject=name, problem=problem)

    def _elsewhere(self, attack: str, known: Collection[str]) -> str:
        """Of an attack that the audit has none of."""
        return f"the system {self._system!r} has no such attack; [attacks.required] asks for some by system"

    def _verdicts(self, limits: AttackLimits) -> Iterable[Check]:
        # Where the attack itself proves nothing, one line says so, not one an artist.
        weak_for_all = {
            (finding.view, finding.attack, finding.quantity)
            for finding in self._facts.findings
            if finding.verdict == "inconclusive" and finding.target == "all"
        }
        forbidden = limits.forbidden_verdicts
        ran = {finding.view for finding in self._facts.findings if finding.value is not None}
        for view in forbidden if isinstance(forbidden, dict) else ():
            if view != "all" and view not in ran:
                problem = "no attack was run in this view, so nothing is known"
                yield self._check(
                    "attacks", "forbidden_verdicts", view, subject=f"view {view}", problem=problem
                )
        for i, finding in enumerate(self._facts.findings):
            keys: tuple[str, ...] = ("attacks", "forbidden_verdicts")
            if isinstance(forbidden, dict):
                some = [
                    key for key in (finding.view, "all") if self._bad(finding, forbidden.get(key, ()), limits)
                ]
                keys, bad = (*keys, *some[:1]), bool(some)
            else:
                bad = self._bad(finding, forbidden, limits)
            if forbidden:
                problem = self._forbidden(finding, limits) if bad else ""
                yield self._of_finding(i, *keys, problem=problem)
            what = (finding.view, finding.attack, finding.quantity)
            told = finding.target != "all" and what in weak_for_all
            if not limits.allow_inconclusive and not told:
                weak = f"is inconclusive: {finding.reason or 'no reason is given'}"
                problem = weak if finding.verdict == "inconclusive" else ""
                yield self._of_finding(i, "attacks", "allow_inconclusive", problem=problem)

    def _bad(self, finding: Finding, forbidden: Sequence[Verdict], limits: AttackLimits) -> bool:
        """Whether a policy forbids a finding's verdict; what it does not allow by design is a leak."""
        if finding.verdict in forbidden:
            return True
        return (
            finding.verdict == "by design" and "leaks" in forbidden and bool(self._no_design(finding, limits))
        )

    def _forbidden(self, finding: Finding, limits: AttackLimits) -> str:
        """Why a verdict is not met."""
        why = self._no_design(finding, limits) if finding.verdict == "by design" else ""
        return f"is “by design”, which is “leaks” here; {why}" if why else f"is “{finding.verdict}”"

    def _no_design(self, finding: Finding, limits: AttackLimits) -> str:
        """Why what is “by design” is a leak nevertheless; "" where it may pass."""
        if not limits.allow_by_design:
            return "attacks.allow_by_design = true lets it pass"
        # The audit's own word for what an attack is for lies in the run's folder, and can be edited.
        known = catalogues().get(self._system, ())
        if not any(one.purpose and one.card.name == finding.attack for one in known):
            return "nothing is published for what this attack does"
        audit = self._facts.audit
        assert audit is not None
        unknown = [name for name in self._facts.own["withdrawal_unknown"] if name in audit["artists"]]
        return (
            f"nobody can tell whether {some(unknown)} still agrees, as the own ledger is not here"
            if unknown
            else ""
        )


def _advantage_of(finding: Finding) -> tuple[float | None, float | None]:
    """How far the rate lies above its baseline, and the upper end of that: the paired one, or the larger."""
    if finding.value is None or finding.baseline is None:
        return None, None
    high = None if finding.high is None else finding.high - finding.baseline
    paired = finding.details.get("advantage high")
    if paired is not None and high is not None:
        high = max(high, paired)
    return max(finding.value - finding.baseline, finding.details.get("advantage", 0.0)), high


_SLACK = 1e-9
"""What the difference of two rates adds to a figure in floating point."""


def _above(finding: Finding, value: float, high: float | None, limit: float) -> str:
    """Why a figure is not shown to be within its limit; "" where it is."""
    limit += _SLACK
    if value > limit:
        return f"{value:.4g} is above {limit:g}"
    if high is None:
        return f"{value:.4g} has no interval, so nothing shows that it is below {limit:g}"
    if high > limit:
        return (
            f"n = {finding.n} is too small to show that it is below {limit:g}: the interval of {value:.4g} "
            f"goes up to {high:.4g}"
        )
    return ""
