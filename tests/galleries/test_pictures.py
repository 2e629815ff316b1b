from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile, TiffImagePlugin, WebPImagePlugin

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.pictures import PictureError, decode_picture, read_picture_bytes

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
RAMP16 = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_chunk(tag: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))


def png(width: int, height: int, depth: int, colour: int, rows: list[bytes], *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = png_chunk(b"IHDR", header) + b"".join(extra) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff(width: int, height: int, bits: int, white_is_zero: bool, data: bytes, **tags: int) -> bytes:
    """A little-endian grey TIFF of one strip, with further tags given as `t322=...`."""
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: int(not white_is_zero), 277: 1, 278: height}
    entries |= {273: 8, 279: len(data)} | {int(tag[1:]): value for tag, value in tags.items()}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    header = b"II*\0" + struct.pack("<I", 8 + len(data))
    return header + data + struct.pack("<H", len(entries)) + directory + bytes(4)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


# --- Pixels ---


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_a_picture_of_the_right_size_keeps_its_exact_pixels(kind: str, options: dict[str, bool]) -> None:
    out = decode_picture(encoded(Image.fromarray(NOISE), kind, **options), 32)
    assert out.dtype == np.uint8
    assert np.array_equal(out, NOISE)


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.fromarray(RAMP16), "PNG"),
        encoded(Image.fromarray(RAMP16), "TIFF"),
        encoded(Image.fromarray(RAMP16.astype(">u2")), "TIFF"),
        encoded(Image.fromarray(RAMP16), "TIFF", compression="tiff_lzw"),
        encoded(Image.fromarray(RAMP16.astype(">u2")), "TIFF", compression="tiff_adobe_deflate"),
    ],
    ids=["png", "tiff", "tiff big-endian", "tiff lzw", "tiff big-endian deflate"],
)
def test_16_bit_grey_is_scaled_and_not_clipped(data: bytes) -> None:
    out = decode_picture(data, 32)
    assert np.array_equal(out, np.repeat((RAMP16 >> 8)[..., None], 3, axis=2))
    assert 100 < out.mean() < 155


def test_16_bit_colour_is_scaled_as_16_bit_grey_is() -> None:
    colour = RNG.integers(0, 65536, (32, 32, 3)).astype(">u2")
    out = decode_picture(png(32, 32, 16, 2, [row.tobytes() for row in colour]), 32)
    assert np.array_equal(out, colour >> 8)


def test_16_bit_grey_with_a_transparent_value_shows_white_there() -> None:
    rows = [row.tobytes() for row in RAMP16.astype(">u2")]
    transparent = png_chunk(b"tRNS", struct.pack(">H", int(RAMP16[3, 5])))
    out = decode_picture(png(32, 32, 16, 0, rows, transparent), 32)
    assert out[3, 5].tolist() == [255, 255, 255]
    assert out[3, 6].tolist() == [RAMP16[3, 6] >> 8] * 3


def adam7(pixels: np.ndarray) -> list[bytes]:
    """The rows of a picture in the order of PNG's interlacing; pixels of whole bytes, uint8 (h, w, bytes)."""
    passes = (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    )
    return [row.tobytes() for y, x, down, right in passes for row in pixels[y::down, x::right]]


