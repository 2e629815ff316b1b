"""The forty-two questions that an auditor asks, each with what this run answers, or a field left blank.

Sources: EDPB Opinion 28/2024, GDPR, NIST SP 800-226, and others as named at each entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count

from fedstyle_secure.audit.findings import PROVEN
from fedstyle_secure.report.page.pieces import Badge, Blank, Block, Bullets, Entry, Line, Para, Table
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.report.page.words import LEVEL_WORDS
from fedstyle_secure.report.run import fairness
from fedstyle_secure.report.run.answers import answer, each_once, weighty
from fedstyle_secure.report.run.facts import Facts

Reply = Callable[[Facts], Sequence[Block]]


Question = tuple[str, str, Reply]
"""One entry: what is asked, by whom, and how it is answered."""

_SMALL = 0.01
"""Delta times the number of works from which on it is called small: at one, delta may hide a whole work."""


_WAYS: Mapping[str, str] = {
    "consent.toml": "consent.toml, the artist's own file",
    "credentials": "content credentials (C2PA) of the picture, or what is wrong with them",
    "reservation": "a reservation of text and data mining, in tdmrep.json or in the picture",
    "consent.jsonl": "consent.jsonl, the artist's own decisions, work by work",
    "unsaid": "nobody's word: nothing allows it",
}
"""Where a use is refused (`consent.uses.Way`), in words."""


def entries(facts: Facts) -> list[tuple[str, list[Entry]]]:
    """The entries by group, numbered from 1."""
    numbers = count(1)
    return [
        (group, [Entry(next(numbers), title, asked_by, reply(facts)) for title, asked_by, reply in questions])
        for group, questions in QUESTIONS.items()
    ]


def _blank(*labels: str) -> Reply:
    return lambda facts: [Para([Blank(label)]) for label in labels]


def _says(text: str, *labels: str) -> Reply:
    """A text in the notation of `say`, and fields left blank."""
    return lambda facts: [Para(facts.say(text)), *_blank(*labels)(facts)]


def _see(words: str) -> Reply:
    return _says(f"See “{words}”.")


def _where(holds: Callable[[Facts], bool], reply: Reply, otherwise: str) -> Reply:
    return lambda facts: reply(facts) if holds(facts) else [Para([otherwise])]


def _needs_audit(reply: Reply) -> Reply:
    return _where(lambda facts: facts.audit is not None, reply, "Not run: there is no audit of this run.")


def _needs_noise(reply: Reply) -> Reply:
    none = "Not applicable: releases have no noise, so nothing is guaranteed to any unit."
    return _where(lambda facts: facts.dp, reply, none)


def _needs_encryption(reply: Reply, otherwise: str) -> Reply:
    return _where(lambda facts: facts.config.secure_sum.enabled, reply, f"Not applicable: {otherwise}")


def _values(key: str, rows: Sequence[Sequence[Line]]) -> Block:
    return Table(key, [], [["What"], ["Value"]], rows, wide=frozenset({1}))


def _settings(facts: Facts, *keys: str) -> list[list[Line]]:
    return [
        facts.row("{key} | {value:short}", key=key, value=f"config.toml#/{key.replace('.', '/')}")
        for key in keys
    ]


def _works_of(places: Sequence[int]) -> str:
    """The source of how many training works some artists have."""
    return " ".join(f"manifest.json#/gallery/artists/{i}/train" for i in places)


def _private_works(facts: Facts) -> str:
    return _works_of([i for i, _ in facts.artists])


def _flow(facts: Facts) -> list[Block]:
    head = facts.row("Leaves the artist | Rounds | Artists | Of that sealed")
    rows = [
        facts.row(
            "{leaves} | {rounds:whole count} | {replies:whole} | {sealed}",
            at=f"metrics.jsonl#/{places[0]}",
            leaves=", ".join(facts.metrics[places[0]]["releases"]) or "nothing",
            rounds=" ".join(f"metrics.jsonl#/{i}/round" for i in places),
            sealed=_sealed(facts, places[0]),
        )
        for places in _alike(facts)
    ]
    told = (
        "Pictures and file names never leave; how many pictures there are leaves inside sums and noisy "
        f"counts only. What is not sealed ({'cards' if _summed(facts) else 'updates, cards'}) leaves in "
        "clear, "
        f"{'with the noise that the ledger states' if facts.dp else 'without noise'}; its byte count is not "
        "recorded by the run."
    )
    caption: Line = ["What leaves an artist, by kind of round."]
    return [Table("flow", caption, head, rows, frozenset({1, 2})), Para([told])]


def _sealed(facts: Facts, i: int) -> Line:
    """What of a round's releases is encrypted."""
    total = facts.metrics[i]["sum"]
    if not total:
        return ["nothing"]
    if not total["artists"]:
        return ["a sum that was not opened"]
    return facts.say("{sum/upload_bytes:whole} bytes an artist, the same for all", at=f"metrics.jsonl#/{i}")


