"""What a run travels in: a Flower app bundle with settings, and no line of code."""

from __future__ import annotations

import hashlib
import io
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import tomli_w

from fedstyle_secure.config import Config, Scalar
from fedstyle_secure.errors import FederationError

_PROJECT = "pyproject.toml"
_LICENSE = "LICENSE"
_LIST = ".info/CONTENT"
_LARGEST = 2**24
"""Bytes of a bundle, and of all that is packed in it."""


class BundleError(FederationError):
    """A bundle is not the one that was asked for, or holds more than settings. Exit code 6."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        settings: Flat, as `Config.from_flat` takes them.
        files: What else it holds, by name.
    """

    settings: Mapping[str, Scalar]
    files: Mapping[str, bytes]


def app_files(config: Config, more: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """The files of a thin Flower app: its settings, and the apps of the installed package.

    Args:
        config: The settings.
        more: Further TOML files, by name.
    """
    flower = {
        "publisher": "fedstyle-secure",
        "fab-format-version": 1,
        "flwr-version-target": "1.41.0",
        "fab-include": [_LICENSE, *(more or {})],
        "components": {
            "serverapp": "fedstyle_secure.federation.apps:server_app",
            "clientapp": "fedstyle_secure.federation.apps:client_app",
        },
        "config": config.to_flat(),
    }
    project = {
        "name": "fedstyle-run",
        "version": "0.1.0",
        "description": "One run of fedstyle_secure",
        "license": {"file": _LICENSE},
        "dependencies": ["flwr>=1.41,<1.42"],
    }
    text = tomli_w.dumps({"project": project, "tool": {"flwr": {"app": flower}}})
    return {_PROJECT: text.encode(), _LICENSE: b"Apache-2.0\n", **(more or {})}


def packed(config: Config, more: Mapping[str, bytes] | None = None) -> bytes:
    """The bundle of a run. Arguments as of `app_files`."""
    from flwr.cli.build import build_fab_from_files

    content: bytes = build_fab_from_files(app_files(config, more))[0]
    return content


def opened(content: bytes, sha256: str, allowed: frozenset[str] = frozenset()) -> Bundle:
    """Read a bundle without running or unpacking anything of it.

    Args:
        content: The bundle's bytes, from whoever sent them.
        sha256: Digest of the one that was asked for.
        allowed: Names of further files that it may hold.

    Raises:
        BundleError: It is another one, or holds anything but settings and these files.
    """
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BundleError("the bundle is not the one that was asked for")
    if len(content) > _LARGEST:
        raise BundleError(f"the bundle is larger than {_LARGEST} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            listed = archive.infolist()
            names = [one.filename for one in listed]
            foreign = sorted(set(names) - {_PROJECT, _LICENSE, _LIST} - allowed)
            if foreign or len(set(names)) < len(names):
                raise BundleError(
                    f"the bundle holds {(foreign or names)[0]!r:.80}: it may hold settings only"
                )
            if sum(one.file_size for one in listed) > _LARGEST:
                raise BundleError(f"the bundle unpacks to more than {_LARGEST} bytes")
            files = {name: archive.read(name) for name in names}
        settings = tomllib.loads(files[_PROJECT].decode())["tool"]["flwr"]["app"]["config"]
        if not all(isinstance(value, str | int | float | bool) for value in settings.values()):
            raise ValueError("a setting is no scalar")
    except BundleError:
        raise
    # What unpacks and reads TOML raises what it likes, such as zlib's and lzma's errors, and EOFError.
    except Exception as error:
        raise BundleError(f"the bundle cannot be read: {type(error).__name__}") from None
    return Bundle(settings, {name: files[name] for name in allowed & set(names)})