@pytest.mark.parametrize("interlaced", [False, True])
def test_the_transparent_colour_of_16_bit_pixels_is_compared_in_16_bits(interlaced: bool) -> None:
    """Before, a key that matched the high bytes alone made pixels white, and one that matched did not."""
    values = RNG.integers(0, 65536, (32, 32, 3))
    values[0, 0] = (51207, 7689, 10241)
    colour = values.astype(">u2")
    for key, clear in (((200, 30, 40), False), ((51207, 7689, 10241), True), ((51207, 7689, 10240), False)):
        rows = [row.tobytes() for row in colour]
        if interlaced:
            rows = adam7(colour.view(np.uint8).reshape(32, 32, 6))
        data = png(32, 32, 16, 2, rows, png_chunk(b"tRNS", struct.pack(">HHH", *key)))
        if interlaced:
            header = data[12:28] + b"\1"
            data = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
        expected = (values >> 8).astype(np.uint8)
        expected[0, 0] = 255 if clear else (200, 30, 40)
        assert np.array_equal(decode_picture(data, 32), expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_the_transparent_grey_is_of_the_depth_of_the_file(depth: int) -> None:
    """Of the key its lowest bits count alone. Before, 4-bit grey with key 1 stayed opaque."""
    top = 2**depth - 1
    for value in {0, 1, top // 2, top}:
        packed = sum(value << shift for shift in range(0, 8, depth))
        rows = [bytes([packed]) * (16 * depth // 8)] * 16
        for key in {0, 1, top // 2, top}:
            for above in (0, 2**depth, 2**15):
                chunk = png_chunk(b"tRNS", struct.pack(">H", key | above))
                shown = 255 if key == value else value * 255 // top
                assert (decode_picture(png(16, 16, depth, 0, rows, chunk), 16) == shown).all()


def test_the_transparent_colour_of_8_bit_pixels_counts_its_lowest_bits() -> None:
    rows = [bytes([1, 2, 3]) * 16] * 16
    for key, shown in (((1, 2, 3), 255), ((0x101, 2, 0x203), 255), ((1, 2, 4), (1, 2, 3))):
        data = png(16, 16, 8, 2, rows, png_chunk(b"tRNS", struct.pack(">HHH", *key)))
        assert (decode_picture(data, 16) == shown).all()


def test_16_bit_grey_where_zero_is_white_is_inverted() -> None:
    out = decode_picture(tiff(32, 32, 16, True, RAMP16.astype("<u2").tobytes()), 32)
    assert np.array_equal(out[..., 0], 255 - (RAMP16 >> 8))


def test_12_bit_grey_is_scaled_from_12_bits() -> None:
    values = RAMP16 >> 4
    pairs = values.reshape(-1, 2).astype(np.uint32)
    packed = (pairs[:, 0] << 12) | pairs[:, 1]
    data = b"".join(int(pair).to_bytes(3, "big") for pair in packed)
    assert np.array_equal(decode_picture(tiff(32, 32, 12, False, data), 32)[..., 1], values >> 4)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_and_floating_pixels_are_refused(mode: str) -> None:
    with pytest.raises(PictureError, match="valid: 8 or 16 bits"):
        decode_picture(encoded(Image.new(mode, (32, 32), 70000), "TIFF"), 32)


def flat(mode: str, colour: object, **options: object) -> list[int]:
    out = decode_picture(encoded(Image.new(mode, (20, 20), colour), "PNG", **options), 20)
    assert (out == out[0, 0]).all()
    return out[0, 0].tolist()


def test_grey_bilevel_and_alpha() -> None:
    assert flat("L", 77) == [77, 77, 77]
    assert flat("1", 1) == [255, 255, 255]
    assert flat("LA", (100, 255)) == [100, 100, 100]
    assert flat("LA", (100, 0)) == [255, 255, 255]
    assert flat("RGBA", (10, 20, 30, 255)) == [10, 20, 30]
    assert flat("RGBA", (10, 20, 30, 0)) == [255, 255, 255]
    # 0.2 of the colour, 0.8 of white.
    assert flat("RGBA", (0, 100, 200, 51)) == [204, 224, 244]
    assert flat("L", 77, transparency=77) == [255, 255, 255]
    assert flat("RGB", (1, 2, 3), transparency=(1, 2, 3)) == [255, 255, 255]
    assert flat("RGB", (1, 2, 3), transparency=(1, 2, 4)) == [1, 2, 3]


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([9, 9, 9, 200, 100, 50, 7, 7, 7])
    image.paste(2, (0, 0, 10, 20))
    plain = decode_picture(encoded(image, "PNG"), 20)
    assert plain[0, 0].tolist() == [7, 7, 7]
    assert plain[0, 19].tolist() == [200, 100, 50]
    one_index = decode_picture(encoded(image, "PNG", transparency=1), 20)
    assert one_index[0, 0].tolist() == [7, 7, 7]
    assert one_index[0, 19].tolist() == [255, 255, 255]
    partly = decode_picture(encoded(image, "PNG", transparency=bytes([255, 51, 255])), 20)
    assert partly[0, 0].tolist() == [7, 7, 7]
    assert partly[0, 19].tolist() == [244, 224, 214]


@pytest.mark.parametrize(
    ("ink", "paint"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 128, 255, 0), (255, 127, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((51, 0, 102, 51), (163, 204, 122)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str, ink: tuple[int, ...], paint: tuple[int, ...]) -> None:
    out = decode_picture(encoded(Image.new("CMYK", (32, 32), ink), kind, quality=100), 32)
    assert np.abs(out.astype(int) - paint).max() <= 1


DISPLAYED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def centre(picture: np.ndarray) -> np.ndarray:
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return picture[top : top + side, left : left + side]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_every_exif_orientation(kind: str, options: dict[str, bool], orientation: int) -> None:
    # An odd surplus: cropping before turning would be off by one.
    stored = RNG.integers(0, 256, (24, 41, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(stored), kind, exif=exif(orientation), **options)
    assert np.array_equal(decode_picture(data, 24), centre(DISPLAYED[orientation](stored)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_a_jpeg_that_is_shrunk_while_decoding(orientation: int) -> None:
    corners = np.zeros((2, 2, 3), np.uint8)
    corners[0, 0], corners[0, 1], corners[1, 0] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    stored = corners.repeat(400, axis=0).repeat(400, axis=1)
    data = encoded(Image.fromarray(stored), "JPEG", exif=exif(orientation), quality=95)
    out = decode_picture(data, 16)[[4, 4, 11, 11], [4, 11, 4, 11]].reshape(2, 2, 3)
    assert np.abs(out.astype(int) - DISPLAYED[orientation](corners)).max() <= 12


def test_a_senseless_orientation_leaves_the_picture_as_it_is() -> None:
    text = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHI4sI", 1, 0x0112, 2, 2, b"6\0", 0)
    for tags in (exif(0), exif(9), exif(65535), text):
        data = encoded(Image.fromarray(NOISE), "PNG", exif=tags)
        assert np.array_equal(decode_picture(data, 32), NOISE)


@given(st.binary(max_size=64))
def test_damaged_exif_does_not_cost_the_picture(junk: bytes) -> None:
    data = encoded(Image.fromarray(NOISE), "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0" + junk)
    assert decode_picture(data, 32).shape == (32, 32, 3)


def test_the_first_frame_of_animations_and_the_first_page_of_documents() -> None:
    first, second = Image.new("RGB", (20, 20), (1, 2, 3)), Image.new("RGB", (20, 20), (200, 0, 0))
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        data = encoded(first, kind, save_all=True, append_images=[second], **options)
        assert (decode_picture(data, 20) == (1, 2, 3)).all(), kind


# --- Odd metadata ---

INFLATES = zlib.compress(bytes(1_600_000))
ODD_PNG = [
    png_chunk(b"iCCP", b"profile\0\0" + INFLATES),
    png_chunk(b"zTXt", b"Comment\0\0" + INFLATES),
    png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + INFLATES),
    png_chunk(b"zTXt", b"Raw profile type exif\0\0" + INFLATES),
    *(png_chunk(b"tEXt", b"XML:com.adobe.xmp\0" + bytes([65 + i]) * 2**20) for i in range(70)),
    *(
        png_chunk(name, b"")
        for name in (b"gAMA", b"cHRM", b"pHYs", b"iCCP", b"eXIf", b"tIME", b"acTL", b"fcTL")
    ),
    png_chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
    png_chunk(b"tEXt", b"Comment\0bad sum")[:-1] + b"!",
]
ODD_JPEG = [
    b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(content)) + content
    for marker, content in [
        (0xE0, b"JFIF\0"), (0xE0, b"JFXX\0"), (0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"), (0xE1, b"Exif\0\0"),
        (0xE2, b"ICC_PROFILE\0\xff\x01"), (0xE2, b"MPF\0II*\0"), (0xED, b"Photoshop 3.0\x008BIM\x03"),
        (0xEE, b"Adobe"), (0xFE, b""), (0xEF, b"\xff\xd9"),
    ]
]  # fmt: skip


@pytest.fixture
def quiet(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    """Nothing is warned of, neither by Python nor by a library in C."""
    yield
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_odd_metadata_around_sound_png_pixels(quiet: None) -> None:
    """Before, an ICC profile that inflates to 1.6 MB made the picture 'damaged or cut short'."""
    data = encoded(Image.fromarray(NOISE), "PNG")
    for chunks in [b"".join(ODD_PNG), *ODD_PNG]:
        for place in (33, len(data) - 12):
            assert np.array_equal(decode_picture(data[:place] + chunks + data[place:], 32), NOISE)


def test_odd_metadata_around_sound_jpeg_pixels(quiet: None) -> None:
    data = encoded(Image.fromarray(NOISE), "JPEG", quality=90)
    expected = decode_picture(data, 32)
    for segments in [b"".join(ODD_JPEG), *ODD_JPEG]:
        for place in (2, 20):
            assert np.array_equal(decode_picture(data[:place] + segments + data[place:], 32), expected)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("tag", [270, 274, 306, 330, 333, 532, 700, 33432, 34377, 34665, 34675, 34853, 65000])
def test_odd_tags_beside_sound_tiff_pixels(quiet: None, tag: int, big: bool) -> None:
    data = encoded(Image.fromarray(NOISE), "TIFF", big_tiff=big)
    number, pointer, size, begin = ("<Q", "<Q", 20, 8) if big else ("<H", "<I", 12, 4)
    (place,) = struct.unpack_from(pointer, data, begin)
    (count,) = struct.unpack_from(number, data, place)
    first = place + struct.calcsize(number)
    entries = [data[first + i * size :][:size] for i in range(count)]
    for kind, many, value in (
        (1, 0, 0),
        (2, 2**31, 8),
        (3, 5, 2**31),
        (5, 1, len(data) - 2),
        (99, 1, 7),
        (4, 2, 0),
    ):
        odd = struct.pack("<HH" + pointer[1:] * 2, tag, kind, many, value)
        directory = sorted([*entries, odd], key=lambda entry: struct.unpack_from("<H", entry))
        body = data[:begin] + struct.pack(pointer, len(data)) + data[begin + struct.calcsize(pointer) :]
        tail = struct.pack(number, count + 1) + b"".join(directory) + struct.pack(pointer, 0)
        assert np.array_equal(decode_picture(body + tail, 32), NOISE)


def test_a_damaged_picture_is_refused_in_our_words_alone(quiet: None) -> None:
    """libtiff writes to standard error what Pillow then raises."""
    rng = np.random.default_rng(0)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        data = np.frombuffer(encoded(Image.fromarray(NOISE), "TIFF", compression=compression), np.uint8)
        for _ in range(25):
            damaged = data.copy()
            damaged[rng.integers(8, len(data), 5)] = rng.integers(0, 256, 5)
            with suppress(PictureError):
                decode_picture(damaged.tobytes(), 32)


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_orientation_is_kept_among_odd_metadata(orientation: int) -> None:
    turned = DISPLAYED[orientation](NOISE)
    sound = encoded(Image.fromarray(NOISE), "PNG", exif=exif(orientation))
    assert np.array_equal(decode_picture(sound[:33] + ODD_PNG[0] + sound[33:], 32), turned)
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    plain = encoded(Image.fromarray(NOISE), "PNG")
    for content in (b"\0\0\0\0" + xmp, b"\1\0en\0\0" + zlib.compress(xmp)):
        chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0" + content)
        assert np.array_equal(decode_picture(plain[:33] + chunk + plain[33:], 32), turned)


# --- Size ---


def test_shrinking_averages() -> None:
    checks = (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)
    out = decode_picture(encoded(Image.fromarray(checks), "PNG"), 32)
    assert np.abs(out.astype(int) - 127).max() <= 2


def test_shrinking_a_jpeg_while_decoding_loses_no_detail() -> None:
    coarse = RNG.integers(0, 256, (60, 60), dtype=np.uint8)
    large = Image.fromarray(coarse).resize((960, 960), Image.Resampling.BICUBIC)
    jpeg = encoded(large, "JPEG", quality=95)
    whole = encoded(Image.open(io.BytesIO(jpeg)), "PNG")
    difference = decode_picture(jpeg, 96).astype(int) - decode_picture(whole, 96)
    assert np.abs(difference).mean() < 1


@pytest.mark.parametrize("upright", [False, True])
def test_the_middle_is_kept(upright: bool) -> None:
    bands = np.zeros((60, 180, 3), np.uint8)
    bands[:, :60], bands[:, 60:120], bands[:, 120:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    picture = bands.swapaxes(0, 1) if upright else bands
    out = decode_picture(encoded(Image.fromarray(np.ascontiguousarray(picture)), "PNG"), 60)
    assert (out == (0, 255, 0)).all()


def test_a_long_strip_is_not_blown_up_before_it_is_cropped(monkeypatch: pytest.MonkeyPatch) -> None:
    made, real = [], Image.Image.resize

    def resize(self: Image.Image, size: tuple[int, int], *rest: object, **named: object) -> Image.Image:
        made.append(size)
        return real(self, size, *rest, **named)

    monkeypatch.setattr(Image.Image, "resize", resize)
    strip = encoded(Image.new("L", (400_000, 16), 9), "PNG")
    assert (decode_picture(strip, 256) == 9).all()
    assert made == [(256, 256)]


@given(st.integers(16, 90), st.integers(16, 90), st.integers(1, 40))
def test_any_shape_becomes_the_square(width: int, height: int, size: int) -> None:
    out = decode_picture(encoded(Image.new("RGB", (width, height), (3, 200, 90)), "PNG"), size)
    assert out.shape == (size, size, 3)
    assert (out == (3, 200, 90)).all()


def test_tiny_pictures_are_refused() -> None:
    with pytest.raises(PictureError, match=r"15 x 40 .*valid: at least 16"):
        decode_picture(encoded(Image.new("L", (15, 40)), "PNG"), 32)
    assert decode_picture(encoded(Image.new("L", (16, 40)), "PNG"), 32).shape == (32, 32, 3)
    assert decode_picture(encoded(Image.new("L", (2, 2)), "PNG"), 32, min_side=2).shape == (32, 32, 3)


def test_the_limit_on_pixels_is_exact() -> None:
    data = encoded(Image.fromarray(NOISE), "PNG")
    assert decode_picture(data, 8, max_pixels=32 * 32).shape == (8, 8, 3)
    with pytest.raises(PictureError, match="at most 1023"):
        decode_picture(data, 8, max_pixels=32 * 32 - 1)


def jpeg_bomb() -> bytes:
    data = bytearray(encoded(Image.fromarray(NOISE), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60000, 60000)
    return bytes(data)


# 13000 x 13000 pixels of one colour, without loss, in 40 bytes: a sound picture, if one has the memory.
WEBP_BOMB = bytes.fromhex("5249464620000000574542505650384c140000002fc7f2b10c075081540820000a9afec78888fe07")


@pytest.mark.parametrize(
    "bomb",
    [
        png(60000, 60000, 8, 2, [bytes(100)]),
        jpeg_bomb(),
        WEBP_BOMB,
        tiff(60000, 60000, 8, False, bytes(100)),
        tiff(32, 32, 8, False, bytes(1024), t322=60000, t323=60000),
    ],
    ids=["png", "jpeg", "webp", "tiff", "tiff tile"],
)
def test_a_header_that_claims_too_much_is_refused_before_decoding(
    bomb: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in (ImageFile.ImageFile, TiffImagePlugin.TiffImageFile, WebPImagePlugin.WebPImageFile):
        monkeypatch.setattr(kind, "load", lambda image: pytest.fail("decoded"))
    with pytest.raises(PictureError, match=r"pixels, too many; valid: at most 100000000"):
        decode_picture(bomb, 96)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_pillows_own_limit_is_neither_used_nor_changed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(NOISE), kind)
    expected = decode_picture(data, 32)
    # Warnings are errors in this test suite.
    for limit in (600, 100):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert np.array_equal(decode_picture(data, 32), expected)
        assert limit == Image.MAX_IMAGE_PIXELS


def test_pillows_error_about_a_large_webp_becomes_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    # Newer versions raise it from the plugin, before the size can be seen.
    def raise_bomb(_: object) -> None:
        raise Image.DecompressionBombError

    monkeypatch.setattr(WebPImagePlugin.WebPImageFile, "_open", raise_bomb)
    with pytest.raises(PictureError, match="too large to decode; valid: at most 100000000"):
        decode_picture(encoded(Image.fromarray(NOISE), "WEBP"), 32)


# --- Bad files ---


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    data = encoded(Image.fromarray(NOISE), kind)
    with pytest.raises(PictureError):
        decode_picture(data[: int(share * len(data))], 32)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"once upon a time",
        b"<svg></svg>",
        encoded(Image.new("L", (32, 32)), "GIF"),
        encoded(Image.new("L", (32, 32)), "BMP"),
    ],
    ids=["empty", "text", "svg", "gif", "bmp"],
)
def test_other_types_are_refused_by_their_content(data: bytes) -> None:
    with pytest.raises(PictureError, match="valid: JPEG, PNG, WebP or TIFF"):
        decode_picture(data, 32)


VALID = [encoded(Image.fromarray(NOISE), kind) for kind in ("PNG", "JPEG", "TIFF", "WEBP")] + [
    encoded(Image.fromarray(RAMP16), "TIFF", compression="tiff_lzw", exif=exif(6)),
    encoded(Image.fromarray(NOISE), "JPEG", exif=exif(6), progressive=True),
]


@given(st.sampled_from(VALID), st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=4))))
def test_damage_ends_in_a_picture_or_in_one_line(data: bytes, patches: list[tuple[float, bytes]]) -> None:
    damaged = bytearray(data)
    for place, patch in patches:
        at = int(place * len(damaged))
        damaged[at : at + len(patch)] = patch
    reason = ""
    try:
        assert decode_picture(bytes(damaged), 24, max_pixels=10**6).shape == (24, 24, 3)
    except PictureError as error:
        reason = str(error)
    assert len(reason.splitlines()) < 2


STARTS = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x20\0\0\0WEBP", b"II*\0", b"MM\0*", b"MM\0+"]


@given(st.sampled_from(STARTS), st.binary())
def test_garbage_after_a_good_start_is_refused(start: bytes, rest: bytes) -> None:
    with pytest.raises(PictureError):
        decode_picture(start + rest, 24, max_pixels=10**6)


def test_a_picture_error_is_a_gallery_error() -> None:
    assert issubclass(PictureError, GalleryError)
    assert PictureError.exit_code == 3


# --- Files ---


def test_reading_gives_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"abc")
    assert read_picture_bytes(tmp_path / "a.png") == b"abc"


def test_missing_files_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="No such file"):
        read_picture_bytes(tmp_path / "none.png")
    with pytest.raises(PictureError, match="not a regular file"):
        read_picture_bytes(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(PictureError, match="not a regular file"):
        read_picture_bytes(tmp_path / "pipe.png")


def test_a_file_larger_than_any_picture_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.tif").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(PictureError, match=r"has 1000000000000 bytes; valid: at most"):
        read_picture_bytes(tmp_path / "huge.tif")
