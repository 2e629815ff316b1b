"""One picture file, made into a small square of RGB pixels, or whatever else a system fits it into.

Files come from anywhere, so the kind is told from the first bytes, the size is checked in the header
before anything is decoded, and no global setting of Pillow is touched.
"""

from __future__ import annotations

import io
import logging
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.metadata import png_chunks, without_metadata

# Without a handler of anybody's, Python prints a library's warnings.
logging.getLogger("PIL").addHandler(logging.NullHandler())

MAX_PIXELS = 100_000_000
MIN_SIDE = 16
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff"})

_VALID = "valid: JPEG, PNG, WebP or TIFF"
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_ONE_AT_A_TIME = threading.Lock()
"""Two that both replace standard error would leave it replaced."""


Fit = Callable[[Image.Image, int], np.ndarray]
"""From an RGB picture of any size and the height of the result to uint8, shape (height, width, 3)."""


class PictureError(GalleryError):
    """One picture cannot be used. The message is the reason in one line, without the file's name."""


def read_picture_bytes(path: Path, max_pixels: int = MAX_PIXELS) -> bytes:
    """The bytes of a regular file that may be a picture of at most `max_pixels`.

    Raises:
        PictureError: The file is missing, unreadable, not a regular file (a pipe would block), or larger than
            an uncompressed picture of `max_pixels` could be.
    """
    # 16-bit RGBA without compression, and room for metadata.
    max_bytes = 8 * max_pixels + 2**26
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise PictureError("is not a regular file")
        if info.st_size > max_bytes:
            raise PictureError(f"has {info.st_size} bytes; valid: at most {max_bytes}")
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"cannot be read ({error.strerror or type(error).__name__})") from error


def centred_square(rgb: Image.Image, size: int) -> np.ndarray:
    """A picture's centred square, shrunk to uint8 (size, size, 3)."""
    side = min(rgb.size)
    left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
    # A box instead of a crop after resizing: a 16 x 6000000 strip must not be blown up first.
    square = rgb.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    return np.array(square, dtype=np.uint8)


def decode_picture(
    data: bytes,
    size: int,
    *,
    max_pixels: int = MAX_PIXELS,
    min_side: int = MIN_SIDE,
    fit: Fit = centred_square,
) -> np.ndarray:
    """Decode a picture file and shrink its centred square to `size` x `size`, or fit it as `fit` does.

    Grey, palette, CMYK and 16-bit pixels become 8-bit RGB (16 bits keep their high byte, in grey as in
    colour); transparency is laid over white; the EXIF orientation is applied; of an animation or a document
    with pages the first one is used. Colour profiles are not applied. Takes up to about 12 bytes of memory
    per pixel.

    Args:
        data: The file's bytes.
        size: Height of the result in pixels.
        max_pixels: Largest width times height that the header may claim.
        min_side: Smallest width and height.
        fit: Makes the result of the decoded picture.

    Returns:
        uint8, shape (size, size, 3), RGB, or what `fit` makes. A picture that is `size` x `size` already
        keeps its exact pixels.

    Raises:
        PictureError: The type is not supported, the picture is too large or too small, or the file is
            damaged.
    """
    try:
        with warnings.catch_warnings():
            # What is wrong with a picture is said in the error; what is odd about its metadata is no matter.
            warnings.simplefilter("ignore")
            return _decode(without_metadata(data), size, max_pixels, min_side, fit)
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"is too large to decode; valid: at most {max_pixels} pixels") from error
    except Exception as error:
        # Pillow's decoders raise nearly every type of exception on damaged files.
        detail = (str(error).splitlines() or [""])[0]
        raise PictureError(f"is damaged or cut short ({type(error).__name__}: {detail}); {_VALID}") from error


def _decode(data: bytes, size: int, max_pixels: int, min_side: int, fit: Fit) -> np.ndarray:
    image = _open(data)
    _check_size(image, max_pixels, min_side)
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # Large photographs are shrunk while decoding, to no less than four times what is needed.
        image.draft(None, (4 * size, 4 * size))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Memory set aside here is not measured again against Pillow's own limit, which would warn.
        image.im = Image.new(image.mode, (image.tag_v2[256], image.tag_v2[257])).im
    with _silent_libtiff() if isinstance(image, TiffImagePlugin.TiffImageFile) else nullcontext():
        image.load()
    return fit(_turned(_to_rgb(image, data), _orientation(image)), size)


