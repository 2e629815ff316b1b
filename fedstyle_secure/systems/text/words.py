"""What reports call the parts and the figures of text recognition."""

from __future__ import annotations

from fedstyle_secure.words import Figure, Headline, Words

WORDS = Words(
    does="a shared model that reads lettering",
    model="recogniser",
    kinds={"update": "model update"},
    records="words",
    purpose="no release of text recognition bears a name",
    told=(
        "text.train", "text.charset", "hashing.ratio", "hashing.base", "training.server_optimizer",
    ),
    figures=(
        Figure(
            "word_accuracy", "number", "share", "Test crops read without an error, of all artists.",
            "held-out crops of everybody read without an error",
        ),
        Figure(
            "cer", "number", "edits a letter", "Character error rate: edits over letters.",
            "wrong, missing and added letters, over the letters there",
        ),
        Figure(
            "ned", "number", "share", "Mean of 1 - edits / the longer text's length.",
            "mean of one less the edits over the longer text's length",
        ),
        Figure("words", "whole", "crops", "Test crops.", "held-out crops"),
        Figure(
            "baseline_word_accuracy", "number", "share", "Test crops read before any private training.",
            "the same before any private training",
        ),
        Figure(
            "baseline_cer", "number", "edits a letter", "Character error rate before any private training.",
            "wrong letters before any private training",
        ),
        Figure(
            "central_word_accuracy", "number", "share",
            "Experimenter's: after training on everybody's crops in one place.",
            "the same if all crops were trained on in one place",
        ),
        Figure(
            "local_own_word_accuracy", "number", "share",
            "Experimenter's: own test crops, read by a recogniser that trained alone on own crops.",
            "own crops read by artists who train alone",
        ),
        Figure(
            "local_word_accuracy", "number", "share",
            "Experimenter's: everybody's test crops, read by the same.",
            "everybody's crops read by artists who train alone",
        ),
        Figure(
            "personal_own_word_accuracy", "number", "share",
            "Own test crops, read by artists who trained the shared recogniser on for themselves.",
            "own crops read by artists who trained the shared recogniser on for themselves",
        ),
        Figure(
            "update_values", "whole", "numbers", "Numbers in an artist's update.",
            "numbers in an artist's update, hashed",
        ),
        Figure("weights", "whole", "numbers", "Weights of the recogniser.", "weights of the recogniser"),
    ),
    headlines=(
        Headline("word_accuracy", "baseline_word_accuracy", "test crops read without an error (share)"),
    ),
    glossary={
        "crop": ("crop", "A small picture of one word, cut out of a work; what artists train on."),
        "recogniser": ("recogniser", "The shared model: it turns a crop into letters."),
        "hashed": (
            "hashed weights",
            "Many weights of the recogniser share one number, so that fewer numbers are sent.",
        ),
    },
)  # fmt: skip
