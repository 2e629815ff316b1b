"""Attacks and probes for anyone's model. Knows torch, numpy and scipy; nothing of fedstyle_secure."""
