"""No training: the public features, and three ways to say where an artist is among them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from fedstyle_secure.systems.style.rivals.budget import Spend
from fedstyle_secure.systems.style.rivals.learner import noisy_cards
from fedstyle_secure.systems.style.rivals.settings import Conditions, Settings
from fedstyle_secure.systems.style.rivals.task import Found, Task, likeness, nearest_card

NEIGHBOURS, OWN_PART = 5, 0.5
"""FedHide: how many neighbours a proxy is mixed with, and how much of it is the artist's own mean. Not tuned:
what finds artists best is to hide nothing."""


def start(task: Task, settings: Settings, conditions: Conditions) -> Found:
    """One card an artist, with the whole budget."""
    card = conditions.budget.mechanisms({"card": Spend(1, 1.0)})["card"]
    cards = noisy_cards(task.sums(task.train), card, conditions.seed)
    return nearest_card(task, torch.eye(task.dim), cards)


def fedhide(task: Task, settings: Settings, conditions: Conditions) -> Found:
    """FedHide's proxies (Park and Yun 2024) in place of cards. No noise, so no guarantee."""
    return nearest_card(task, torch.eye(task.dim), proxies(task.means, task.anchors))


def proxies(means: Tensor, public: Tensor) -> Tensor:
    """Each artist's mean mixed with its nearest neighbours' among what others have shared: unit (artists, d).

    Before anybody has shared something, neighbours are the public artists; then, once, all others' proxies
    too.

    Args:
        means: float32 (artists, d), unit.
        public: float32 (a, d), unit.
    """
    shared = _mixed(means, [public] * len(means))
    others = [torch.cat([public, shared[:i], shared[i + 1 :]]) for i in range(len(means))]
    return _mixed(means, others)


def _mixed(means: Tensor, pools: list[Tensor]) -> Tensor:
    rows = []
    for mean, pool in zip(means, pools, strict=True):
        near = (pool @ mean).topk(min(NEIGHBOURS, len(pool))).indices
        neighbours = F.normalize(pool[near].mean(0), dim=0)
        rows.append(OWN_PART * mean + (1 - OWN_PART) * neighbours)
    return F.normalize(torch.stack(rows), dim=1)


def encrypted_prototypes(task: Task, settings: Settings, conditions: Conditions) -> Found:
    """Only sums over artists of the shared styles are opened, and nobody is found by name.

    What leaks of an artist is the cosine of its mean with the nearest opened style.
    """
    nearest = (task.train @ task.prototypes.T).argmax(1)
    sums = torch.zeros_like(task.prototypes).index_add(0, nearest, task.train)
    noise = conditions.budget.mechanisms({"sums": Spend(1, 1.0)})["sums"]
    noise = replace(noise, noise_multiplier=noise.noise_multiplier * conditions.apart)
    # A style without a picture is noise or nothing: it says nothing of anybody.
    there = torch.bincount(nearest, minlength=len(sums)) > 0
    opened = noisy_cards(sums[there], noise, conditions.seed)
    return Found(None, likeness(opened[(task.means @ opened.T).argmax(1)], task.means))
