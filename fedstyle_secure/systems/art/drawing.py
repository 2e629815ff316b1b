"""Pictures of a finished run, on a sheet that says what made it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from fedstyle_secure.devices import device_named
from fedstyle_secure.errors import ConfigError, RunError
from fedstyle_secure.files import write_bytes
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.systems.art.adapters import adapted, led, own_adapter, require_allowed
from fedstyle_secure.systems.art.backbone.network import Denoiser
from fedstyle_secure.systems.art.backbone.sampling import Drawing, drawn, first_noise, solve
from fedstyle_secure.systems.art.settings import ArtSection
from fedstyle_secure.systems.art.system import finished

_XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" \
xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="fedstyle_secure">\
<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia\
</Iptc4xmpExt:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"""
"""IPTC's word for a picture that a trained model made."""

_ZOOM, _GAP, _HEAD = 96, 6, 22


@dataclass(frozen=True)
class Sheet:
    """Pictures in two halves.

    Attributes:
        titles: Of each half.
        halves: uint8 (n, s, s, 3) each.
        told: What made them, by name.
    """

    titles: tuple[str, ...]
    halves: tuple[np.ndarray, ...]
    told: dict[str, str]


def how(settings: ArtSection, steps: int | None = None, guidance: float | None = None) -> Drawing:
    """How pictures are drawn, by the settings where nothing else is said.

    Raises:
        ConfigError: A value is out of range.
    """
    asked = {"steps": steps, "guidance": guidance}
    try:
        chosen = ArtSection.model_validate(
            settings.model_dump() | {key: value for key, value in asked.items() if value is not None}
        )
    except ValueError:
        raise ConfigError(
            f"steps {steps} or guidance {guidance} is out of range; valid: steps from 2 to 1000, guidance "
            "from 1 to 50"
        ) from None
    return Drawing(chosen.steps, chosen.guidance)


def in_manner(
    shared: Denoiser, model: Denoiser, condition: int, number: int, drawing: Drawing, seed: int
) -> np.ndarray:
    """Pictures by a model with an adapter, uint8 (n, s, s, 3).

    Args:
        shared: The model without it.
        model: With it.
        condition: What is asked beside.
        number: Pictures.
        drawing: Steps and guidance.
        seed: Of the noise.
    """
    noise = first_noise(shared, number, seed)
    return solve(shared, led(model, shared, condition, drawing.guidance), noise, drawing.steps)


def generate(
    run: RunFolder,
    number: int,
    seed: int,
    *,
    artist: str = "",
    condition: str = "",
    steps: int | None = None,
    guidance: float | None = None,
    studios: Path | None = None,
    device: str | None = None,
) -> Sheet:
    """Draw with a finished run.

    Args:
        run: A finished run.
        number: Pictures, from 1 to 1024.
        seed: Of the noise, from 0 to 2^63 - 1: the same seed draws the same pictures.
        artist: Whose adapter draws beside the shared model, on that artist's machine; "": nobody's.
        condition: Of the backbone's names; "": none, or what the adapter was trained with.
        steps: Of the solver; None: by the run's settings.
        guidance: None: by the run's settings.
        studios: Where the artists' own folders lie; None: where the run says.
        device: Where it is drawn; None: as the run's settings say.

    Raises:
        RunError: The run is not finished, the artist has no adapter yet, or the use of a work that it was
            trained on is refused since.
        PrivacyError: The artist has withdrawn, or others can read its adapter.
        GalleryError: There is no such artist, or too few of its works are allowed.
        ConfigError: A value is out of range, there is no such device here, or it is a run of another system.
    """
    if not 1 <= number <= 1024:
        raise ConfigError(f"{number} pictures: valid are 1 to 1024")
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed {seed}: valid are 0 to {2**63 - 1}")
    system, shared = finished(run)
    shared.to(device_named(device or system.config.run.device))
    drawing = how(system.config.art, steps, guidance)
    if condition and condition not in shared.names:
        raise ConfigError(f"{condition!r} is no condition of this backbone; valid: {', '.join(shared.names)}")
    told = {"Software": "fedstyle_secure", "run": run.identity, "seed": str(seed)} | {
        key: str(value) for key, value in asdict(drawing).items()
    }
    asked = shared.names.index(condition) if condition else shared.nothing
    if not artist:
        made = drawn(shared, [asked] * number, drawing, seed)
        return Sheet((condition or "shared model",), (made,), told | {"asked": condition, "adapter": ""})
    adapter = own_adapter(run, artist, studios)
    require_allowed(adapter, open_gallery(system.config.gallery).portfolio(artist))
    if condition:
        adapter = replace(adapter, condition=asked)
    model = adapted(shared, adapter)
    without = drawn(shared, [adapter.condition] * number, drawing, seed)
    made = in_manner(shared, model, adapter.condition, number, drawing, seed)
    told["asked"] = (*shared.names, "")[adapter.condition]
    return Sheet(("without adapter", f"adapter of {artist}"), (without, made), told | {"adapter": artist})


def require_free(path: Path, *, force: bool = False) -> None:
    """Check before anything is drawn that a sheet can be written.

    Raises:
        RunError: Something is there already, be it a link to nothing, and `force` is off; or it is to be no
            PNG.
    """
    if path.suffix.lower() != ".png":
        raise RunError(f"{path}: a sheet is a PNG; valid is a name that ends with .png")
    if os.path.lexists(path) and not force:
        raise RunError(f"{path}: is there already; use --force to overwrite it")
    if not path.parent.is_dir():
        raise RunError(f"{path}: there is no folder {str(path.parent)!r}; make it first")


def save_sheet(sheet: Sheet, path: Path, *, force: bool = False) -> None:
    """Write a sheet as a PNG that says, as text and in XMP, what made it.

    A link is replaced, not followed.

    Raises:
        RunError: As `require_free`.
    """
    require_free(path, force=force)
    info = PngInfo()
    for key, value in sheet.told.items():
        info.add_text(key, value)
    info.add_itxt("XML:com.adobe.xmp", _XMP)
    data = BytesIO()
    drawn_sheet(sheet).save(data, format="PNG", pnginfo=info)
    write_bytes(path, data.getvalue())


def drawn_sheet(sheet: Sheet) -> Image.Image:
    """Halves side by side, each about square, under its title."""
    blocks = [_block(half) for half in sheet.halves]
    wide = sum(block.width for block in blocks) + _GAP * (len(blocks) + 1) * 2
    image = Image.new("RGB", (wide, blocks[0].height + _HEAD + 2 * _GAP), "white")
    pen, font, left = ImageDraw.Draw(image), ImageFont.load_default(14), 2 * _GAP
    for title, block in zip(sheet.titles, blocks, strict=True):
        pen.text((left, 3), title, fill="black", font=font)
        image.paste(block, (left, _HEAD + _GAP))
        left += block.width + 2 * _GAP
    return image


def _block(pictures: np.ndarray) -> Image.Image:
    number, side = len(pictures), pictures.shape[1]
    zoom = max(1, _ZOOM // side)
    across = int(np.ceil(np.sqrt(number)))
    down, cell = -(-number // across), side * zoom + _GAP
    block = Image.new("RGB", (across * cell - _GAP, down * cell - _GAP), "white")
    for i, picture in enumerate(pictures):
        one = Image.fromarray(picture).resize((side * zoom, side * zoom), Image.Resampling.NEAREST)
        block.paste(one, (i % across * cell, i // across * cell))
    return block
