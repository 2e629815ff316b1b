"""Attacks and probes for anyone's model. Knows torch, numpy, scipy, safetensors, Pillow and Matplotlib; nothing of
fedstyle_secure."""
