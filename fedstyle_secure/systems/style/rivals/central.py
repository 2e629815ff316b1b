"""Central learning: all pictures in one place. What it finds is a ceiling, and it gives the pictures away."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.systems.style.retrieval import own_ranks
from fedstyle_secure.systems.style.rivals.settings import Conditions, Settings
from fedstyle_secure.systems.style.rivals.task import Found, Task, nearest_card

BINS = (4, 8)
"""Of a colour channel."""


def metric_head(task: Task, settings: Settings, conditions: Conditions) -> Tensor:
    """A head (d, d) that moves all pictures to where their artists' means lie under it and away from others',
    by gradient descent on all pictures; means are constants in a step."""
    head = torch.eye(task.dim, requires_grad=True)
    optimizer = torch.optim.SGD([head], lr=settings.rate)
    for _ in range(settings.rounds):
        means = F.normalize(task.means @ head.detach().T, dim=1)
        logits = F.normalize(task.train @ head.T, dim=1) @ means.T / conditions.temperature
        optimizer.zero_grad()
        F.cross_entropy(logits, task.owners).backward()
        optimizer.step()
    return head.detach()


def central_metric(task: Task, settings: Settings, conditions: Conditions) -> Found:
    """The pooled metric head, and cards without noise."""
    found = nearest_card(task, metric_head(task, settings, conditions), task.means)
    return Found(found.ranks, leaks=None)


def central_regression(task: Task, settings: Settings, conditions: Conditions) -> Found:
    """Pooled logistic regression; an artist's row of weights is its card."""
    scores = _regression_scores(
        task.train.numpy(), task.owners.numpy(), task.test.numpy(), settings.inverse_penalty
    )
    return Found(own_ranks(scores, task.test_owners), leaks=None)


def colour_histogram(portfolios: list[Portfolio]) -> tuple[Found, dict[str, float]]:
    """Pooled logistic regression on colour histograms alone; bins and penalty by cross-validation on the
    training pictures.

    Returns:
        What it finds, and what was chosen.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    train = np.concatenate([p.train_pictures for p in portfolios])
    test = np.concatenate([p.test_pictures for p in portfolios])
    owners = np.repeat(np.arange(len(portfolios)), [len(p.train_pictures) for p in portfolios])
    asked = np.repeat(np.arange(len(portfolios)), [len(p.test_pictures) for p in portfolios])
    folds = min(5, int(np.bincount(owners).min()))
    best, score, chosen = None, -1.0, 0
    for bins in BINS:
        search = GridSearchCV(
            LogisticRegression(max_iter=2000), {"C": (1.0, 10.0, 100.0)}, cv=max(folds, 2)
        ).fit(histograms(train, bins), owners)
        if search.best_score_ > score:
            best, score, chosen = search, search.best_score_, bins
    assert best is not None
    scores = best.predict_log_proba(histograms(test, chosen))
    return Found(own_ranks(scores, asked), leaks=None), {"bins": chosen, **best.best_params_}


def histograms(pictures: np.ndarray, bins: int) -> np.ndarray:
    """Roots of joint RGB histograms: uint8 (n, s, s, 3) to float64 (n, bins^3)."""
    codes = (pictures.astype(np.int64) * bins // 256) @ np.array([bins * bins, bins, 1])
    counts = np.stack([np.bincount(code.ravel(), minlength=bins**3) for code in codes])
    roots: np.ndarray = np.sqrt(counts / counts.sum(axis=1, keepdims=True))
    return roots


def _regression_scores(
    train: np.ndarray, owners: np.ndarray, test: np.ndarray, inverse_penalty: float
) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=inverse_penalty, max_iter=2000).fit(train, owners)
    scores: np.ndarray = fitted.predict_log_proba(test)
    return scores
