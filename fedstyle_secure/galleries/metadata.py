"""Picture files without most of what is not their pixels.

Libraries parse metadata before pixels, and refuse a sound picture for a profile that inflates too far, a
chunk that is too short, or a tag that points beyond the file. So what shows nothing is taken away first, but
for what can hold the orientation. Whatever does not look as it should is left for the decoder to judge.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION_TEXTS = (b"XML:com.adobe.xmp", b"Raw profile type exif", b"Raw profile type APP1")
_MOST_TEXT = 2**20
"""Bytes that a text of metadata may inflate to; Pillow's own limit."""

_TIFF_TAGS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332}
    | {338, 339, 347, *range(512, 522), 529, 530, 531}
)
"""Tags of a TIFF page that say where its pixels are, what they mean, and which way is up."""


def without_metadata(data: bytes) -> bytes:
    """A PNG, JPEG or TIFF file with its pixels and orientation alone; any other as it is.

    Of a PNG animation the default image is left, of a TIFF document the first page.
    """
    try:
        if data.startswith(_PNG):
            return _png(data)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(data, "<" if data[:2] == b"II" else ">", big=False)
        if data[:4] in (b"II+\0", b"MM\0+"):
            return _tiff(data, "<" if data[:2] == b"II" else ">", big=True)
    except struct.error:
        pass
    return data


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and whole bytes of each chunk of a PNG, up to its end or to what is none."""
    place = len(_PNG)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        chunk = data[place : place + 12 + length]
        name = chunk[4:8]
        if len(chunk) < 12 + length or not name.isalpha():
            return
        yield name, chunk
        if name == b"IEND":
            return
        place += len(chunk)


def _png(data: bytes) -> bytes:
    parts, place, texts, name = [_PNG], len(_PNG), set(), b""
    for name, chunk in png_chunks(data):
        place += len(chunk)
        # A capital: without this chunk the pixels cannot be had.
        if name[:1].isupper() or name == b"tRNS":
            parts.append(chunk)
        elif (key := chunk[8:-4].partition(b"\0")[0]) not in texts and _may_turn(name, chunk):
            texts.add(key)
            parts.append(chunk)
    return b"".join(parts if name == b"IEND" else [*parts, data[place:]])


def _may_turn(name: bytes, chunk: bytes) -> bool:
    """Whether an ancillary chunk of a PNG is sound, may hold the orientation and inflates to a limit."""
    content = chunk[8:-4]
    if struct.pack(">I", zlib.crc32(chunk[4:-4])) != chunk[-4:]:
        return False
    if name == b"eXIf":
        return True
    key, _, text = content.partition(b"\0")
    if name not in (b"tEXt", b"zTXt", b"iTXt") or key not in _ORIENTATION_TEXTS:
        return False
    if name == b"tEXt" or (name == b"iTXt" and text[:1] == b"\0"):
        return len(text) <= _MOST_TEXT
    if name == b"iTXt":
        # After a flag and a method: a language, the key in it, the text.
        text = text[2:].split(b"\0", 2)[-1]
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(text[1:] if name == b"zTXt" else text, _MOST_TEXT)
    except zlib.error:
        return False
    return inflater.eof


def _jpeg(data: bytes) -> bytes:
    parts, place = [data[:2]], 2
    while data[place : place + 1] == b"\xff" and place + 4 <= len(data):
        marker, (length,) = data[place + 1], struct.unpack_from(">H", data, place + 2)
        if marker == 0xDA or not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xD9 or length < 2:
            break
        segment = data[place : place + 2 + length]
        place += 2 + length
        if _jpeg_needs(marker, segment[4:]):
            parts.append(segment)
    return b"".join([*parts, data[place:]])


def _jpeg_needs(marker: int, content: bytes) -> bool:
    """Whether a segment is part of the picture: of application segments those that say which colours the
    numbers mean, with the length that decoders look for, and those that may hold the orientation."""
    if marker == 0xE0:
        return content.startswith(b"JFIF\0") and len(content) >= 14
    if marker == 0xEE:
        return content.startswith(b"Adobe") and len(content) >= 12
    return marker == 0xE1 or not (0xE0 <= marker <= 0xEF or marker == 0xFE)


def _tiff(data: bytes, order: str, *, big: bool) -> bytes:
    """The file with another directory at its end, of the first page's tags that matter."""
    number, pointer, size, begin = ("Q", "Q", 20, 8) if big else ("H", "I", 12, 4)
    (place,) = struct.unpack_from(order + pointer, data, begin)
    (count,) = struct.unpack_from(order + number, data, place)
    first = place + struct.calcsize("=" + number)
    if count > (len(data) - first) // size:
        return data
    entries = (data[i : i + size] for i in range(first, first + count * size, size))
    kept = [entry for entry in entries if _tiff_needs(*struct.unpack_from(order + "HH" + pointer, entry))]
    even = data + b"\0" * (-len(data) % 8)
    header = even[:begin] + struct.pack(order + pointer, len(even))
    directory = struct.pack(order + number, len(kept)) + b"".join(kept) + struct.pack(order + pointer, 0)
    return header + even[len(header) :] + directory


def _tiff_needs(tag: int, kind: int, count: int) -> bool:
    # An orientation that is not one number would stop the reading of all that follows.
    return kind in (3, 4) and count == 1 if tag == 274 else tag in _TIFF_TAGS
