"""The systems: what artists learn together, a folder each. Nothing below imports one: `registry` names it."""
