"""Attacks and probes for anyone's torch model. Knows nothing of fedstyle_secure."""