def _alike(facts: Facts) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for i, line in enumerate(facts.metrics):
        sealed = line["sum"].get("upload_bytes", 0) if line["sum"] else None
        groups.setdefault(repr((line["releases"], line["replies"], sealed)), []).append(i)
    return list(groups.values())


def _works(facts: Facts) -> list[Block]:
    rows = facts.cells("artists | {works:whole count}", works=_private_works(facts))
    if facts.over_sites:
        told = "Artists were on machines of their own: how many works each has stays there."
        return [_values("works", rows), Para([told])]
    rows += facts.cells(
        "training works, all artists | {works:whole sum}",
        "fewest of an artist | {works:whole min}",
        "median | {works:short median}",
        "most of an artist | {works:whole max}",
        works=_private_works(facts),
    )
    if facts.manifest["gallery"]["skipped"]:
        rows += facts.cells("left out | {manifest.json#/gallery/skipped/*/reason:whole count}")
    if facts.refused:
        rows += facts.cells("use refused | {refused:whole count}", refused=_refused(facts))
    return [_values("works", rows)]


def _refused(facts: Facts, way: str = "") -> str:
    """The source of works whose use was refused, in all ways or in one."""
    places = [i for i, row in enumerate(facts.refused) if way in ("", row["way"])]
    return " ".join(f"manifest.json#/gallery/refused/{i}/way" for i in places)


def _consent(facts: Facts) -> list[Block]:
    asked: list[Block] = [
        Para(facts.say(f"Consent to publish a {noun}: {{config.toml#/{key.replace('.', '/')}}}."))
        for noun, key in facts.words.consents.items()
    ]
    if facts.manifest["gallery"].get("purpose") is None:
        told = (
            "No consent ledger per artwork is kept by this run. Counts of allowed, constrained and "
            "not-allowed works come from the controller."
        )
        blank = "Allowed, constrained, not allowed; refused works; opt-out route"
        return [*asked, *_says(told, blank)(facts)]
    told = (
        "Each work was asked for the use {manifest.json#/gallery/purpose}: a work takes part only where its "
        "artist's file or its own signed credentials allow that, and nothing refuses it. Constrained counts "
        "as not allowed. A work that is refused later is absent from the next run; what was learned from it "
        "before stays in the models that were released; its epsilon says how little that can be."
    )
    if not facts.refused:
        none = Para(["No work was refused."])
        return [*asked, Para(facts.say(told)), none, *_blank("Opt-out route")(facts)]
    head = facts.row("Use refused by | Works")
    rows = [
        facts.row("{by} | {works:whole count}", by=by, works=_refused(facts, way))
        for way, by in _WAYS.items()
        if _refused(facts, way)
    ]
    caption: Line = ["Works that were left out as their use was not allowed."]
    counts = Table("refused", caption, head, rows, frozenset({1}))
    return [*asked, Para(facts.say(told)), counts, *_blank("Opt-out route")(facts)]


