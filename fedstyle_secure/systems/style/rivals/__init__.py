"""Rivals of the product: published and plain methods on the same gallery, features, budget and unit.

They are simulated: one process holds everybody's features, without Flower and without ciphertexts; nothing is
sent or charged to a ledger, and noise comes from a seed, so that a table can be made again. What such a
simulation says is how well a method finds artists and what it would have given away. The product is played
beside them, with the releases and sums of a run (`product.py`).
"""
