"""XMP packets of a picture file, as JPEG, PNG, WebP and TIFF hold them (XMP specification, part 3)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

MOST_BYTES = 2**22
"""Of all packets of a file together, inflated."""

_MOST_PAGES = 4096
_LONGEST_KEY = 80
_JPEG_MAIN = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_MORE = b"http://ns.adobe.com/xmp/extension/\0"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_KEY = b"XML:com.adobe.xmp"
_PNG_RAW = (b"Raw profile type xmp", b"Raw profile type APP1")
_PNG_PROFILE = b"Raw profile type "
_TIFF_TAG = 700


class UnreadableXmp(ValueError):
    """Metadata cannot be read. The message is the reason, in words that hold nothing of it."""


def packets(data: bytes) -> list[bytes]:
    """All XMP packets of a picture file; none where it has none or is no such file.

    Raises:
        UnreadableXmp: One is damaged, or they have more than `MOST_BYTES` together.
    """
    found: list[bytes] = []
    size = 0
    try:
        for packet in _packets(data):
            size += len(packet)
            _check(size)
            found.append(packet)
    except (struct.error, zlib.error, ValueError) as error:
        if isinstance(error, UnreadableXmp):
            raise
        raise UnreadableXmp("its XMP is damaged or cut short") from None
    return found


def _packets(data: bytes) -> Iterator[bytes]:
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith(_PNG_START):
        return _png(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff(data)
    return iter(())


def _check(size: int) -> None:
    if size > MOST_BYTES:
        raise UnreadableXmp(f"its XMP has more than {MOST_BYTES} bytes")


def _jpeg(data: bytes) -> Iterator[bytes]:
    parts: dict[bytes, bytearray] = {}
    place = 2
    while data[place : place + 1] == b"\xff" and place + 4 <= len(data):
        marker, (length,) = data[place + 1], struct.unpack_from(">H", data, place + 2)
        if marker == 0xFF:  # A fill byte.
            place += 1
            continue
        if marker == 0xDA or length < 2:
            break
        content = data[place + 4 : place + 2 + length]
        place += 2 + length
        if marker != 0xE1:
            continue
        if content.startswith(_JPEG_MAIN):
            yield content[len(_JPEG_MAIN) :]
        elif content.startswith(_JPEG_MORE):
            rest = content[len(_JPEG_MORE) :]
            size, offset = struct.unpack_from(">II", rest, 32)
            if rest[:32] not in parts:
                _check(size + sum(map(len, parts.values())))
                parts[rest[:32]] = bytearray(size)
            whole = parts[rest[:32]]
            part = rest[40:]
            if len(whole) != size or offset + len(part) > size:
                raise UnreadableXmp("its XMP is in parts that do not fit together")
            whole[offset : offset + len(part)] = part
    yield from map(bytes, parts.values())


def veiled(data: bytes) -> Iterator[bytes]:
    """Texts of a PNG that are no XMP packets and whose bytes do not stand in the file as they are: those that
    are packed, and profiles in hexadecimal digits, such as ImageMagick writes of EXIF and IPTC.

    Raises:
        UnreadableXmp: One is damaged, or they have more than `MOST_BYTES` together.
    """
    size = 0
    for name, key, packed in _png_texts(data):
        if key in (_PNG_KEY, *_PNG_RAW) or (name == b"tEXt" and not key.startswith(_PNG_PROFILE)):
            continue
        try:
            text = _png_text(name, packed)
            text = _profile(text) if key.startswith(_PNG_PROFILE) else text
        except (zlib.error, ValueError) as error:
            if isinstance(error, UnreadableXmp):
                raise
            raise UnreadableXmp("a text in it is damaged, and may hold a reservation") from None
        size += len(text)
        _check(size)
        yield text


def _png(data: bytes) -> Iterator[bytes]:
    for name, key, packed in _png_texts(data):
        if key not in (_PNG_KEY, *_PNG_RAW):
            continue
        # In hexadecimal digits a text takes twice its room.
        _check(len(packed) // 2)
        text = _png_text(name, packed)
        if key == _PNG_KEY:
            yield text
        else:
            profile = _profile(text)
            if b"<" in profile and not profile.startswith((b"Exif", b"II", b"MM")):
                yield profile.removeprefix(_JPEG_MAIN)


def _png_texts(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Chunks of text of a PNG: type, key, and what follows the key."""
    place = 8
    while data.startswith(_PNG_START) and place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        name, begin = data[place + 4 : place + 8], place + 8
        place += 12 + length
        if name == b"IEND":
            return
        if name in (b"tEXt", b"zTXt", b"iTXt"):
            key = data[begin : begin + min(length, _LONGEST_KEY)].partition(b"\0")[0]
            yield name, key, data[begin + len(key) + 1 : begin + length]


def _png_text(name: bytes, text: bytes) -> bytes:
    if name == b"zTXt":
        return _inflated(text[1:])
    if name == b"iTXt":
        packed, text = text[:1] != b"\0", text[2:].split(b"\0", 2)[-1]
        return _inflated(text) if packed else text
    return text


def _profile(text: bytes) -> bytes:
    """What stands in lines: the profile's name, its size, and the bytes in hexadecimal digits."""
    return bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))


def _inflated(packed: bytes) -> bytes:
    inflater = zlib.decompressobj()
    text = inflater.decompress(packed, MOST_BYTES + 1)
    _check(len(text))
    if not inflater.eof:
        raise UnreadableXmp("its XMP is damaged or cut short")
    return text


def _webp(data: bytes) -> Iterator[bytes]:
    place = 12
    while place + 8 <= len(data):
        name, (size,) = data[place : place + 4], struct.unpack_from("<I", data, place + 4)
        if name == b"XMP ":
            _check(size)
            yield data[place + 8 : place + 8 + size]
        place += 8 + size + size % 2


def _tiff(data: bytes) -> Iterator[bytes]:
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    number, pointer, entry, begin = ("Q", "Q", 20, 8) if big else ("H", "I", 12, 4)
    (place,) = struct.unpack_from(order + pointer, data, begin)
    seen: set[int] = set()
    while place:
        if place in seen or len(seen) >= _MOST_PAGES:
            raise UnreadableXmp("its pages run in a circle, or are too many")
        seen.add(place)
        (count,) = struct.unpack_from(order + number, data, place)
        place += struct.calcsize("=" + number)
        if count > (len(data) - place) // entry:
            raise UnreadableXmp("its list of tags is cut short")
        for i in range(place, place + count * entry, entry):
            tag, kind, size = struct.unpack_from(order + "HH" + pointer, data, i)
            if tag != _TIFF_TAG:
                continue
            if kind not in (1, 2, 7):
                raise UnreadableXmp("its XMP is of no type for texts")
            _check(size)
            at = i + 4 + struct.calcsize("=" + pointer)
            if size > struct.calcsize("=" + pointer):
                (at,) = struct.unpack_from(order + pointer, data, at)
            if at + size > len(data):
                raise UnreadableXmp("its XMP is damaged or cut short")
            yield data[at : at + size]
        (place,) = struct.unpack_from(order + pointer, data, place + count * entry)