def _withdrawals(facts: Facts) -> list[Block]:
    gone = [
        _withdrew(facts, i)
        for i, row in enumerate(facts.summary["privacy"]["per_artist"])
        if row["artist"] in facts.own["withdrawn"] or row["withdrawn"]
    ]
    unknown = facts.own["withdrawal_unknown"]
    blocks: list[Block] = [Bullets(gone)] if gone else []
    if unknown:
        told = (
            "Artists whose own ledger is not here, so that nobody can tell by now: "
            "{report.json#/withdrawal_unknown/*:whole count}."
        )
        blocks.append(Para(facts.say(told)))
    if not gone and len(unknown) < len(facts.artists):
        blocks.append(Para(["No artist whose own ledger is here has withdrawn."]))
    undone = (
        "A withdrawal stops every further release and takes the card down: a run that goes on drops it, and "
        "no search lists it where the artist's own ledger lies. What was released before cannot be called "
        "back. What was learned keeps it, within the stated epsilon where there "
        "is one; product.safetensors and the record of a run that had ended keep card and releases, as do "
        "copies that others hold. To train anew without the artist costs all others again."
    )
    return [*blocks, Para([undone])]


def _withdrew(facts: Facts, i: int) -> Line:
    """Who withdrew, when, and what was the last that left."""
    row = facts.summary["privacy"]["per_artist"][i]
    artist = row["artist"]
    ours = [j for j, e in enumerate(facts.ledger[artist] or []) if e["run"] == facts.run.identity]
    last = facts.ledger_pointer(artist, ours[-1], "round") if ours else ""
    return facts.say(
        "{whom} withdrew< at {when}>, {order}<; the last round with a release is round {last}>.",
        whom=facts.called(artist),
        when=facts.withdrawn(i) if artist in facts.own["withdrawn"] else "",
        order="before the run ended" if row["withdrawn"] else "after the run had ended",
        last=facts.sources.figure(last, "whole") if last else "",
    )


def _unit(facts: Facts) -> list[Block]:
    rows = facts.cells(
        "unit that noise was scaled to | {summary.json#/privacy/unit}",
        "adjacency | {summary.json#/privacy/adjacency}",
        "differential privacy | {config.toml#/privacy/dp}",
    )
    return [_values("unit", rows)]


def _epsilons(facts: Facts) -> list[Block]:
    rows = facts.cells(
        "delta | {delta}",
        "largest epsilon per artwork | {epsilon_artwork_max:epsilon}",
        "largest epsilon per artist | {epsilon_artist_max:epsilon}",
        at="summary.json#/privacy",
    )
    for kind in facts.summary["privacy"]["noise_multiplier"]:
        at = f"summary.json#/privacy/noise_multiplier/{escape(kind)}"
        rows += facts.cells("noise multiplier, {kind} | {value:short}", kind=kind, value=at)
    told = (
        "Epsilon is the smaller of two upper bounds, RDP and PRV or PLD; the mechanisms' own parameters are "
        "in the table of releases, and every release with its parameters is in ledger.json."
    )
    return [_values("epsilons", rows), Para([told])]


def _delta(facts: Facts) -> list[Block]:
    works = _private_works(facts)
    if facts.over_sites:
        text = "Delta is {summary.json#/privacy/delta}; how many works there are stays with the artists."
        return [Para(facts.say(text))]
    small = facts.summary["privacy"]["delta"] * facts.sources.value(works, "sum") < _SMALL
    said = (
        "It lies below a hundredth of one over their number."
        if small
        else "That is not far below one over their number: delta can stand for a picture given away whole."
    )
    text = "Delta is {summary.json#/privacy/delta} with {works:whole sum} training works. {said}"
    return [Para(facts.say(text, works=works, said=said))]


def _sampling(facts: Facts) -> list[Block]:
    keys = ("training.sampling_rate", "training.local_steps", "run.rounds", "privacy.clip_norm")
    rows = facts.cells("sampling that is accounted for | {summary.json#/privacy/sampling}")
    told = (
        "The draw and the ledger entry read the same frozen mechanism, so that what was assumed is what was "
        "done. Accountants: RDP (Opacus), PRV (Opacus) and PLD (dp-accounting); never the GDP approximation."
    )
    return [_values("sampling", [*rows, *_settings(facts, *keys)]), Para([told])]


