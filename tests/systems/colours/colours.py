"""A fourth system: whether a picture is dark or bright, by a linear classifier that artists train together,
and a palette that their pictures add up to: the mean colour of the dark ones, and of the bright ones."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from fedstyle_secure.config import Config, Section, Share, ShareSection
from fedstyle_secure.errors import FederationError
from fedstyle_secure.privacy.alone import one_at_a_time
from fedstyle_secure.privacy.kinds import Kind, spread, update_kind
from fedstyle_secure.privacy.mechanisms import GaussianSum
from fedstyle_secure.privacy.picture_loss import PictureLoss
from fedstyle_secure.system import Form, Records, State, System, moved, split_arrays
from fedstyle_secure.words import Figure, Headline, Words

CHANNELS, CLASSES, GRID, COUNT = 3, 2, 4, 0.5
WIDTH = CHANNELS * GRID * GRID


class PaletteSection(Section):
    releases: int = Field(1, ge=0, le=100, description="How often the palette is refreshed.")


class ColourShareSection(ShareSection):
    palette: Share = Field(0.5, description="Share of the palette.")


class ColourConfig(Config):
    palette: PaletteSection = PaletteSection()
    share: ColourShareSection = ColourShareSection()


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH))
        self.register_buffer("scale", torch.ones(WIDTH))
        self.register_buffer("cut", torch.zeros(1))
        self.linear = nn.Linear(WIDTH, CLASSES)
        for parameter in self.linear.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features):
        return self.linear(features)

    def prepare(self, pictures):
        """uint8 (n, s, s, 3) to float32 (n, WIDTH): mean colours of a coarse grid, standardised."""
        images = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 255
        if not len(images):
            return torch.zeros(0, WIDTH)

        def features(one):
            return (F.adaptive_avg_pool2d(one, GRID).flatten(1) - self.mean) * self.scale / 8

        return one_at_a_time(features, images)


class CrossEntropy(PictureLoss):
    name = "cross-entropy"

    def __call__(self, embeddings, targets):
        return F.cross_entropy(embeddings, targets, reduction="none")


@dataclass(frozen=True, eq=False)
class ColourRecords(Records):
    """`colours`: mean colour of each picture, float64 (n, 3) in [0, 1]."""

    colours: np.ndarray


class PaletteRows:
    """A block a class: the mean colour of a picture in the block of its class, and a count."""

    def __init__(self, colours, classes):
        self.colours, self.classes = colours, classes
        self.shape = (len(colours), CLASSES * (CHANNELS + 1))

    def __iter__(self):
        for colour, place in zip(self.colours, self.classes, strict=True):
            row = np.zeros((CLASSES, CHANNELS + 1))
            row[place] = [*colour, COUNT]
            yield row.ravel()


def mean_colours(pictures):
    return pictures.astype(np.float64).mean(axis=(1, 2)) / 255


def classes_of(colours, model):
    return (colours.mean(axis=1) > float(model.cut)).astype(np.int64)


class Colours(System):
    name = "colours"
    settings = ColourConfig
    words = Words(
        model="classifier",
        kinds={"update": "model update", "palette": "palette sum"},
        moved="palette",
        figures=(
            Figure("accuracy", "number", "share", "Test pictures named rightly.", "pictures named rightly"),
            Figure("start", "number", "share", "The same before training.", "the same before training"),
        ),
        headlines=(Headline("accuracy", "start", "test pictures named rightly (share)"),),
    )

    def learn(self, public):
        pictures, model = np.concatenate([p.pictures for p in public]), Classifier()
        features = model.prepare(pictures) * 8
        model.mean.copy_(features.mean(dim=0))
        model.scale.copy_(1 / features.std(dim=0).clamp(min=1e-3))
        model.cut.fill_(float(np.median(mean_colours(pictures).mean(axis=1))))
        fixed, trained = split_arrays(model)
        return State(0, fixed, trained, {"palette": np.zeros((CLASSES, CHANNELS), np.float32)}, {})

    def kinds(self):
        config = self.config
        last = config.run.rounds + 1 if config.training.local_steps else 1
        clipped = config.privacy.unit == "artist" or config.privacy.dp == "on"
        longest = float(np.sqrt(CHANNELS + COUNT**2)) if clipped else float("inf")
        return (
            update_kind(config),
            Kind(
                name="palette",
                rounds=spread(config.palette.releases, last),
                mechanism=GaussianSum(longest, 0.0),
                share=config.share.palette,
                setting="share.palette",
                leaves="summed",
                count=COUNT,
            ),
        )

    def forms(self, state):
        update = Form({name: array.shape for name, array in state.trained.items()})
        return {"update": update, "palette": Form({"sums": (CLASSES * (CHANNELS + 1),)}, groups=CLASSES)}

    def admit(self, state, artists):
        if set(state.public) != {"palette"} or state.public["palette"].shape != (CLASSES, CHANNELS):
            raise FederationError("instruction: tensor 'palette' must be 2 x 3, and is all that is public")

    def model(self, state):
        model = Classifier()
        try:
            model.load_state_dict(
                {name: torch.from_numpy(np.array(a)) for name, a in {**state.fixed, **state.trained}.items()}
            )
        except RuntimeError as error:
            raise FederationError(f"classifier: {error}") from None
        return model

    def inputs(self, model, portfolio):
        return model.prepare(portfolio.train_pictures)[:, None]

    def records(self, model, state, artist, inputs, portfolio):
        colours = mean_colours(portfolio.train_pictures)
        return ColourRecords(inputs, torch.from_numpy(classes_of(colours, model)), colours)

    def loss(self, model, state):
        return CrossEntropy()

    def rows(self, kind, model, state, artist, records):
        return PaletteRows(records.colours, records.targets.numpy())

    def take(self, state, kind, summed, public):
        if kind.name == "update":
            return moved(state, summed)
        blocks = summed.arrays["sums"].reshape(CLASSES, CHANNELS + 1)
        means = blocks[:, :-1] / np.maximum(blocks[:, -1:] / COUNT, 1e-9)
        palette = np.where(summed.enough[:, None], means, state.public["palette"]).clip(0, 1)
        return replace(state, public={"palette": palette.astype(np.float32)}), {}

    def meter(self, portfolios):
        pictures = np.concatenate([p.test_pictures for p in portfolios])

        def measure(before, now, sums):
            model = self.model(now)
            found = model(model.prepare(pictures)).argmax(dim=1).numpy()
            return {"accuracy": float((found == classes_of(mean_colours(pictures), model)).mean())}

        return measure

    def utility(self, lines):
        return {"accuracy": lines[-1]["accuracy"], "start": lines[0]["accuracy"]}
