"""TensorBoard: a folder with an events file a run, and copies of files beside it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from fedstyle_secure.errors import ConfigError


def begin(name: str, at: str | None) -> TensorBoard:
    """Begin a run in a folder of its own below `at`; one that is there gets a number behind its name."""
    home = Path(at or "tensorboard")
    if "://" in str(at):
        raise ConfigError(f"--at {at}: TensorBoard reads folders; name one")
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return TensorBoard(next(folder for one in names if not (folder := home / one).exists()))


class TensorBoard:
    """A run's folder."""

    def __init__(self, folder: Path) -> None:
        """Make it.

        Args:
            folder: New.
        """
        self._folder, self.place = folder, str(folder)
        self._writer = SummaryWriter(str(folder))

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """As scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def facts(self, values: Mapping[str, str]) -> None:
        """As texts."""
        for name, value in values.items():
            self._writer.add_text(name, value)

    def file(self, name: str, path: Path) -> None:
        """TensorBoard shows no files, so they lie beside its own."""
        to = self._folder / "files" / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)

    def end(self, whole: bool) -> None:
        """TensorBoard has no mark for what is not whole. The writer puts the machine's name into its file's
        name; it is taken out."""
        self._writer.close()
        for number, path in enumerate(sorted(self._folder.glob("events.out.tfevents.*"))):
            path.rename(path.with_name(f"events.out.tfevents.{path.name.split('.')[3]}.{number}"))
