"""Attacks on private AI art: on its updates, on its product, and on what that draws."""
