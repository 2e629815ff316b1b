from __future__ import annotations

import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstyle_secure.consent.packets import MOST_BYTES, packets
from fedstyle_secure.consent.voices import picture_says
from fedstyle_secure.consent.xmp import xmp_says

from .conftest import TYPES, chunk, mining, packet, picture, with_xmp

RESERVED = packet("<tdm:reservation>1</tdm:reservation>")


def reasons(data: bytes, purpose: str = "ai_generative_training") -> list[str]:
    said = xmp_says(data, purpose)
    assert all((one.way, one.use) == ("reservation", "notAllowed") for one in said)
    return [one.reason for one in said]


@pytest.mark.parametrize("kind", TYPES)
def test_a_picture_without_xmp_says_nothing(kind):
    assert reasons(picture(kind)) == []
    assert reasons(with_xmp(packet(), kind)) == []


@pytest.mark.parametrize("kind", TYPES)
def test_a_reservation_is_read_in_every_kind_of_file(kind):
    assert reasons(with_xmp(RESERVED, kind)) == ["tdm:reservation is 1"]
    assert reasons(with_xmp(packet(attributes='tdm:reservation="1"'), kind)) == ["tdm:reservation is 1"]
    assert reasons(with_xmp(packet(attributes='tdm:reservation="0"'), kind)) == []


@pytest.mark.parametrize(
    ("value", "not_for"),
    [
        ("DMI-UNSPECIFIED", ""),
        ("DMI-ALLOWED", ""),
        ("DMI-PROHIBITED-AIMLTRAINING", "ai_training ai_generative_training"),
        ("DMI-PROHIBITED-GENAIMLTRAINING", "ai_generative_training"),
        ("DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING", "all"),
        ("DMI-PROHIBITED", "all"),
        ("DMI-PROHIBITED-SEECONSTRAINT", "all"),
        ("DMI-PROHIBITED-SEEEMBEDDEDRIGHTSEXPR", "all"),
        ("DMI-PROHIBITED-SEELINKEDRIGHTSEXPR", "all"),
        ("DMI-WHATEVER", "all"),
        ("dmi-allowed", "all"),
        ("", "all"),
    ],
)
def test_the_plus_coalitions_values(value, not_for):
    every = ("ai_training", "ai_generative_training", "data_mining", "ai_inference")
    found = [purpose for purpose in every if reasons(with_xmp(mining(value)), purpose)]
    assert found == (list(every) if not_for == "all" else not_for.split())


@pytest.mark.parametrize(
    "inner",
    [
        '<plus:DataMining rdf:resource="http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"/>',
        "<plus:DataMining><rdf:Bag><rdf:li>http://ns.useplus.org/ldf/vocab/DMI-ALLOWED</rdf:li>"
        "<rdf:li>http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED</rdf:li></rdf:Bag></plus:DataMining>",
        "<plus:DataMining>\n  <!-- x --> http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED\n</plus:DataMining>",
        "<plus:DataMining>http://ns.useplus.org/ldf/vocab/DMI-ALLOWED</plus:DataMining>"
        "<plus:DataMining>http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED</plus:DataMining>",
        "<plus:DataMining>http://ns.useplus.org/ldf/vocab/DMI-&#80;ROHIBITED</plus:DataMining>",
        "<plus:DataMining>http://ns.useplus.org/ldf/vocab/DMI-<!-- -->PROHIBITED</plus:DataMining>",
        "<plus:DataMining>https://example.org/DMI-ALLOWED</plus:DataMining>",
        "<plus:DataMining/>",
        "<tdm:reservation/>",
        "<tdm:reservation>yes</tdm:reservation>",
        '<r:reservation xmlns:r="http://www.w3.org/ns/tdmrep#">1</r:reservation>',
        '<r:Reservation xmlns:r="HTTPS://www.W3.org/ns/tdmrep">1</r:Reservation>',
    ],
)
def test_however_it_is_written_it_is_a_no(inner):
    assert reasons(with_xmp(packet(inner)))


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_other_codings_are_read_or_refused(coding):
    assert reasons(with_xmp(RESERVED.decode().encode(coding)))


def test_packed_and_old_texts_of_png_are_read():
    data = picture()
    packed = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(RESERVED))
    raw = b"\nxmp\n %d\n" % len(RESERVED) + RESERVED.hex().encode()
    old = chunk(b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(raw))
    for text in (packed, old, chunk(b"tEXt", b"XML:com.adobe.xmp\0" + RESERVED)):
        assert reasons(data[:33] + text + data[33:]) == ["tdm:reservation is 1"]


def test_parts_of_a_large_packet_in_jpeg_are_put_together():
    padded = RESERVED + b" " * 100_000
    data = picture("JPEG")
    segments = b""
    for offset in (65_000, 0):
        part = padded[offset : offset + 65_000]
        content = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32
        content += struct.pack(">II", len(padded), offset) + part
        segments += b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
    assert packets(data[:2] + segments + data[2:]) == [padded]
    assert reasons(data[:2] + segments + data[2:]) == ["tdm:reservation is 1"]


