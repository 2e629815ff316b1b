"""Where the bytes of noise come from: the operating system's entropy, no generator state to guess and no seed
to repeat, so that a run's seed says nothing about its noise."""

from __future__ import annotations

from collections.abc import Callable

ByteSource = Callable[[int], bytes]
"""Returns that many random bytes; `os.urandom` except in tests."""
