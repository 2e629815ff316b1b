"""Why something was refused: a number and a fixed phrase, one for each kind of refusal.

An exception's text could carry a name, a path or a value. What crosses to the platform is the number.
"""

from __future__ import annotations

from enum import IntEnum

from fedstyle_secure.errors import SecureSumError


class Code(IntEnum):
    """Numbered refusals; Flower's codes lie below 100, an artist's other reasons below 200."""

    MANIFEST = 201
    OPENER_SIGNATURE = 202
    PUBLIC_KEY = 203
    ROSTER = 204
    TERMS = 205
    TOO_FEW = 206
    TOO_MANY = 207
    REPLAYED = 208
    ANNOUNCEMENT = 209
    NO_MASK_KEY = 210
    VALUES = 211
    SETTINGS = 215
    UPLOAD_SIZE = 221
    UNSIGNED = 222
    SIGNATURE = 223
    UPLOAD_MALFORMED = 224
    STRANGER = 225
    DUPLICATE = 226
    OTHER_MANIFEST = 227
    SINGLE = 231
    INCOMPLETE = 232
    OPENED = 233
    ATTEMPT = 234
    EPOCH = 235
    COHORT = 236
    UPLOADS_MISSING = 237
    DIFFERENT_SUM = 238
    BUDGET = 239
    RANGE = 240
    ENROLMENT = 241
    CLOSED = 250
    INTERNAL = 299

    @property
    def phrase(self) -> str:
        """What may be told of it, the same for every artist and every cause of this code."""
        return _PHRASES[self]


_PHRASES = {
    Code.MANIFEST: "the manifest is malformed",
    Code.OPENER_SIGNATURE: "the manifest is not signed by the pinned opener",
    Code.PUBLIC_KEY: "the public key is not the manifest's",
    Code.ROSTER: "the roster does not list this artist with its own key",
    Code.TERMS: "the manifest's terms are weaker than this artist accepts",
    Code.TOO_FEW: "there are too few artists",
    Code.TOO_MANY: "there are too many artists",
    Code.REPLAYED: "this attempt, or a later one, was answered before",
    Code.ANNOUNCEMENT: "an announcement is missing or not signed for this attempt",
    Code.NO_MASK_KEY: "the artist did not announce itself for this attempt",
    Code.VALUES: "the values do not fit the manifest",
    Code.SETTINGS: "the manifest is of other settings than this artist's",
    Code.UPLOAD_SIZE: "the upload does not have the one size that uploads have",
    Code.UNSIGNED: "the upload carries no signature",
    Code.SIGNATURE: "the upload's signature does not verify under the roster's key",
    Code.UPLOAD_MALFORMED: "the upload's body is malformed",
    Code.STRANGER: "the upload's artist is not in the roster",
    Code.DUPLICATE: "the artist, or the very same body, is there already",
    Code.OTHER_MANIFEST: "the upload answers another run, round or attempt",
    Code.SINGLE: "one artist's upload is never opened",
    Code.INCOMPLETE: "a part of the cohort is missing",
    Code.OPENED: "the round was opened before",
    Code.ATTEMPT: "a later attempt of the round was issued",
    Code.EPOCH: "the epoch is not open",
    Code.COHORT: "together with earlier openings the cohort would single out too few artists",
    Code.UPLOADS_MISSING: "the uploads must come with the sum",
    Code.DIFFERENT_SUM: "the sum is not the sum of the signed uploads",
    Code.BUDGET: "the sum has more noise than honest uploads make",
    Code.RANGE: "the sum lies outside what honest uploads can make",
    Code.ENROLMENT: "the artist cannot be enrolled",
    Code.CLOSED: "the run was closed before, with other files",
    Code.INTERNAL: "the program failed",
}


class Refusal(SecureSumError):
    """Something was refused, for one numbered reason. Exit code 7.

    Attributes:
        code: The reason.
        artist: Whose message it was; None where it concerns nobody or must not be told.
    """

    def __init__(self, code: Code, detail: str = "", artist: str | None = None) -> None:
        """
        Args:
            code: The reason.
            detail: For the log of whoever raises it; not for the wire.
            artist: Whose message it was.
        """
        who = "" if artist is None else f"artist {artist!r}: "
        super().__init__(f"{who}{code.phrase}" + (f" ({detail})" if detail else ""))
        self.code = code
        self.artist = artist
