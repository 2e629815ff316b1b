"""The forty-two questions that an auditor asks, each with what this run answers, or a field left blank.

Sources: EDPB Opinion 28/2024, GDPR, NIST SP 800-226, and others as named at each entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedstyle_secure.audit.findings import PROVEN
from fedstyle_secure.report.page.pieces import Badge, Blank, Block, Bullets, Entry, Line, Para, Piece, Table
from fedstyle_secure.report.page.words import LEVEL_WORDS
from fedstyle_secure.report.run.answers import answer
from fedstyle_secure.report.run.facts import Facts

Reply = Callable[[Facts], Sequence[Block]]


@dataclass(frozen=True)
class Question:
    """One entry: what is asked, by whom, in which group, and how it is answered."""

    group: str
    title: str
    asked_by: str
    answer: Reply


_SMALL = 0.01
"""Delta times the number of works from which on it is called small: at one, delta may hide a whole work."""

_NO_NOISE = "Not applicable: releases have no noise, so nothing is guaranteed to any unit."


def entries(facts: Facts) -> list[tuple[str, list[Entry]]]:
    """The entries by group, numbered from 1."""
    groups: dict[str, list[Entry]] = {}
    for number, question in enumerate(QUESTIONS, start=1):
        blocks = question.answer(facts)
        groups.setdefault(question.group, []).append(Entry(number, question.title, question.asked_by, blocks))
    return list(groups.items())


def _blank(*labels: str) -> Reply:
    return lambda facts: [Para([Blank(label)]) for label in labels]


def _see(key: str, words: str) -> Reply:
    return lambda facts: [Para([f"See “{words}”."])]


def _values(facts: Facts, rows: Sequence[tuple[str, Piece | Line]], key: str) -> Block:
    cells: list[list[Line]] = [
        [[name], [value] if isinstance(value, str) or not isinstance(value, Sequence) else value]
        for name, value in rows
    ]
    return Table(key, [], [["What"], ["Value"]], cells, wide=frozenset({1}))


def _settings(facts: Facts, *keys: str) -> list[tuple[str, Piece | Line]]:
    return [(key, facts.sources.figure(f"config.toml#/{key.replace('.', '/')}")) for key in keys]


def _flow(facts: Facts) -> list[Block]:
    rows: list[list[Line]] = []
    for places in _alike(facts):
        i, line = places[0], facts.metrics[places[0]]
        every = " ".join(f"metrics.jsonl#/{j}/round" for j in places)
        sealed: Line = ["nothing"]
        if line["sum"] and not line["sum"]["artists"]:
            sealed = ["a sum that was not opened"]
        elif line["sum"]:
            values = facts.sources.figure(f"metrics.jsonl#/{i}/sum/upload_bytes", "whole")
            sealed = [values, " bytes an artist, the same for all"]
        rows.append(
            [
                [", ".join(line["releases"]) or "nothing"],
                [facts.sources.figure(every, "whole", "count")],
                [facts.sources.figure(f"metrics.jsonl#/{i}/replies", "whole")],
                sealed,
            ]
        )
    head: list[Line] = [["Leaves the artist"], ["Rounds"], ["Artists"], ["Of that sealed"]]
    noise = "with the noise that the ledger states" if facts.dp else "without noise"
    told = (
        "Pictures and file names never leave; how many pictures there are leaves inside sums and noisy "
        "counts only. "
        f"What is not sealed (updates, cards) leaves in clear, {noise}; its byte count is not recorded by "
        "the run."
    )
    return [
        Table("flow", ["What leaves an artist, by kind of round."], head, rows, frozenset({1, 2})),
        Para([told]),
    ]


def _alike(facts: Facts) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for i, line in enumerate(facts.metrics):
        sealed = line["sum"].get("upload_bytes", 0) if line["sum"] else None
        groups.setdefault(repr((line["releases"], line["replies"], sealed)), []).append(i)
    return list(groups.values())


def _works(facts: Facts) -> list[Block]:
    source = " ".join(f"manifest.json#/gallery/artists/{i}/train" for i, _ in facts.artists)
    figure = facts.sources.figure
    rows: list[tuple[str, Piece | Line]] = [
        ("artists", figure(source, "whole", "count")),
        ("training works, all artists", figure(source, "whole", "sum")),
        ("fewest of an artist", figure(source, "whole", "min")),
        ("median", figure(source, "short", "median")),
        ("most of an artist", figure(source, "whole", "max")),
    ]
    skipped = facts.manifest["gallery"]["skipped"]
    if skipped:
        rows.append(("left out", figure("manifest.json#/gallery/skipped/*/reason", "whole", "count")))
    return [_values(facts, rows, "works")]


def _consent(facts: Facts) -> list[Block]:
    allowed = facts.config.cards.consent
    return [
        Para(["Consent to publish a style card: ", facts.sources.figure("config.toml#/cards/consent"), "."]),
        Para(
            [
                "No consent ledger per artwork is kept by this run. Counts of allowed, constrained and "
                "not-allowed works "
                "come from the controller." + ("" if allowed else " Nobody consented.")
            ]
        ),
        Para([Blank("Allowed, constrained, not allowed; refused works; opt-out route")]),
    ]


def _withdrawals(facts: Facts) -> list[Block]:
    lines: list[Line] = []
    unknown = facts.own["withdrawal_unknown"]
    for i, row in enumerate(facts.summary["privacy"]["per_artist"]):
        artist = row["artist"]
        if artist not in facts.own["withdrawn"] and not row["withdrawn"]:
            continue
        line: list[Piece] = [facts.called(artist), " withdrew"]
        if artist in facts.own["withdrawn"]:
            line += [" at ", facts.withdrawn(i)]
        line += [", before the run ended" if row["withdrawn"] else ", after the run had ended"]
        ours = [j for j, e in enumerate(facts.ledger[artist] or []) if e["run"] == facts.run.identity]
        if ours:
            last = facts.sources.figure(facts.ledger_pointer(artist, ours[-1], "round"), "whole")
            line += ["; the last round with a release is round ", last]
        lines.append([*line, "."])
    blocks: list[Block] = [Bullets(lines)] if lines else []
    if unknown:
        count = facts.sources.figure("report.json#/withdrawal_unknown/*", "whole", "count")
        told: Line = ["Artists whose own ledger is not here, so that nobody can tell by now: ", count, "."]
        blocks.append(Para(told))
    if not lines and len(unknown) < len(facts.artists):
        blocks.append(Para(["No artist whose own ledger is here has withdrawn."]))
    undone = (
        "A withdrawal stops every further release and takes the card down: a run that goes on drops it, and "
        "no search lists it where the artist's own ledger lies. What was released before cannot be called "
        "back. The encoder and the prototypes keep what they learned, within the stated epsilon where there "
        "is one; prototypes.npz and the record of a run that had ended keep card and releases, as do copies "
        "that others hold. To train anew without the artist costs all others again."
    )
    return [*blocks, Para([undone])]


def _unit(facts: Facts) -> list[Block]:
    if not facts.dp:
        return [Para([_NO_NOISE])]
    figure = facts.sources.figure
    rows: list[tuple[str, Piece | Line]] = [
        ("unit that noise was scaled to", figure("summary.json#/privacy/unit")),
        ("adjacency", figure("summary.json#/privacy/adjacency")),
        ("differential privacy", figure("config.toml#/privacy/dp")),
    ]
    return [_values(facts, rows, "unit")]


def _epsilons(facts: Facts) -> list[Block]:
    figure = facts.sources.figure
    rows: list[tuple[str, Piece | Line]] = [
        ("delta", figure("summary.json#/privacy/delta")),
        (
            "largest epsilon per artwork",
            figure("summary.json#/privacy/epsilon_artwork_max", "epsilon", none="none"),
        ),
        (
            "largest epsilon per artist",
            figure("summary.json#/privacy/epsilon_artist_max", "epsilon", none="none"),
        ),
    ]
    for name in facts.summary["privacy"]["noise_multiplier"]:
        source = f"summary.json#/privacy/noise_multiplier/{name}"
        rows.append((f"noise multiplier, {name}", figure(source)))
    told = (
        "Epsilon is the smaller of two upper bounds, RDP and PRV or PLD; the mechanisms' own parameters are "
        "in the "
        "table of releases, and every release with its parameters is in ledger.json."
    )
    return [_values(facts, rows, "epsilons"), Para([told])]


def _delta(facts: Facts) -> list[Block]:
    source = " ".join(f"manifest.json#/gallery/artists/{i}/train" for i, _ in facts.artists)
    total = facts.sources.value(source, "sum")
    delta = facts.summary["privacy"]["delta"]
    line: list[Piece] = [
        "Delta is ",
        facts.sources.figure("summary.json#/privacy/delta"),
        " with ",
        facts.sources.figure(source, "whole", "sum"),
        " training works. ",
        "It lies below a hundredth of one over their number."
        if delta * total < _SMALL
        else "That is not far below one over their number: delta can stand for a picture given away whole.",
    ]
    return [Para(line)]


def _sampling(facts: Facts) -> list[Block]:
    if not facts.dp:
        return [Para([_NO_NOISE])]
    keys = ("training.sampling_rate", "training.local_steps", "run.rounds", "privacy.clip_norm")
    rows = [("sampling that is accounted for", facts.sources.figure("summary.json#/privacy/sampling"))]
    told = (
        "The draw and the ledger entry read the same frozen mechanism, so that what was assumed is what was "
        "done. "
        "Accountants: RDP (Opacus), PRV (Opacus) and PLD (dp-accounting); never the GDP approximation."
    )
    return [_values(facts, [*rows, *_settings(facts, *keys)], "sampling"), Para([told])]


def _cumulative(facts: Facts) -> list[Block]:
    if not facts.dp:
        return [Para([_NO_NOISE])]
    told = (
        "Composed over all rounds and over every release: updates, cards, prototype sums, noisy counts. "
        "Earlier runs on "
        "the same portfolios are in the column for all runs. Tuning runs count where they used the same "
        "studios; utility "
        "was evaluated on held-out pictures outside the guarantee."
    )
    return [Para([told])]


def _artist_level(facts: Facts) -> list[Block]:
    source = "summary.json#/privacy/epsilon_artist_max"
    return [Para(["Epsilon per artist: ", facts.sources.figure(source, "epsilon", none="none"), "."])]


def _covered(facts: Facts) -> list[Block]:
    everything = [entry for entries in facts.ledger.values() for entry in entries or []]
    kinds = {entry["kind"] for entry in everything if facts.covered(entry, "artwork")}
    bare = {entry["kind"] for entry in everything if not facts.covered(entry, "artwork")}
    items: list[Line] = [
        ["Covered for the unit artwork: ", ", ".join(sorted(kinds)) or "nothing", "."],
        ["Released without a guarantee for an artwork: ", ", ".join(sorted(bare)) or "nothing", "."],
        [
            "Not covered: participation, timing, declining, consent to a card, utility figures of the "
            "experimenter."
        ],
    ]
    return [Bullets(items)]


def _library(facts: Facts) -> list[Block]:
    rows: list[tuple[str, Piece | Line]] = [
        (name, facts.sources.text(f"manifest.json#/packages/{name}"))
        for name in ("opacus", "dp-accounting", "torch")
    ]
    if not facts.dp:
        return [_values(facts, rows, "library"), Para(["No noise was added in this run."])]
    told = (
        "Noise comes from the operating system's entropy, never from a seed. It is added in double precision "
        "and rounded "
        "to single; attacks on low bits are made harder, not ruled out. Integer noise is exact."
    )
    return [_values(facts, rows, "library"), Para([told])]


def _manifest(facts: Facts) -> str:
    return "transcript.jsonl#/0/entry/manifest" if facts.own["scheme"] else ""


def _scheme(facts: Facts) -> list[Block]:
    at = _manifest(facts)
    if not facts.config.secure_sum.enabled:
        return [Para(["Not applicable: this run encrypts nothing."])]
    if not at:
        return [Para(["Encryption was on, and no sum was opened."])]
    figure = facts.sources.figure
    rows: list[tuple[str, Piece | Line]] = [
        ("scheme", "BFV with pairwise masks"),
        ("profile", facts.sources.text(f"{at}/terms/profile")),
        ("ring size", figure("report.json#/scheme/degree", "whole")),
        ("bits of the modulus", figure("report.json#/scheme/modulus_bits", "whole")),
        ("most bits for the security level", figure("report.json#/scheme/modulus_bits_allowed", "whole")),
        (
            "security level, bits, by the standard's table",
            figure("report.json#/scheme/security_bits", "whole"),
        ),
        ("plain modulus", figure(f"{at}/terms/plain_modulus", "whole")),
        ("precision lost", "by rounding to integers before the sum; the sum itself is exact"),
    ]
    return [_values(facts, rows, "scheme")]


def _key(facts: Facts) -> list[Block]:
    if not facts.config.secure_sum.enabled:
        return [Para(["Not applicable: there is no key."])]
    told = (
        "The opener alone holds the secret key, makes a new one for each epoch and erases it afterwards. The "
        "platform "
        "holds none. Platform and opener together can feign a dropout and take two sums apart; noise, "
        "where there is any, is what bounds that."
    )
    return [Para([told]), Para([Blank("Who the opener is, and that it is independent of the platform")])]


def _contributors(facts: Facts) -> list[Block]:
    rows = _settings(facts, "styles.min_contributors", "privacy.min_cohort")
    found = facts.sources.figure(
        "summary.json#/secure_sum/smallest_cohort", "whole", none="no sum was opened"
    )
    return [_values(facts, [*rows, ("smallest cohort that was opened", found)], "contributors")]


def _approximate(facts: Facts) -> list[Block]:
    if not facts.config.secure_sum.enabled:
        return [Para(["Not applicable: nothing is encrypted."])]
    return [
        Para(
            [
                "Decryption is exact: the rounding noise that gives keys of approximate schemes away is not "
                "shared. Attacks that provoke failures of exact decryption are met by fixed parameters, and "
                "by the opener, which opens nothing but signed sums of a whole cohort; they were not tested."
            ]
        )
    ]


def _dropouts(facts: Facts) -> list[Block]:
    declined = [f"metrics.jsonl#/{i}/declined/*" for i, line in enumerate(facts.metrics) if line["declined"]]
    told = (
        "An artist that drops out of a sum is left out and the round is asked again of the others; below the "
        "smallest "
        "cohort no sum is opened. "
    )
    if not declined:
        return [Para([told, "Nobody declined in this run."])]
    return [
        Para([told, facts.sources.figure(" ".join(declined), "whole", "count"), " times an artist declined."])
    ]


def _needs_audit(answer: Reply) -> Reply:
    return lambda facts: answer(facts) if facts.audit else [Para(["Not run: there is no audit of this run."])]


def _budgets(facts: Facts) -> list[Block]:
    told = (
        "Method, budget, seed and seconds of every attack are in “How each attack was made”; trials are in "
        "the tables."
    )
    return [
        Para([told]),
        _values(
            facts,
            [
                ("preset", facts.sources.text("audit.json#/preset")),
                ("seconds, all attacks", facts.sources.figure("audit.json#/wall_s", "seconds")),
            ],
            "budgets",
        ),
    ]


def _levels(facts: Facts) -> list[Block]:
    rows: list[tuple[str, Piece | Line]] = []
    for level, words in LEVEL_WORDS.items():
        verdict, _ = answer(facts, (level,))
        rows.append((words, Badge(verdict)))
    told = "Intervals, low false-positive rates and the worst artist are in the tables above."
    return [Para([told]), _values(facts, rows, "levels")]


def _controls(facts: Facts) -> list[Block]:
    lost = {f.attack: i for i, f in reversed(list(enumerate(facts.findings))) if f.verdict == "inconclusive"}
    if not lost:
        return [Para(["No finding is inconclusive. The control's figure stands beside each finding."])]
    line: list[Piece] = ["Inconclusive, so without weight: "]
    for n, i in enumerate(sorted(lost.values())):
        line += [", "] * bool(n) + [facts.sources.text(f"findings.json#/{i}/attack")]
    return [Para([*line, ". The control's figure stands beside each finding."])]


def _canaries(facts: Facts) -> list[Block]:
    found = facts.sources.figure("summary.json#/audit/canaries/number", "whole")
    shared = facts.manifest["gallery"]["shared"]
    pairs: Piece = (
        facts.sources.figure("manifest.json#/gallery/shared/*/name", "whole", "count") if shared else "none"
    )
    return [
        _values(
            facts,
            [
                ("canaries planted", found),
                ("pictures that two artists share", pairs),
                ("doubles within a portfolio", "refused"),
            ],
            "canaries",
        )
    ]


def _empirical(facts: Facts) -> list[Block]:
    bounds = [i for i, f in enumerate(facts.findings) if f.metric == PROVEN and f.value is not None]
    if not bounds:
        told = (
            "No lower bound on epsilon was measured. Bounds on every other metric stand beside the findings."
        )
        return [Para([told])]
    lines: list[Line] = [
        [
            facts.sources.text(f"findings.json#/{i}/attack"),
            ": at least ",
            facts.sources.figure(
                f"findings.json#/{i}/{'value' if facts.findings[i].low is None else 'low'}", "rate"
            ),
            ", and at most ",
            facts.sources.figure(f"findings.json#/{i}/bound", "rate", none="anything"),
            " by the ledger",
        ]
        for i in bounds
    ]
    return [Bullets(lines)]


def _ratio(facts: Facts) -> list[Block]:
    works = " ".join(f"manifest.json#/gallery/artists/{i}/train" for i, _ in facts.artists)
    rows: list[tuple[str, Piece | Line]] = [
        (
            "values in the encoder's file, fixed ones included",
            facts.sources.figure("report.json#/encoder_values", "whole"),
        ),
        ("training works", facts.sources.figure(works, "whole", "sum")),
    ]
    return [_values(facts, rows, "ratio")]


def _utility(facts: Facts) -> list[Block]:
    figure, rows = facts.sources.figure, []
    for key, words in (
        ("artist_top1", "own artist found first, share of held-out pictures"),
        ("baseline_top1", "the same before any private training"),
        ("artist_macro_f1", "the same with every artist weighing equally"),
        ("artist_map", "mean of one over the rank"),
        ("queries", "held-out pictures"),
        ("candidates", "artists to choose from"),
    ):
        style = "whole" if key in ("queries", "candidates") else "rate"
        rows.append((words, figure(f"summary.json#/utility/{key}", style, none="not measured")))
    top, before = facts.summary["utility"]["artist_top1"], facts.summary["utility"]["baseline_top1"]
    told = (
        "Utility without protection takes a second run with the same settings and no noise; it is not in "
        "this folder."
    )
    if top is not None and before is not None and top <= before:
        told = "Private training did not help this run. " + told
    return [
        _values(facts, rows, "utility"),
        Para([told]),
        Para([Blank("Gap between artists, and whether it is fair")]),
    ]


def _robustness(facts: Facts) -> list[Block]:
    told = (
        "Nothing that the platform checks bounds what one artist can do to the model in a round: clipping is "
        "done by the artist, for its own privacy. Inputs are not proven valid: an artist can send any values "
        "in range, or claim styles that it has not. Poisoning was not tested."
    )
    return [Para([told])]


def _risks(facts: Facts) -> list[Block]:
    told = (
        "The findings are the evidence for likelihood; severity, residual risk and the decision are a "
        "person's."
    )
    return [
        Para([told]),
        *_blank("Risk, likelihood and severity before and after", "Action plan", "Decision")(facts),
    ]


def _limits_sentence(facts: Facts) -> list[Block]:
    return [Para(["Evidence against the executed attacks only; no finding of anonymity."])]


def _signed(facts: Facts) -> list[Block]:
    return [
        Para(
            ["The date is at the top of this page, the self-hash at its end, hashes and versions before it."]
        ),
        *_blank("Tester", "Place and date", "Signature")(facts),
    ]


def _minimal(facts: Facts) -> list[Block]:
    return [
        _values(facts, _settings(facts, "gallery.size"), "minimal"),
        Para(
            [
                "Pictures are decoded to this many pixels a side; file names, titles and metadata stay with "
                "the artist."
            ]
        ),
    ]


def _public(facts: Facts) -> list[Block]:
    public = [i for i, row in enumerate(facts.manifest["gallery"]["artists"]) if row["public"]]
    source = " ".join(f"manifest.json#/gallery/artists/{i}/train" for i in public)
    rows: list[tuple[str, Piece | Line]] = [
        ("kind of gallery", facts.sources.figure("config.toml#/gallery/source")),
        ("public artists", facts.sources.figure(source, "whole", "count") if public else "none"),
    ]
    return [_values(facts, rows, "public"), Para([Blank("Origin and licence of the public pictures")])]


def _clear(facts: Facts) -> list[Block]:
    updates = (
        "Updates are summed under encryption."
        if facts.config.secure_sum.enabled
        and (facts.config.secure_sum.updates or facts.config.privacy.unit == "artist")
        else "Updates leave in clear, one by one"
        + (", with the noise that the ledger states." if facts.dp else ", without noise.")
    )
    told = (
        "Who takes part, that a reply came and when, sizes that are the same for all, codes of declining, "
        "cards."
    )
    return [Para([told, " ", updates])]


_I, _D, _P, _C = "Identity", "Data and consent", "Differential privacy", "Encryption"
_A, _M, _G = "Attacks", "Model", "Governance"

QUESTIONS: Sequence[Question] = (
    Question(
        _I,
        "Controller and roles, processor, data protection officer",
        "GDPR Art. 26, 28, 30",
        _blank("Controller", "Processor", "Data protection officer"),
    ),
    Question(
        _I,
        "Purpose, lawful basis, version of the consent text",
        "GDPR Art. 6, 7, 13",
        _blank("Purpose", "Lawful basis", "Consent text, version"),
    ),
    Question(_I, "System and data flow: what leaves an artist each round", "GDPR Art. 35(7)(a)", _flow),
    Question(
        _I,
        "Release context: internal, API or open weights",
        "EDPB Opinion 28/2024, 46",
        _blank("Declared by the user; never inferred"),
    ),
    Question(_I, "Retention and deletion", "GDPR Art. 5(1)(e)", _blank("Retention", "Deletion")),
    Question(_D, "Works of an artist: fewest, median, most", "EDPB Opinion 28/2024, 58", _works),
    Question(
        _D,
        "Consent: allowed, constrained, not allowed; refused works; opt-out",
        "CAWG; Directive 2019/790 Art. 4(3); AI Act Art. 53(1)(c)",
        _consent,
    ),
    Question(_D, "Withdrawals, and what erasure can and cannot undo", "GDPR Art. 7(3), 17", _withdrawals),
    Question(_D, "Origin and licence of the public set", "EDPB Opinion 28/2024, source selection", _public),
    Question(_D, "Data minimisation", "GDPR Art. 5(1)(c); NIST SP 800-226, 4.5", _minimal),
    Question(
        _D,
        "Other persons in the pictures",
        "GDPR Art. 9",
        _blank("Whether pictures show persons, and of which category"),
    ),
    Question(_P, "Unit of privacy and adjacency", "NIST SP 800-226, 2.4", _unit),
    Question(_P, "Epsilon at delta, and the original parameters", "NIST SP 800-226, 2.3, 2.5", _epsilons),
    Question(_P, "Delta against one over the number of works", "NIST SP 800-226, 2.3", _delta),
    Question(_P, "Accountant; sampling as assumed and as done", "NIST SP 800-226, 3.1", _sampling),
    Question(_P, "Composed over all rounds and all releases", "NIST SP 800-226, 2.6", _cumulative),
    Question(_P, "The figure for a whole artist", "NIST SP 800-226, 2.4", _artist_level),
    Question(_P, "What each artist spent", "GDPR Art. 5(2)", _see("ledger", "What was given away")),
    Question(_P, "Which releases are covered, which are not", "NIST SP 800-226, 2.6", _covered),
    Question(_P, "Library, source of randomness, floating point", "NIST SP 800-226, 3.1, 4.3", _library),
    Question(_C, "Scheme and its parameters", "GDPR Art. 32(1)(a)", _scheme),
    Question(_C, "Who holds the key; generation, rotation, collusion", "NIST SP 800-226, 4.2, 4.4", _key),
    Question(_C, "Contributors to an opened sum, smallest cohort", "NIST SP 800-226, 4.2", _contributors),
    Question(_C, "Sharing of approximate decryptions", "ISO/IEC 18033-8, draft", _approximate),
    Question(_C, "What stays in clear", "NIST SP 800-226, 4.2", _clear),
    Question(_C, "What happens when somebody drops out", "GDPR Art. 32(1)(b)", _dropouts),
    Question(
        _A,
        "Coverage of the attack classes",
        "EDPB Opinion 28/2024, 55",
        _see("coverage", "Classes of attack"),
    ),
    Question(
        _A,
        "Threat model of each attack",
        "EDPB Opinion 28/2024, 58(c)",
        _needs_audit(_see("trust", "Who holds what")),
    ),
    Question(_A, "Budget: trials, iterations, seeds", "EDPB Opinion 28/2024, 58", _needs_audit(_budgets)),
    Question(
        _A,
        "Baselines: undefended, blind, random",
        "EDPB Opinion 28/2024, 55",
        _needs_audit(_see("findings", "Every finding")),
    ),
    Question(
        _A, "Results with intervals; the worst artist", "EDPB Opinion 28/2024, 55", _needs_audit(_levels)
    ),
    Question(
        _A,
        "Reconstructions beside the truth",
        "EDPB Opinion 28/2024, 55",
        _needs_audit(_see("panels", "Pictures that attacks picked or drew")),
    ),
    Question(_A, "Positive control", "EDPB Opinion 28/2024, 58", _needs_audit(_controls)),
    Question(_A, "Canaries and doubles", "EDPB Opinion 28/2024, 55", _canaries),
    Question(
        _A,
        "Measured lower bound of epsilon against the claim",
        "NIST SP 800-226, 2.2",
        _needs_audit(_empirical),
    ),
    Question(_M, "Size of the model against the number of works", "EDPB Opinion 28/2024, 58", _ratio),
    Question(_M, "Utility, and the gap between artists", "NIST SP 800-226, 3.3", _utility),
    Question(_M, "Robustness against poisoning", "AI Act Art. 15", _robustness),
    Question(_G, "Risks before and after, action plan, decision", "GDPR Art. 35(7)(c), (d)", _risks),
    Question(_G, "Limits", "EDPB Opinion 28/2024, 55", _limits_sentence),
    Question(_G, "Date, tester, hashes, signature", "EDPB Opinion 28/2024, 58; GDPR Art. 32(1)(d)", _signed),
    Question(_G, "Next test: date or trigger", "GDPR Art. 32(1)(d), 35(11)", _blank("Date", "Trigger")),
)
"""In the order in which an auditor asks them."""
