"""What lies among an artist's pictures and is no artwork: what a system keeps there, notes, other files."""

from __future__ import annotations

from collections.abc import Mapping

NOTES = frozenset(
    {".txt", ".md", ".rst", ".json", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml", ".html", ".ini", ".db"}
)
"""Endings of what describes pictures; nobody takes it for one."""

OTHER_PICTURES = frozenset(
    {
        ".gif", ".bmp", ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jxr", ".svg", ".svgz",
        ".psd", ".psb", ".xcf", ".kra", ".ora", ".clip", ".procreate", ".ai", ".eps", ".ico", ".tga", ".pcx",
        ".ppm", ".pgm", ".pbm", ".pnm", ".qoi", ".dds", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".nef",
        ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw",
    }
)  # fmt: skip
"""Endings of pictures that are not read."""

_KEPT_BY_SYSTEMS: Mapping[str, str] = {
    "@eadir": "Synology's folder of thumbnails",
    "@__thumb": "QNAP's folder of thumbnails",
    "thumbs": "a folder of thumbnails",
    "_thumbs": "a folder of thumbnails",
    "thumbnails": "a folder of thumbnails",
    "_vti_cnf": "a folder of thumbnails of a web server",
    "digikam thumbnails": "a folder of thumbnails",
    "@tmp": "a NAS's temporary folder",
    "#recycle": "a NAS's recycle bin",
    "@recycle": "a NAS's recycle bin",
    "#snapshot": "a NAS's folder of old versions",
    "@recently-snapshot": "a NAS's folder of old versions",
    "__macosx": "what macOS adds to archives",
    "$recycle.bin": "the recycle bin of Windows",
    "recycler": "the recycle bin of Windows",
    "system volume information": "a folder of Windows",
    "lost+found": "a folder of the file system",
}

_BEGINS = (
    b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"8BPS", b"gimp xcf",
    b"\xff\x0a", b"\0\0\0\x0cJXL ", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"qoif", b"DDS ", b"v/1\x01",
    b"#?RADIANCE", b"<svg",
)  # fmt: skip
_BRANDS = (b"heic", b"heix", b"hevc", b"heif", b"mif1", b"msf1", b"avif", b"avis", b"crx ")


def system_folder(name: str) -> str:
    """What a system's or a thumbnailer's folder of that name is, in words; "" for any other name."""
    return _KEPT_BY_SYSTEMS.get(name.casefold(), "")


def begins_like_a_picture(head: bytes) -> bool:
    """Whether a file with these first bytes, 16 or more of them, is a picture of a type that people use."""
    container = (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or (
        head[4:8] == b"ftyp" and head[8:12] in _BRANDS
    )
    return container or head.startswith(_BEGINS)
