"""A recogniser of an artist's own: the shared one, trained on by the artist for itself. It never leaves, so
that it costs no privacy.

It is made after a run. Weights of an artist's own *during* private training would hang on all of its words,
and so would each word's gradient then: no clip would bound what one word changes.
"""

from __future__ import annotations

from pathlib import Path

from fedstyle_secure.devices import device_named
from fedstyle_secure.errors import RunError
from fedstyle_secure.files import PRIVATE, private_folder, read_arrays, require_secret, write_arrays
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import personal_file
from fedstyle_secure.system import split_arrays, tensors
from fedstyle_secure.systems.text.own import trained_on
from fedstyle_secure.systems.text.recogniser.network import Recogniser
from fedstyle_secure.systems.text.recogniser.start import pooled
from fedstyle_secure.systems.text.system import finished


def personalise(run: RunFolder, artist: str, studios: Path | None = None, device: str | None = None) -> Path:
    """Train a finished run's recogniser on for one artist, on that artist's machine, and keep it there.

    Args:
        run: A finished run.
        artist: Whose crops.
        studios: Where the artists' own folders lie; None: where the run says.
        device: Where it is trained; None: as the run's settings say.

    Returns:
        The file, in the artist's own folder.

    Raises:
        RunError: The run is not finished, or the artist's folder is not there.
        GalleryError: There is no such artist.
        ConfigError: It is a run of another system, or there is no such device here.
    """
    system, shared = finished(run)
    place = device_named(device or system.config.run.device)
    path = personal_file(run, artist, studios)
    portfolio = open_gallery(system.config.gallery).portfolio(artist)
    crops, targets = pooled(system.charset, [portfolio], system.config.gallery.on_bad)
    own = trained_on(shared, system.config.text, crops, targets, place)
    fixed, trained = split_arrays(own)
    private_folder(path.parent)
    write_arrays(path, {**fixed, **trained}, {"artist": artist}, mode=PRIVATE)
    return path


def personal_model(run: RunFolder, artist: str, studios: Path | None = None) -> Recogniser:
    """What `personalise` made.

    Raises:
        RunError: It did not, or the file is damaged.
        PrivacyError: Others can read the file.
        ConfigError: It is a run of another system.
    """
    path = personal_file(run, artist, studios)
    if not path.is_file():
        raise RunError(f"{artist} has no recogniser of its own yet: `fedstyle personalise` makes one")
    require_secret(path, "recogniser")
    _, model = finished(run)
    try:
        model.load_state_dict(tensors(read_arrays(path)[0]))
    except RuntimeError as error:
        raise RunError(f"{path}: is no recogniser of this run: {error}") from None
    return model
