"""The bridge between runs and attacks: what each adversary has, and what was found with it."""
