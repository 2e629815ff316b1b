"""How the apps of a run are run: in this process, or in Flower's simulation."""