def _covered(facts: Facts) -> list[Block]:
    everything = [entry for entries in facts.ledger.values() for entry in entries or []]
    kinds = {entry["kind"] for entry in everything if facts.covered(entry, "artwork")}
    bare = {entry["kind"] for entry in everything if not facts.covered(entry, "artwork")}
    items = (
        f"Covered for the unit artwork: {', '.join(sorted(kinds)) or 'nothing'}.",
        f"Released without a guarantee for an artwork: {', '.join(sorted(bare)) or 'nothing'}.",
        "Not covered: participation, timing, declining, consent, utility figures of the experimenter.",
    )
    return [Bullets([[item] for item in items])]


def _library(facts: Facts) -> list[Block]:
    names = ("opacus", "dp-accounting", "torch")
    rows = facts.cells(*(f"{name} | {{manifest.json#/packages/{name}:text}}" for name in names))
    told = (
        "Noise comes from the operating system's entropy, never from a seed. It is integers, drawn in exact "
        "arithmetic and added to sums of integers; scaling and rounding come after it, so that low bits tell "
        "no more than the rest."
    )
    return [_values("library", rows), Para([told if facts.dp else "No noise was added in this run."])]


def _scheme(facts: Facts) -> list[Block]:
    if not facts.own["scheme"]:
        return [Para(["Encryption was on, and no sum was opened."])]
    rows = facts.cells(
        "scheme | BFV with pairwise masks",
        "profile | {profile:text}",
        "ring size | {report.json#/scheme/degree:whole}",
        "bits of the modulus | {report.json#/scheme/modulus_bits:whole}",
        "most bits for the security level | {report.json#/scheme/modulus_bits_allowed:whole}",
        "security level, bits, by the standard's table | {report.json#/scheme/security_bits:whole}",
        "plain modulus | {plain_modulus:whole}",
        "precision lost | by rounding to integers before the sum; the sum itself is exact",
        at="transcript.jsonl#/0/entry/manifest/terms",
    )
    return [_values("scheme", rows)]


def _contributors(facts: Facts) -> list[Block]:
    rows = _settings(facts, *facts.words.thresholds, "privacy.min_cohort")
    smallest = "{summary.json#/secure_sum/smallest_cohort:whole|no sum was opened}"
    return [_values("contributors", [*rows, *facts.cells(f"smallest cohort that was opened | {smallest}")])]


def _dropouts(facts: Facts) -> list[Block]:
    declined = [f"metrics.jsonl#/{i}/declined/*" for i, line in enumerate(facts.metrics) if line["declined"]]
    told = (
        "An artist that drops out of a sum is left out and the round is asked again of the others; below the "
        "smallest cohort no sum is opened. "
    )
    if not declined:
        return [Para([told + "Nobody declined in this run."])]
    text = told + "{declined:whole count} times an artist declined."
    return [Para(facts.say(text, declined=" ".join(declined)))]


def _budgets(facts: Facts) -> list[Block]:
    told = (
        "Method, budget, seed and seconds of every attack are in “How each attack was made”; trials are in "
        "the tables."
    )
    rows = facts.cells(
        "preset | {audit.json#/preset:text}", "seconds, all attacks | {audit.json#/wall_s:seconds}"
    )
    return [Para([told]), _values("budgets", rows)]


def _levels(facts: Facts) -> list[Block]:
    rows: list[list[Line]] = [
        [[words], [Badge(answer(facts, (level,))[0])]] for level, words in LEVEL_WORDS.items()
    ]
    told = "Intervals, low false-positive rates and the worst artist are in the tables above."
    return [Para([told]), _values("levels", rows)]


