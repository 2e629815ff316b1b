"""Keep what goes over the wire of a Flower app: a mod for its clients, and a wrapper for its strategy.

Both write folders that `captured` reads, a file for what was sent and one for each answer:

    round-0001/sent-NODE.safetensors, round-0001/reply-NODE.safetensors

Nothing is changed on the way, and no training stops for an audit: what cannot be kept is left out, and the
logger `attacks` says so. The files are as sensitive as the messages. Of several messages to a client in one
round the last is kept; so give each run a folder of its own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from attacks.errors import AttackError, one_line

_NAME = re.compile(r"round-(\d+)/reply-(-?\w+)\.safetensors$")

_USUAL = "arrays"
"""The record that Flower's own strategies send and get, where they are not told another."""

_RESERVED = "__metadata__"
"""In safetensors no name of a tensor."""


@dataclass(frozen=True, eq=False)
class Captured:
    """One client's round.

    Attributes:
        round: As Flower numbers it; where it does not, the client's answers are counted from 1.
        node: The client, as Flower numbers it.
        sent: The file of what it got.
        reply: The file of what it sent.
    """

    round: int
    node: str
    sent: Path
    reply: Path

    @property
    def before(self) -> dict[str, Tensor]:
        """What it got, read anew each time: all rounds of all clients need not fit into memory."""
        return _read(self.sent)

    @property
    def after(self) -> dict[str, Tensor]:
        """What it sent, read anew each time."""
        return _read(self.reply)


def capture_mod(folder: Path | str) -> Callable[[Any, Any, Callable[[Any, Any], Any]], Any]:
    """A mod for `ClientApp(mods=[...])` that keeps what this client gets and sends when it trains.

    Args:
        folder: Made where it is not there; each client's files bear its node's id.
    """
    kept = Path(folder)

    def mod(message: Any, context: Any, call_next: Callable[[Any, Any], Any]) -> Any:
        if str(message.metadata.message_type).split(".")[0] != "train":
            return call_next(message, context)
        node, turn = str(context.node_id), _round_of(message)
        if turn is None:
            turn = _next_turn(kept, node)
        _keep(kept, turn, node, "sent", message)
        reply = call_next(message, context)
        _keep(kept, turn, node, "reply", reply)
        return reply

    return mod


def keep_updates(strategy: Any, folder: Path | str) -> Any:
    """Make a strategy keep what it sends and what it gets back when clients train; returns it.

    Args:
        strategy: Any of `flwr.serverapp.strategy`, or the like.
        folder: Made where it is not there.
    """
    kept, key = Path(folder), str(getattr(strategy, "arrayrecord_key", _USUAL))
    configure, aggregate = strategy.configure_train, strategy.aggregate_train

    def configure_train(server_round: int, *given: Any, **named: Any) -> Iterable[Any]:
        def keep(message: Any) -> None:
            _keep(kept, server_round, str(message.metadata.dst_node_id), "sent", message, key)

        return _passed(configure(server_round, *given, **named), keep)

    def aggregate_train(server_round: int, replies: Iterable[Any], *given: Any, **named: Any) -> Any:
        def keep(reply: Any) -> None:
            _keep(kept, server_round, str(reply.metadata.src_node_id), "reply", reply, key)

        return aggregate(server_round, _passed(replies, keep), *given, **named)

    strategy.configure_train, strategy.aggregate_train = configure_train, aggregate_train
    return strategy


def captured(folder: Path | str) -> list[Captured]:
    """What was kept, round by round and by the clients' numbers.

    Raises:
        AttackError: There is nothing, or a file is damaged or without the other of its pair; names it.
    """
    found = []
    names = [
        (path, named)
        for path in Path(folder).glob("round-*/reply-*.safetensors")
        if (named := _NAME.search(path.as_posix()))
    ]
    for path, named in sorted(names, key=lambda pair: (int(pair[1][1]), len(pair[1][2]), pair[1][2])):
        sent = path.with_name(f"sent-{named[2]}.safetensors")
        for file in (sent, path):
            _require_whole(file)
        found.append(Captured(int(named[1]), named[2], sent, path))
    if not found:
        raise AttackError(
            f"{folder}: no update was kept here; `capture_mod` or `keep_updates` in the app keep them"
        )
    return found


def _passed(messages: Iterable[Any], keep: Callable[[Any], None]) -> Iterable[Any]:
    """The same messages, each kept when it passes; those made one by one are still made one by one."""

    def passing() -> Iterator[Any]:
        for message in messages:
            keep(message)
            yield message

    return passing() if isinstance(messages, Iterator) else list(passing())


def _arrays(message: Any, key: str) -> dict[str, Tensor] | None:
    """The arrays of a message's record of that name, else the first; None where it has none, or an error."""
    records = message.content.array_records if message.has_content() else {}
    if not records:
        return None
    record = records[key] if key in records else next(iter(records.values()))
    found: dict[str, Tensor] = record.to_torch_state_dict()
    if _RESERVED in found:
        raise AttackError(f"no file can hold a tensor of the name {_RESERVED!r}")
    return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}


def _round_of(message: Any) -> int | None:
    for record in message.content.config_records.values() if message.has_content() else ():
        turn = record.get("server-round")
        if isinstance(turn, int) and turn >= 0:
            return turn
    return None


def _next_turn(folder: Path, node: str) -> int:
    return 1 + len(list(folder.glob(f"round-*/reply-{node}.safetensors")))


def _keep(
    folder: Path, turn: int, node: str, what: Literal["sent", "reply"], message: Any, key: str = _USUAL
) -> None:
    """Write a message's arrays, a reply only beside what was sent; what goes wrong is logged."""
    place = folder / f"round-{turn:04}"
    sent, reply = (place / f"{name}-{node}.safetensors" for name in ("sent", "reply"))
    path = sent if what == "sent" else reply
    try:
        if what == "sent":
            # An earlier answer is none to this.
            reply.unlink(missing_ok=True)
            sent.unlink(missing_ok=True)
        arrays = _arrays(message, key) if what == "sent" or sent.exists() else None
        if arrays is None:
            return
        place.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        save_file(arrays, draft)
        draft.replace(path)
    except Exception as error:
        # Whatever a client sent and whatever the disk lacks, the training goes on.
        logging.getLogger("attacks").warning("%s was not kept: %s", path, one_line(error))


def _require_whole(path: Path) -> None:
    """Raise AttackError where a file is none, by its head and its length alone."""
    with _damage_named(path), safe_open(path, "pt"):
        pass


def _read(path: Path) -> dict[str, Tensor]:
    with _damage_named(path):
        return load_file(path)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise AttackError(f"{path}: no whole safetensors file ({error})") from None