@contextmanager
def _silent_libtiff() -> Iterator[None]:
    """libtiff writes what is wrong to the process' standard error, and Pillow has no switch for it; all that
    matters is in the exception."""
    with _ONE_AT_A_TIME:
        try:
            kept = os.dup(2)
        except OSError:  # There is none.
            yield
            return
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _open(data: bytes) -> ImageFile.ImageFile:
    """Read the header with the plugin that the first bytes call for.

    `Image.open` would try every format that Pillow knows, and warn about large pictures before we can refuse.
    """
    stream = io.BytesIO(data)
    if data.startswith(b"\xff\xd8\xff"):
        return JpegImagePlugin.JpegImageFile(stream)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile(stream)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile(stream)
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return TiffImagePlugin.TiffImageFile(stream)
    if not data:
        raise PictureError(f"is an empty file; {_VALID}")
    raise PictureError(f"is not a supported type of picture; {_VALID}")


def _check_size(image: ImageFile.ImageFile, max_pixels: int, min_side: int) -> None:
    width, height = image.size
    pixels = width * height
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # A small picture may claim a huge tile, which the decoder would allocate.
        pixels = max(pixels, image.tag_v2.get(322, 0) * image.tag_v2.get(323, 0))
    if pixels > max_pixels:
        raise PictureError(f"has {width} x {height} pixels, too many; valid: at most {max_pixels} in all")
    if min(width, height) < min_side:
        raise PictureError(f"has {width} x {height} pixels, too few; valid: at least {min_side} on each side")


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation 1 to 8 of a loaded picture; 1 where it is missing or unreadable."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        # Damaged metadata around sound pixels raises nearly anything; it is no reason to refuse an artwork.
        return 1
    return value if isinstance(value, int) else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _grey16_to_rgb(image)
    if image.mode in ("I", "F"):
        # Signed, 32-bit and floating point pixels have no agreed white, and Pillow would clip them.
        raise PictureError("has signed, 32-bit or floating point pixels; valid: 8 or 16 bits, unsigned")
    if isinstance(image, PngImagePlugin.PngImageFile) and image.mode != "P" and "transparency" in image.info:
        return _keyed_to_rgb(image, data)
    if not image.has_transparency_data:
        return image.convert("RGB")
    opaque = Image.new("RGB", image.size, "white")
    rgba = image.convert("RGBA")
    opaque.paste(rgba, mask=rgba.getchannel("A"))
    return opaque


def _grey16_to_rgb(image: ImageFile.ImageFile) -> Image.Image:
    grey = np.asarray(image)
    bits, inverted = 16, False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2[258][0]
        inverted = image.tag_v2[262] == 0
    high = (grey >> (bits - 8)).astype(np.uint8)
    if inverted:
        high = 255 - high
    if "transparency" in image.info:
        high[grey == image.info["transparency"]] = 255
    return Image.fromarray(high).convert("RGB")


def _keyed_to_rgb(image: PngImagePlugin.PngImageFile, data: bytes) -> Image.Image:
    """A grey or colour PNG of up to 16 bits with the colour that is transparent, made white.

    The key is of the file's own depth, and only its lowest bits count (PNG specification, 11.3.2.1).
    """
    bits, grey = data[24], image.mode != "RGB"
    (content, *_) = (chunk[8:-4] for name, chunk in png_chunks(data) if name == b"tRNS")
    key = np.frombuffer(content, ">u2", count=1 if grey else 3) & (2**bits - 1)
    del image.info["transparency"]
    if bits < 8:
        key = key * (255 // (2**bits - 1))
    pixels = np.asarray(image.convert("L") if grey else image)
    if bits == 16:
        low = PngImagePlugin.PngImageFile(io.BytesIO(data))
        # Read as if its bytes were the other way round, the lower byte of each value is kept.
        low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]
        pixels = pixels.astype(np.uint16) * 256 + np.asarray(low)
    clear = pixels == key
    rgb = np.array(image.convert("RGB"))
    rgb[clear if grey else clear.all(axis=2)] = 255
    return Image.fromarray(rgb)