def _controls(facts: Facts) -> list[Block]:
    lost = [
        i for i in weighty(facts, range(len(facts.findings))) if facts.findings[i].verdict == "inconclusive"
    ]
    line = facts.say(
        "<Inconclusive, so without weight: {lost}.>", lost=listed(each_once(facts, lost, "attack"))
    )
    beside = " The control's figure stands beside each finding."
    return [Para([*(line or ["No finding is inconclusive."]), beside])]


def _canaries(facts: Facts) -> list[Block]:
    shared = "{manifest.json#/gallery/shared/*/name:whole count}"
    rows = facts.cells(
        "canaries planted | {summary.json#/audit/canaries/number:whole}",
        f"pictures that two artists share | {shared if facts.manifest['gallery']['shared'] else 'none'}",
        "doubles within a portfolio | refused",
    )
    return [_values("canaries", rows)]


def _empirical(facts: Facts) -> list[Block]:
    bounds = [i for i, f in enumerate(facts.findings) if f.metric == PROVEN and f.value is not None]
    if not bounds:
        told = (
            "No lower bound on epsilon was measured. Bounds on every other metric stand beside the findings."
        )
        return [Para([told])]
    lines = [
        facts.say(
            "{attack}: at least {proven:rate}, and at most {bound:rate|anything} by the ledger",
            at=(at := f"findings.json#/{i}"),
            proven=f"{at}/{'value' if facts.findings[i].low is None else 'low'}",
        )
        for i in bounds
    ]
    return [Bullets(lines)]


def _ratio(facts: Facts) -> list[Block]:
    rows = facts.cells(
        "values in the product's file, fixed ones included | {report.json#/encoder_values:whole}"
    )
    if not facts.over_sites:
        rows += facts.cells("training works | {works:whole sum}", works=_private_works(facts))
    return [_values("ratio", rows)]


def _utility(facts: Facts) -> list[Block]:
    words, found = facts.words, facts.summary["utility"]
    shown = [one for one in words.figures if found.get(one.key) is not None] or words.figures
    places = {"number": "rate", "whole": "whole"}
    rows = facts.cells(
        *(f"{one.told} | {{{one.key}:{places[one.kind]}|not measured}}" for one in shown),
        at="summary.json#/utility",
    )
    headline = words.headline(found)
    top, before = (found[headline.key], found[headline.start]) if headline else (None, None)
    told = (
        "Utility without protection takes a second run with the same settings and no noise; it is not in "
        "this folder."
    )
    if top is not None and before is not None and top <= before:
        told = "Private training did not help this run. " + told
    parts: list[Line] = [[told], fairness.gap(facts), ["See “Whom private training serves”."]]
    said = [Para(listed((one for one in parts if one), " "))]
    return [_values("utility", rows), *said, *_blank("Whether the gap between artists is fair")(facts)]


def _minimal(facts: Facts) -> list[Block]:
    told = (
        "Pictures are decoded to this many pixels a side; file names, titles and metadata stay with the "
        "artist."
    )
    return [_values("minimal", _settings(facts, "gallery.size")), Para([told])]


def _public(facts: Facts) -> list[Block]:
    public = [i for i, row in enumerate(facts.manifest["gallery"]["artists"]) if row["public"]]
    rows = facts.cells("kind of gallery | {config.toml#/gallery/source}")
    rows += (
        facts.cells("public artists | {public:whole count}", public=_works_of(public))
        if public
        else facts.cells("public artists | none")
    )
    return [_values("public", rows), *_blank("Origin and licence of the public pictures")(facts)]


def _summed(facts: Facts) -> bool:
    """Whether updates leave inside an encrypted sum only."""
    inside = facts.config.secure_sum.updates or facts.config.privacy.unit == "artist"
    return facts.config.secure_sum.enabled and inside


def _clear(facts: Facts) -> list[Block]:
    noise = "with the noise that the ledger states" if facts.dp else "without noise"
    told = (
        "Who takes part, that a reply came and when, sizes that are the same for all, codes of declining, "
        "cards. "
    )
    updates = "Updates are summed under encryption."
    return [Para([told + (updates if _summed(facts) else f"Updates leave in clear, one by one, {noise}.")])]


