"""What a smaller share of epsilon 8 for the style cards does to what they leak, and to who is found.

Usage: python benchmarks/cards.py FOLDER [SEEDS]
FOLDER as for `audits.py`: the illustrators, at the defaults but for the share, audited with the preset quick,
SEEDS times (2), as noise is drawn anew in each. Prints a JSON line a share: least, mean and largest AUC of
membership from a card over the runs, the intervals, in how many it leaks, the same of whatever else leaks
in any run, and the mean top-1.
"""

from __future__ import annotations

import json
import statistics
import sys

from audits import measured

from fedstyle_secure.audit.findings import MEMBERSHIP
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.systems.style.attacks.cards import CARD_MEMBERSHIP
from fedstyle_secure.systems.style.settings import StyleConfig
from fedstyle_secure.threads import one_thread

SHARES = (0.8, 0.5, 0.2, 0.1, 0.05)
"""Of the budget, for cards; the rest is shared out as ever."""

OTHERS = sum(StyleConfig().share.model_dump()[kind] for kind in ("sgd", "scatter", "prototypes"))


def main() -> None:
    """Train, audit and print."""
    if len(sys.argv) < 2:
        print(json.dumps({"benchmark": "cards", "skipped": "no folder of pictures was given"}))
        return
    quick = AuditSettings.from_preset("quick").model_copy(update={"processes": 1})
    for share in SHARES:
        cards, found, leaks = [], [], {}
        for seed in range(int(sys.argv[2]) if len(sys.argv) > 2 else 2):
            changed = [f"share.cards={OTHERS * share / (1 - share)}", "share.prototypes=0.02"]
            with one_thread():
                lines = list(measured("cards", [*changed, f"run.seed={seed}"], quick, sys.argv[1]))
            found += [line["value"] for line in lines if line["metric"] == "artist_top1"]
            for line in lines:
                if line["target"] != "all" or "attack" not in line:
                    continue
                if line["attack"] == CARD_MEMBERSHIP.name and line["metric"] == MEMBERSHIP:
                    cards.append(line)
                elif line["verdict"] == "leaks":
                    leaks.setdefault(f"{line['view']}, {line['attack']}", []).append(line["value"])
        values = [line["value"] for line in cards]
        line = {"benchmark": "cards", "share": share, "runs": len(cards), "auc": statistics.fmean(values)}
        line |= {"least": min(values), "most": max(values)}
        line |= {"intervals": [(line["low"], line["high"]) for line in cards]}
        line |= {"leaks": sum(line["verdict"] == "leaks" for line in cards), "other_leaks": leaks}
        print(json.dumps(line | {"top1": statistics.fmean(found)}), flush=True)


if __name__ == "__main__":
    main()
