"""How good made pictures are, by a judge that is not the model: recognisable, like the real ones, unlike each
other.

All of it is the experimenter's look at pictures, private ones among them, and no part of the protocol.
"""