def _cumulative(facts: Facts) -> list[Block]:
    told = "Composed over all rounds and over every release: updates, cards, sums, noisy counts. "
    if facts.over_sites:
        told += (
            "Each artist states and signs what it released for this run. What it released for others is in "
            "its own ledger alone, and bounded by its own policy, whose digest each entry has."
        )
    else:
        told += (
            "Earlier runs on the same portfolios are in the column for all runs. Tuning runs count where "
            "they used the same studios; utility was evaluated on held-out pictures outside the guarantee."
        )
    return [Para([told])]


_KEY = (
    "The opener alone holds the secret key, makes a new one for each epoch and erases it afterwards. The "
    "platform holds none. Platform and opener together can feign a dropout and take two sums apart; "
)
_SHARE = (
    "where artists share a sum's noise, as here, what they read then has one share of it, and nothing bounds "
    "that. The epsilons hold against everybody else, with as many colluding artists as were subtracted."
)
_OWN = "each artist's own noise, where there is any, is what bounds that."
_EXACT = (
    "Decryption is exact: the rounding noise that gives keys of approximate schemes away is not shared. "
    "Attacks that provoke failures of exact decryption are met by fixed parameters, and by the opener, which "
    "opens nothing but signed sums of a whole cohort; they were not tested."
)
_POISON = (
    "Nothing that the platform checks bounds what one artist can do to the model in a round: clipping is "
    "done by the artist, for its own privacy. Inputs are not proven valid: an artist can send any values in "
    "range, or claim styles that it has not. Poisoning was not tested."
)
_RISKS = (
    "The findings are the evidence for likelihood; severity, residual risk and the decision are a person's."
)
_SIGNED = "The date is at the top of this page, the self-hash at its end, hashes and versions before it."


def _key(facts: Facts) -> Sequence[Block]:
    told = _KEY + (_SHARE if facts.shares else _OWN)
    return _says(told, "Who the opener is, and that it is independent of the platform")(facts)


