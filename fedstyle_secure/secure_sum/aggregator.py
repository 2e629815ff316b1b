"""The platform's part: check who sent what, add it up unseen, ask the opener. It holds no key."""

from __future__ import annotations

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.manifest import SignedManifest
from fedstyle_secure.secure_sum.messages import Receipt, Request, Upload, checked_key
from fedstyle_secure.secure_sum.scheme import Accumulator
from fedstyle_secure.secure_sum.spool import Spool


class Aggregator:
    """One attempt at one round: takes uploads as they come, in memory that does not grow with them."""

    def __init__(self, signed: SignedManifest, opener: str, public: bytes, keep_uploads: bool) -> None:
        """
        Args:
            signed: The manifest.
            opener: The opener's public identity key.
            public: The public encryption key's bytes.
            keep_uploads: Whether the opener wants the uploads with the sum; they wait on disk.

        Raises:
            Refusal: OPENER_SIGNATURE, MANIFEST or PUBLIC_KEY.
        """
        self._signed = signed
        self._manifest = signed.read(opener)
        layout = self._manifest.layout
        self._sum = Accumulator(checked_key(public, self._manifest), layout.blocks)
        self._receipts: dict[str, Receipt] = {}
        self._bodies: set[str] = set()
        self._spool = Spool(layout.upload_bytes) if keep_uploads else None

    @property
    def missing(self) -> tuple[str, ...]:
        """Artists of the cohort whose upload is not in yet, sorted."""
        return tuple(artist for artist in self._manifest.artists if artist not in self._receipts)

    def add(self, upload: Upload) -> None:
        """Check an upload and add it. A refused one changes nothing.

        Size and signature are checked before a byte of the body is looked at.

        Raises:
            Refusal: STRANGER, DUPLICATE, UPLOAD_SIZE, OTHER_MANIFEST, UNSIGNED, SIGNATURE or
                UPLOAD_MALFORMED, naming the artist.
        """
        artist = upload.artist
        if self._manifest.key_of(artist) is None:
            raise Refusal(Code.STRANGER, artist=artist)
        if len(upload.body) != self._manifest.layout.upload_bytes:
            raise Refusal(Code.UPLOAD_SIZE, f"{len(upload.body)} bytes", artist)
        receipt = upload.receipt
        fault = receipt.fault(self._manifest)
        if fault is not None:
            raise Refusal(fault, artist=artist)
        if artist in self._receipts or receipt.body in self._bodies:
            raise Refusal(Code.DUPLICATE, artist=artist)
        try:
            self._sum.add(upload.body)
        except SecureSumError as error:
            raise Refusal(Code.UPLOAD_MALFORMED, str(error), artist) from None
        self._receipts[artist] = receipt
        self._bodies.add(receipt.body)
        if self._spool is not None:
            self._spool.append(upload.body)

    def request(self) -> Request:
        """What to ask the opener, once the whole cohort is in.

        Raises:
            Refusal: INCOMPLETE; the opener would refuse it as well.
        """
        if self.missing:
            raise Refusal(Code.INCOMPLETE, f"missing: {', '.join(self.missing)}")
        return Request(self._signed, tuple(self._receipts.values()), self._sum.total(), self._spool)
