"""Attacks on what style search releases: cards, prototype sums, and the product made of them."""
