"""Keep what goes over the wire of a Flower app: a mod for its clients, and a wrapper for its strategy.

Both write folders that `captured` reads, a file for what was sent and one for each answer:

    round-0001/sent-NODE.safetensors, round-0001/reply-NODE.safetensors

Nothing is changed on the way. The files are as sensitive as the messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from attacks.errors import AttackError

_NAME = re.compile(r"round-(\d+)/reply-(\w+)\.safetensors$")


@dataclass(frozen=True, eq=False)
class Captured:
    """One client's round.

    Attributes:
        round: From 1.
        node: The client, as Flower numbers it.
        before: What it got.
        after: What it sent.
    """

    round: int
    node: str
    before: dict[str, Tensor]
    after: dict[str, Tensor]


def capture_mod(folder: Path | str) -> Callable[[Any, Any, Callable[[Any, Any], Any]], Any]:
    """A mod for `ClientApp(mods=[...])` that keeps what this client gets and sends when it trains.

    Args:
        folder: Made where it is not there; each client's files bear its node's id.
    """
    kept = Path(folder)

    def mod(message: Any, context: Any, call_next: Callable[[Any, Any], Any]) -> Any:
        trains = str(message.metadata.message_type).split(".")[0] == "train"
        sent = _arrays(message) if trains else None
        reply = call_next(message, context)
        answer = _arrays(reply) if trains else None
        if sent is not None and answer is not None:
            turn = _round_of(message) or _next_turn(kept, str(context.node_id))
            _keep(kept, turn, str(context.node_id), "sent", sent)
            _keep(kept, turn, str(context.node_id), "reply", answer)
        return reply

    return mod


def keep_updates(strategy: Any, folder: Path | str) -> Any:
    """Make a strategy keep what it sends and what it gets back when clients train; returns it.

    Args:
        strategy: Any of `flwr.serverapp.strategy`, or the like.
        folder: Made where it is not there.
    """
    kept = Path(folder)
    configure, aggregate = strategy.configure_train, strategy.aggregate_train

    def configure_train(server_round: int, *given: Any, **named: Any) -> Iterable[Any]:
        messages = list(configure(server_round, *given, **named))
        for message in messages:
            arrays = _arrays(message)
            if arrays is not None:
                _keep(kept, server_round, str(message.metadata.dst_node_id), "sent", arrays)
        return messages

    def aggregate_train(server_round: int, replies: Iterable[Any], *given: Any, **named: Any) -> Any:
        def passed() -> Iterable[Any]:
            for reply in replies:
                arrays = _arrays(reply)
                if arrays is not None:
                    _keep(kept, server_round, str(reply.metadata.src_node_id), "reply", arrays)
                yield reply

        return aggregate(server_round, list(passed()), *given, **named)

    strategy.configure_train, strategy.aggregate_train = configure_train, aggregate_train
    return strategy


def captured(folder: Path | str) -> list[Captured]:
    """What was kept, round by round.

    Raises:
        AttackError: There is nothing, or a file is damaged or without the other of its pair; names it.
    """
    found = []
    for path in sorted(Path(folder).glob("round-*/reply-*.safetensors")):
        named = _NAME.search(path.as_posix())
        if named is None:
            continue
        before = path.with_name(f"sent-{named[2]}.safetensors")
        found.append(Captured(int(named[1]), named[2], _read(before), _read(path)))
    if not found:
        raise AttackError(
            f"{folder}: no update was kept here; `capture_mod` or `keep_updates` in the app keep them"
        )
    return found


def _arrays(message: Any) -> dict[str, Tensor] | None:
    """The first arrays of a message; None where it has none, or an error."""
    if not message.has_content() or not message.content.array_records:
        return None
    record = next(iter(message.content.array_records.values()))
    found: dict[str, Tensor] = record.to_torch_state_dict()
    return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}


def _round_of(message: Any) -> int | None:
    for record in message.content.config_records.values():
        if "server-round" in record:
            return int(record["server-round"])
    return None


def _next_turn(folder: Path, node: str) -> int:
    return 1 + len(list(folder.glob(f"round-*/reply-{node}.safetensors")))


def _keep(folder: Path, turn: int, node: str, what: str, arrays: dict[str, Tensor]) -> None:
    path = folder / f"round-{turn:04}" / f"{what}-{node}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    save_file(arrays, draft)
    draft.replace(path)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise AttackError(f"{path}: no whole safetensors file ({error})") from None
