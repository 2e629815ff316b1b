"""Settings of a whole head by DP-SGD, with each artist's own noise and updates in clear: what several of the
figures were measured with, and what is left where noise is not shared. Imported, not run."""

OWN_NOISE = (
    *("privacy.noise=own", "secure_sum.updates=false", "style.rank=0", "style.scatter=off"),
    *("training.learning_rate=0.6", "style.temperature=0.1", "style.alignment=0.1"),
    *("share.sgd=0.25", "share.cards=0.65"),
)