QUESTIONS: Mapping[str, Sequence[Question]] = {
    "Identity": (
        (
            "Controller and roles, processor, data protection officer",
            "GDPR Art. 26, 28, 30",
            _blank("Controller", "Processor", "Data protection officer"),
        ),
        (
            "Purpose, lawful basis, version of the consent text",
            "GDPR Art. 6, 7, 13",
            _blank("Purpose", "Lawful basis", "Consent text, version"),
        ),
        ("System and data flow: what leaves an artist each round", "GDPR Art. 35(7)(a)", _flow),
        (
            "Release context: internal, API or open weights",
            "EDPB Opinion 28/2024, 46",
            _blank("Declared by the user; never inferred"),
        ),
        ("Retention and deletion", "GDPR Art. 5(1)(e)", _blank("Retention", "Deletion")),
    ),
    "Data and consent": (
        ("Works of an artist: fewest, median, most", "EDPB Opinion 28/2024, 58", _works),
        (
            "Consent: allowed, constrained, not allowed; refused works; opt-out",
            "CAWG; Directive 2019/790 Art. 4(3); AI Act Art. 53(1)(c)",
            _consent,
        ),
        ("Withdrawals, and what erasure can and cannot undo", "GDPR Art. 7(3), 17", _withdrawals),
        ("Origin and licence of the public set", "EDPB Opinion 28/2024, source selection", _public),
        ("Data minimisation", "GDPR Art. 5(1)(c); NIST SP 800-226, 4.5", _minimal),
        (
            "Other persons in the pictures",
            "GDPR Art. 9",
            _blank("Whether pictures show persons, and of which category"),
        ),
    ),
    "Differential privacy": (
        ("Unit of privacy and adjacency", "NIST SP 800-226, 2.4", _needs_noise(_unit)),
        ("Epsilon at delta, and the original parameters", "NIST SP 800-226, 2.3, 2.5", _epsilons),
        ("Delta against one over the number of works", "NIST SP 800-226, 2.3", _delta),
        ("Accountant; sampling as assumed and as done", "NIST SP 800-226, 3.1", _needs_noise(_sampling)),
        (
            "Composed over all rounds and all releases",
            "NIST SP 800-226, 2.6",
            _needs_noise(_cumulative),
        ),
        (
            "The figure for a whole artist",
            "NIST SP 800-226, 2.4",
            _says("Epsilon per artist: {summary.json#/privacy/epsilon_artist_max:epsilon}."),
        ),
        ("What each artist spent", "GDPR Art. 5(2)", _see("What was given away")),
        ("Which releases are covered, which are not", "NIST SP 800-226, 2.6", _covered),
        ("Library, source of randomness, floating point", "NIST SP 800-226, 3.1, 4.3", _library),
    ),
    "Encryption": (
        (
            "Scheme and its parameters",
            "GDPR Art. 32(1)(a)",
            _needs_encryption(_scheme, "this run encrypts nothing."),
        ),
        (
            "Who holds the key; generation, rotation, collusion",
            "NIST SP 800-226, 4.2, 4.4",
            _needs_encryption(
                _key,
                "there is no key.",
            ),
        ),
        ("Contributors to an opened sum, smallest cohort", "NIST SP 800-226, 4.2", _contributors),
        (
            "Sharing of approximate decryptions",
            "ISO/IEC 18033-8, draft",
            _needs_encryption(_says(_EXACT), "nothing is encrypted."),
        ),
        ("What stays in clear", "NIST SP 800-226, 4.2", _clear),
        ("What happens when somebody drops out", "GDPR Art. 32(1)(b)", _dropouts),
    ),
    "Attacks": (
        ("Coverage of the attack classes", "EDPB Opinion 28/2024, 55", _see("Classes of attack")),
        ("Threat model of each attack", "EDPB Opinion 28/2024, 58(c)", _needs_audit(_see("Who holds what"))),
        ("Budget: trials, iterations, seeds", "EDPB Opinion 28/2024, 58", _needs_audit(_budgets)),
        (
            "Baselines: undefended, blind, random",
            "EDPB Opinion 28/2024, 55",
            _needs_audit(_see("Every finding")),
        ),
        ("Results with intervals; the worst artist", "EDPB Opinion 28/2024, 55", _needs_audit(_levels)),
        (
            "Reconstructions beside the truth",
            "EDPB Opinion 28/2024, 55",
            _needs_audit(_see("Pictures that attacks picked or drew")),
        ),
        ("Positive control", "EDPB Opinion 28/2024, 58", _needs_audit(_controls)),
        ("Canaries and doubles", "EDPB Opinion 28/2024, 55", _canaries),
        (
            "Measured lower bound of epsilon against the claim",
            "NIST SP 800-226, 2.2",
            _needs_audit(_empirical),
        ),
    ),
    "Model": (
        ("Size of the model against the number of works", "EDPB Opinion 28/2024, 58", _ratio),
        ("Utility, and the gap between artists", "NIST SP 800-226, 3.3", _utility),
        ("Robustness against poisoning", "AI Act Art. 15", _says(_POISON)),
    ),
    "Governance": (
        (
            "Risks before and after, action plan, decision",
            "GDPR Art. 35(7)(c), (d)",
            _says(_RISKS, "Risk, likelihood and severity before and after", "Action plan", "Decision"),
        ),
        (
            "Limits",
            "EDPB Opinion 28/2024, 55",
            _says("Evidence against the executed attacks only; no finding of anonymity."),
        ),
        (
            "Date, tester, hashes, signature",
            "EDPB Opinion 28/2024, 58; GDPR Art. 32(1)(d)",
            _says(_SIGNED, "Tester", "Place and date", "Signature"),
        ),
        ("Next test: date or trigger", "GDPR Art. 32(1)(d), 35(11)", _blank("Date", "Trigger")),
    ),
}
"""By group, in the order in which an auditor asks them."""
