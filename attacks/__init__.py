"""Attacks and probes for anyone's model: torch, numpy, scipy, safetensors, Pillow, Matplotlib; no fedstyle_secure."""
