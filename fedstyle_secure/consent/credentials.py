"""What a picture's content credentials (C2PA) say: CAWG's assertion `cawg.training-mining`, or the older
`c2pa.training-mining`.

A manifest that does not hold to its own hashes and signature is tampered with, and the work is refused. No
list of trusted signers is kept: a sound signature shows that nothing was changed since, not who signed, so
that an assertion is worth as much as a file beside the picture, the word of whoever hands it over. All
manifests of a picture are asked, those of what it was made from too; only its own can allow.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fedstyle_secure.consent.uses import PURPOSES, Purpose, Said, Use, of_purpose, read_use
from fedstyle_secure.consent.xmp import credentials_elsewhere

_TYPE = b"c2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"
"""The type of C2PA's JUMBF boxes."""

_LABEL = re.compile(r"(?:cawg|c2pa)\.training-mining(?:\.v\d+)?(?:__\d+)?")
_NO_TAMPERING = frozenset({"signingCredential.untrusted", "timeStamp.untrusted"})
"""Failures that say who signed is not known, and no more."""

# A picture must not make whoever reads it ask an address.
_OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
_CODE = re.compile(r"[A-Za-z0-9.]{1,80}")


def credentials_say(data: bytes, purpose: Purpose) -> list[Said]:
    """What the content credentials of a picture file say of a purpose; nothing where it has none.

    Credentials that were taken out of a file leave no trace in it.

    Args:
        data: The file's bytes.
        purpose: Which use.
    """
    if not _carries(data):
        if credentials_elsewhere(data):
            return [_refused("its content credentials lie at an address, which is not asked")]
        return []
    try:
        from c2pa import C2paError, Context, Reader
    except (ImportError, OSError, RuntimeError):
        return [
            _refused(
                "it carries content credentials (C2PA), which the extra reads: "
                'pip install "fedstyle-secure[consent]"'
            )
        ]
    try:
        with (
            Context.from_dict(_OFFLINE) as context,
            Reader(_type(data), io.BytesIO(data), context=context) as read,
        ):
            store = json.loads(read.json())
    except (C2paError, ValueError, RecursionError) as error:
        return [_refused(f"its content credentials cannot be read ({type(error).__name__.strip('_')})")]
    return _said(store, purpose) if isinstance(store, dict) else [_refused("its content credentials are odd")]


def _carries(data: bytes) -> bool:
    """Whether a JUMBF box begins anywhere (ISO 19566-5): its length, `jumb`, a length, `jumd`."""
    if _TYPE in data:
        return True
    place = data.find(b"jumd")
    while place >= 0 and data[max(place - 8, 0) : place - 4] != b"jumb":
        place = data.find(b"jumd", place + 4)
    return place >= 0


def _refused(reason: str) -> Said:
    return Said("credentials", "notAllowed", reason)


def _type(data: bytes) -> str | None:
    if data.startswith(b"\xff\xd8"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG"):
        return "image/png"
    if data.startswith(b"RIFF"):
        return "image/webp"
    return "image/tiff" if data[:2] in (b"II", b"MM") else None


def _said(store: Mapping[str, Any], purpose: Purpose) -> list[Said]:
    failures = sorted(set(_failures(store)) - _NO_TAMPERING)
    if failures:
        code = failures[0] if _CODE.fullmatch(failures[0]) else "an unknown failure"
        return [_refused(f"its content credentials were tampered with ({code})")]
    if store.get("validation_state") not in ("Valid", "Trusted"):
        return [_refused("its content credentials are not valid")]
    active = store.get("active_manifest")
    said = []
    for label, manifest in store.get("manifests", {}).items():
        for uses in _assertions(manifest):
            found = None if uses is None else of_purpose(uses, purpose)
            if uses is None:
                said.append(_refused("its training-and-data-mining assertion is not as CAWG defines it"))
            elif found is not None and (label == active or found[1] != "allowed"):
                reason = f"its content credentials say {found[0]} = {found[1]!r}"
                said.append(Said("credentials", found[1], reason))
    return said


def _failures(store: Mapping[str, Any]) -> Iterator[str]:
    """Codes of everything that failed, of the picture's own manifest and of what it was made from."""
    for status in store.get("validation_status") or ():
        yield str(status.get("code"))
    results = store.get("validation_results") or {}
    for status in (results.get("activeManifest") or {}).get("failure") or ():
        yield str(status.get("code"))
    for delta in results.get("ingredientDeltas") or ():
        for status in (delta.get("validationDeltas") or {}).get("failure") or ():
            yield str(status.get("code"))


def _assertions(manifest: Mapping[str, Any]) -> Iterator[Mapping[Purpose, Use] | None]:
    """Each training-and-data-mining assertion's uses; None for one that cannot be understood."""
    for assertion in manifest.get("assertions") or ():
        if _LABEL.fullmatch(str(assertion.get("label"))):
            data = assertion.get("data")
            entries = data.get("entries") if isinstance(data, dict) else None
            yield _uses(entries) if isinstance(entries, dict) else None


def _uses(entries: Mapping[str, Any]) -> Mapping[Purpose, Use] | None:
    uses: dict[Purpose, Use] = {}
    for purpose in PURPOSES:
        for prefix in ("cawg", "c2pa"):
            entry = entries.get(f"{prefix}.{purpose}")
            if entry is None:
                continue
            use = read_use(entry)
            if use is None:
                return None
            if uses.get(purpose, "allowed") == "allowed":
                uses[purpose] = use
    return uses
