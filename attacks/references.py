"""The papers that attacks are taken from, as a bibliography: who, what, when, where to find it.

Which equation or section an attack uses stands with the attack, in a `Cited`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A paper.

    Attributes:
        authors: By family names; "et al." where there are more than three.
        title: As published.
        year: Of publication.
        at: `arXiv NUMBER` or `doi NUMBER`.
    """

    authors: str
    title: str
    year: int
    at: str


@dataclass(frozen=True)
class Cited:
    """What an attack takes from a paper.

    Attributes:
        key: Of `REFERENCES`.
        place: Equation, section or algorithm in it; "" for its idea as a whole.
        use: What is taken, or in what the attack differs, in words.
    """

    key: str
    use: str
    place: str = ""

    def __post_init__(self) -> None:
        if self.key not in REFERENCES:
            raise KeyError(f"{self.key!r} is none of the references")

    def to_dict(self) -> dict[str, str | int]:
        """For JSON: the paper with what is taken from it."""
        paper = REFERENCES[self.key]
        return {
            "key": self.key, "authors": paper.authors, "title": paper.title, "year": paper.year,
            "at": paper.at, "place": self.place, "use": self.use,
        }  # fmt: skip


REFERENCES: Mapping[str, Reference] = {
    "phong2017": Reference(
        "Phong et al.",
        "Privacy-Preserving Deep Learning via Additively Homomorphic Encryption",
        2017,
        "doi 10.1109/TIFS.2017.2787987",
    ),
    "geiping2020": Reference(
        "Geiping et al.",
        "Inverting Gradients: How easy is it to break privacy in federated learning?",
        2020,
        "arXiv 2003.14053",
    ),
    "fowl2022": Reference(
        "Fowl et al.",
        "Robbing the Fed: Directly Obtaining Private Data in Federated Learning with Modified Models",
        2022,
        "arXiv 2110.13057",
    ),
    "nasr2019": Reference(
        "Nasr, Shokri and Houmansadr",
        "Comprehensive Privacy Analysis of Deep Learning: Passive and Active White-box Inference Attacks "
        "against Centralized and Federated Learning",
        2019,
        "arXiv 1812.00910",
    ),
    "zari2021": Reference(
        "Zari, Xu and Neglia",
        "Efficient passive membership inference attack in federated learning",
        2021,
        "arXiv 2111.00430",
    ),
    "sankararaman2009": Reference(
        "Sankararaman et al.",
        "Genomic privacy and limits of individual detection in a pool",
        2009,
        "doi 10.1038/ng.436",
    ),
    "dwork2015": Reference(
        "Dwork et al.",
        "Robust Traceability from Trace Amounts",
        2015,
        "doi 10.1109/FOCS.2015.46",
    ),
    "balle2022": Reference(
        "Balle, Cherubin and Hayes",
        "Reconstructing Training Data with Informed Adversaries",
        2022,
        "arXiv 2201.04845",
    ),
    "hayes2023": Reference(
        "Hayes, Mahloujifar and Balle",
        "Bounding Training Data Reconstruction in DP-SGD",
        2023,
        "arXiv 2302.07225",
    ),
    "steinke2023": Reference(
        "Steinke, Nasr and Jagielski",
        "Privacy Auditing with One (1) Training Run",
        2023,
        "arXiv 2305.08846",
    ),
    "nasr2023": Reference(
        "Nasr et al.",
        "Tight Auditing of Differentially Private Machine Learning",
        2023,
        "arXiv 2302.07956",
    ),
    "graves2006": Reference(
        "Graves et al.",
        "Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with Recurrent Neural "
        "Networks",
        2006,
        "doi 10.1145/1143844.1143891",
    ),
    "dang2021": Reference(
        "Dang et al.",
        "Revealing and Protecting Labels in Distributed Training",
        2021,
        "arXiv 2111.00556",
    ),
    "carlini2019": Reference(
        "Carlini et al.",
        "The Secret Sharer: Evaluating and Testing Unintended Memorization in Neural Networks",
        2019,
        "arXiv 1802.08232",
    ),
    "carlini2023": Reference(
        "Carlini et al.",
        "Extracting Training Data from Diffusion Models",
        2023,
        "arXiv 2301.13188",
    ),
    "watson2022": Reference(
        "Watson et al.",
        "On the Importance of Difficulty Calibration in Membership Inference Attacks",
        2022,
        "arXiv 2111.08440",
    ),
    "huang2024": Reference(
        "Huang et al.",
        "Gradient Inversion of Federated Diffusion Models",
        2024,
        "arXiv 2405.20380",
    ),
    "yeom2018": Reference(
        "Yeom et al.",
        "Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting",
        2018,
        "arXiv 1709.01604",
    ),
    "carlini2022": Reference(
        "Carlini et al.",
        "Membership Inference Attacks From First Principles",
        2022,
        "arXiv 2112.03570",
    ),
    "zarifzadeh2024": Reference(
        "Zarifzadeh, Liu and Shokri",
        "Low-Cost High-Power Membership Inference Attacks",
        2024,
        "arXiv 2312.03262",
    ),
    "song2021": Reference(
        "Song and Mittal",
        "Systematic Evaluation of Privacy Risks of Machine Learning Models",
        2021,
        "arXiv 2003.10595",
    ),
    "liu2021": Reference(
        "Liu et al.",
        "EncoderMI: Membership Inference against Pre-trained Encoders in Contrastive Learning",
        2021,
        "arXiv 2108.11023",
    ),
    "bertran2023": Reference(
        "Bertran et al.",
        "Scalable Membership Inference Attacks via Quantile Regression",
        2023,
        "arXiv 2307.03694",
    ),
}
"""By key. Each is named in the docstring of the module that follows it."""

METHODS: Mapping[str, tuple[Cited, ...]] = {
    "loss threshold": (Cited("yeom2018", "a loss that is low shows that a record trained"),),
    "entropy threshold": (Cited("song2021", "a prediction that is sure shows it"),),
    "modified entropy threshold": (Cited("song2021", "the same, with the label", "eq. 8"),),
    "agreement of views": (Cited("liu2021", "views of a record that trained look alike to the encoder"),),
    "quantile regression": (Cited("bertran2023", "a threshold for each record, without shadow models"),),
    "LiRA": (Cited("carlini2022", "how likely a signal is with and without the record"),),
    "RMIA": (Cited("zarifzadeh2024", "a record against others from elsewhere"),),
    "alignment of gradients": (
        Cited("nasr2019", "an update that points where a record pushes shows that it trained"),
    ),
}
"""What the attacks of `attacks.auditing` follow, by their names there."""
