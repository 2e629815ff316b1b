import numpy as np
def augment(p, rng):
    return p[:, :, ::-1].copy() if rng.random() < .5 else p
