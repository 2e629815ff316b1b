"""As audits run."""

from __future__ import annotations

import pytest

from fedstyle_secure.threads import one_thread


@pytest.fixture(autouse=True)
def single():
    """As audits run; torch's threads would wait for one another."""
    with one_thread():
        yield