@pytest.mark.parametrize(
    "xmp",
    [
        b'<!DOCTYPE x [<!ENTITY a "1">]><x>&a;</x>',
        b'<!DOCTYPE x [<!ENTITY a "'
        + b"a" * 50
        + b'"><!ENTITY b "'
        + b"&a;" * 50
        + b'"><!ENTITY c "'
        + b"&b;" * 50
        + b'">]><x>&c;</x>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "1">]><x>&a;</x>'.encode("utf-16"),
    ],
)
def test_entities_are_refused_before_any_is_read(xmp):
    assert reasons(with_xmp(xmp)) == ["its XMP declares a document type, which may hold entities"]


@pytest.mark.parametrize(
    ("xmp", "reason"),
    [
        (b"<x", "no well-formed XML"),
        (b"<x></y>", "no well-formed XML"),
        (b"<p:x/>", "no well-formed XML"),
        (b"&lol;", "no well-formed XML"),
        (b"<x>" * 100_000, "nested too deeply"),
        (b"<x>" + b"<a/>" * 200_000 + b"</x>", "too many elements"),
        (b" " * (MOST_BYTES + 1), "more than"),
    ],
)
def test_what_cannot_be_read_is_a_no(xmp, reason):
    (found,) = reasons(with_xmp(xmp))
    assert reason in found


def test_a_text_that_inflates_without_end_is_cut_off():
    bomb = zlib.compress(b" " * (50 * MOST_BYTES), 9)
    text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)
    data = picture()
    (found,) = reasons(data[:33] + text + data[33:])
    assert "more than" in found


def test_many_texts_and_many_parts_are_bounded_together():
    """Each is small, and a file holds as many as it likes."""
    data, one = picture(), zlib.compress(b" " * (MOST_BYTES // 2), 9)
    text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + one)
    assert "more than" in reasons(data[:33] + text * 40 + data[33:])[0]
    parts, data = b"", picture("JPEG")
    for number in range(40):
        content = b"http://ns.adobe.com/xmp/extension/\0" + b"%032d" % number
        content += struct.pack(">II", MOST_BYTES // 2, 0)
        parts += b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
    tracemalloc.start()
    assert "more than" in reasons(data[:2] + parts + data[2:])[0]
    assert tracemalloc.get_traced_memory()[1] < 4 * MOST_BYTES
    tracemalloc.stop()


def test_a_size_that_is_only_claimed_costs_no_memory():
    content = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", 2**32 - 1, 0)
    segment = b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
    data = picture("JPEG")
    assert "more than" in reasons(data[:2] + segment + data[2:])[0]


def test_a_tiff_whose_pages_run_in_a_circle_ends():
    data = bytearray(picture("TIFF"))
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    struct.pack_into("<I", data, place + 2 + 12 * count, place)
    assert "circle" in reasons(bytes(data))[0]


def test_a_reservation_that_lies_where_no_xmp_is_read_still_counts():
    value = b"http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"
    assert reasons(picture() + value) == ["it holds a reservation outside of its XMP"]
    assert reasons(with_xmp(mining("DMI-ALLOWED")) + value) == ["it holds a reservation outside of its XMP"]


OUTSIDE = ["it holds a reservation outside of its XMP"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be"])
def test_a_stray_reservation_counts_in_every_coding(kind, coding):
    assert reasons(picture(kind) + "DMI-PROHIBITED".encode(coding)) == OUTSIDE
    assert reasons(picture(kind) + "DMI-ALLOWED".encode(coding)) == []


@pytest.mark.parametrize(
    "key", ["Raw profile type exif", "Raw profile type iptc", "Comment", "xml:com.adobe.XMP"]
)
def test_a_stray_reservation_counts_where_its_bytes_do_not_stand_in_the_file(key):
    """As ImageMagick packs EXIF and IPTC into a PNG."""
    for value, said in (("DMI-PROHIBITED", OUTSIDE), ("DMI-ALLOWED", [])):
        text = b"Exif" + value.encode()
        if key.startswith("Raw"):
            text = b"\nexif\n %d\n" % len(text) + text.hex().encode()
        for made in (
            chunk(b"zTXt", key.encode() + b"\0\0" + zlib.compress(text)),
            chunk(b"iTXt", key.encode() + b"\0\1\0\0\0" + zlib.compress(text)),
            chunk(b"tEXt", key.encode() + b"\0" + text),
        ):
            whole = picture("png")
            assert reasons(whole[:33] + made + whole[33:]) == said


def test_a_packed_text_that_cannot_be_read_is_a_no():
    whole = picture("png")
    for text in (b"no zlib", zlib.compress(b"x" * (MOST_BYTES + 1))):
        made = chunk(b"zTXt", b"Comment\0\0" + text)
        assert len(reasons(whole[:33] + made + whole[33:])) == 1


def test_one_reason_is_given_once():
    inner = "<plus:DataMining>" + "no\n" * 1000 + "</plus:DataMining>"
    assert reasons(with_xmp(packet(inner))) == ["plus:DataMining has an unknown value"]


def test_the_reason_holds_nothing_that_the_file_could_forge():
    found = reasons(with_xmp(packet("<plus:DataMining>x&#10;warning: all is allowed</plus:DataMining>")))
    assert found
    assert not any("warning" in reason for reason in found)


@given(st.binary(max_size=300), st.sampled_from(sorted(TYPES)))
def test_no_bytes_make_it_raise(noise, kind):
    data = picture(kind)
    for broken in (noise, data[: len(noise)] + noise, data[:30] + noise + data[30:], with_xmp(noise, kind)):
        picture_says(broken, "ai_generative_training")
