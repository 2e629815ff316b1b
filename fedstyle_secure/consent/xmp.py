"""What a picture's XMP reserves: `tdm:reservation` of TDMRep, and IPTC's `plus:DataMining`.

Both reserve and neither allows: they are nobody's signed word, and DMI-ALLOWED is of data mining, not of the
purpose. A value that no vocabulary has, and metadata that cannot be read, count as a reservation.

Values: the PLUS coalition's vocabulary of data mining, which IPTC's photo metadata standard 2023.1 has taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.parsers import expat

from fedstyle_secure.consent.packets import UnreadableXmp, packets, veiled
from fedstyle_secure.consent.uses import Purpose, Said

_TDM = "www.w3.org/ns/tdmrep"
_PLUS = "ns.useplus.org/ldf/xmp/1.0"
_TERMS = "purl.org/dc/terms"
_MINING = "ns.useplus.org/ldf/vocab/"

_TRAINING = ("ai_training", "ai_generative_training")
_NOT_FOR: Mapping[str, tuple[str, ...]] = {
    "DMI-UNSPECIFIED": (),
    "DMI-ALLOWED": (),
    "DMI-PROHIBITED-AIMLTRAINING": _TRAINING,
    "DMI-PROHIBITED-GENAIMLTRAINING": ("ai_generative_training",),
}
"""Purposes that a value prohibits; every other value, known or not, prohibits all."""

_TRACES = tuple(
    trace.encode(coding)
    for trace in ("DMI-PROHIBITED", "w3.org/ns/tdmrep")
    for coding in ("ascii", "utf-16-le", "utf-16-be")
)
"""What no file holds by chance: where one stands outside all packets, somebody meant something by it."""

_DEEPEST = 256
_MOST_ELEMENTS = 100_000
_SEPARATOR = "\x1f"
_AS_ATTRIBUTE = (f"{_SEPARATOR}resource", f"{_SEPARATOR}value")


@dataclass(frozen=True)
class Rights:
    """What XMP says of rights.

    Attributes:
        reservations: Values of `tdm:reservation`.
        mining: Values of `plus:DataMining`.
        elsewhere: Whether the picture's content credentials lie elsewhere, at an address.
    """

    reservations: tuple[str, ...] = ()
    mining: tuple[str, ...] = ()
    elsewhere: bool = False


def xmp_says(data: bytes, purpose: Purpose) -> list[Said]:
    """What the XMP of a picture file says of a purpose: a reservation, or nothing.

    Args:
        data: The file's bytes.
        purpose: Which use.
    """
    return [Said("reservation", "notAllowed", reason) for reason in dict.fromkeys(_reasons(data, purpose))]


def credentials_elsewhere(data: bytes) -> bool:
    """Whether a picture's XMP says that its content credentials lie at an address."""
    try:
        return any(read_packet(packet).elsewhere for packet in packets(data))
    except UnreadableXmp:
        return False


def _reasons(data: bytes, purpose: Purpose) -> Iterator[str]:
    try:
        found = packets(data)
        for packet in found:
            yield from _reserved(read_packet(packet), purpose)
        others = [data, *veiled(data)]
    except UnreadableXmp as error:
        yield str(error)
        return
    strays = (trace for trace in _TRACES if not any(trace in packet for packet in found))
    if any(trace in other for trace in strays for other in others):
        yield "it holds a reservation outside of its XMP"


def _reserved(rights: Rights, purpose: Purpose) -> Iterator[str]:
    for value in rights.reservations:
        if value != "0":
            known = value == "1"
            yield "tdm:reservation is 1" if known else "tdm:reservation is neither 0 nor 1"
    for value in rights.mining:
        _, _, name = value.rpartition(_MINING)
        if purpose in _NOT_FOR.get(name, (purpose,)):
            known = name.startswith("DMI-PROHIBITED") and name.replace("-", "").isalpha() and len(name) < 60
            yield f"plus:DataMining is {name}" if known else "plus:DataMining has an unknown value"


def read_packet(packet: bytes) -> Rights:
    """The rights that an XMP packet states.

    Args:
        packet: XML in UTF-8 or UTF-16; no more than `packets.MOST_BYTES`.

    Raises:
        UnreadableXmp: It is no such XML, or declares a type, so that it could hold entities.
    """
    if not packet.strip(b"\0 \r\n\t"):
        return Rights()
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(_without_padding(packet), True)
    except expat.ExpatError:
        raise UnreadableXmp("its XMP is no well-formed XML") from None
    return Rights(tuple(reader.values["tdm"]), tuple(reader.values["plus"]), reader.elsewhere)


def _without_padding(packet: bytes) -> bytes:
    wide = packet[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in packet[:2]
    return packet if wide else packet.rstrip(b"\0")


class _Reader:
    """Handlers of a parser, and what they have found."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {"tdm": [], "plus": []}
        self.elsewhere = False
        self._depth = self._elements = 0
        self._inside = ""
        self._began = 0
        self._texts: list[str] = []

    def refuse(self, *declared: object) -> None:
        raise UnreadableXmp("its XMP declares a document type, which may hold entities")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > _DEEPEST or self._elements > _MOST_ELEMENTS:
            raise UnreadableXmp("its XMP is nested too deeply, or has too many elements")
        for key, value in attributes.items():
            if kind := _kind(key):
                self._add(kind, value)
        if not self._inside and (kind := _kind(name)):
            self._inside, self._began, self._texts = kind, self._depth, []
        self._note(attributes)

    def end(self, name: str) -> None:
        if self._inside:
            self._texts.append("\n")
            if self._depth == self._began:
                values = [value for value in "".join(self._texts).split("\n") if value.strip()]
                # An empty one says something, and nobody knows what.
                for value in values or [""]:
                    self._add(self._inside, value)
                self._inside = ""
        self._depth -= 1

    def text(self, text: str) -> None:
        if self._inside:
            self._texts.append(text)

    def _note(self, attributes: Mapping[str, str]) -> None:
        """What an element within a property begins, and the value that it may have as an attribute."""
        if self._inside:
            given = [value for key, value in attributes.items() if key.endswith(_AS_ATTRIBUTE)]
            self._texts += [f"\n{value}\n" for value in given] or ["\n"]

    def _add(self, kind: str, value: str) -> None:
        value = value.strip()
        if kind == "terms":
            self.elsewhere |= value.casefold().startswith(("http:", "https:"))
        else:
            self.values[kind].append(value)


def _kind(name: str) -> str:
    """Which of the properties a name is that are looked for; "" for any other."""
    space, _, local = name.rpartition(_SEPARATOR)
    space, local = space.casefold().partition("://")[2].rstrip("/#"), local.casefold()
    if space == _TDM and local in ("reservation", "tdm-reservation"):
        return "tdm"
    if space == _PLUS and local == "datamining":
        return "plus"
    return "terms" if space == _TERMS and local == "provenance" else ""
