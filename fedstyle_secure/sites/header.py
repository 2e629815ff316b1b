"""The signed header of every message from the platform: who asks, in which run, for what, and whom.

Whoever reaches a SuperLink may start a run on it and send messages to its nodes. Without the platform's
identity key none of them is answered.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from flwr.app import ConfigRecord, Message, RecordDict

from fedstyle_secure.errors import StrangerError
from fedstyle_secure.secure_sum.encoding import canonical
from fedstyle_secure.secure_sum.identity import Identity, verified

_DOMAIN = "header"
_RECORD = "header"
_RUN = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Header:
    """What a platform says of a message.

    Attributes:
        run: Identity of the run, 32 hexadecimal digits.
        settings: Digest of the run's settings.
        roster: Digest of who takes part.
        kind: The message's type.
        node: Flower's id of the node that it is for.
        content: Digest of everything else in it.
    """

    run: str
    settings: str
    roster: str
    kind: str
    node: int
    content: str


def sealed(message: Message, identity: Identity, run: str, settings: str, roster: str) -> Message:
    """The message with a signed header of its own; what it was made of may be in other messages, too.

    Args:
        message: With its receiver.
        identity: The platform's.
        run, settings, roster: As in `Header`.
    """
    told, content = message.metadata, message.content
    header = Header(run, settings, roster, told.message_type, told.dst_node_id, content.object_id)
    text = canonical(asdict(header))
    signed = ConfigRecord({"text": text.decode(), "signature": identity.sign(_DOMAIN, text)})
    own = RecordDict({**content, _RECORD: signed})
    return Message(own, told.dst_node_id, told.message_type, ttl=told.ttl, group_id=told.group_id)


def checked(message: Message, platform: str) -> Header:
    """Take the header out of a message, and check that this platform signed it for this very message.

    Args:
        message: As it came.
        platform: The public key of the platform that the node knows.

    Raises:
        StrangerError: There is no header, or it is another platform's, or of another message.
    """
    record = message.content.pop(_RECORD, None)
    try:
        text, signature = record["text"], record["signature"]  # type: ignore[index]
        header = Header(**json.loads(str(text)))
        if not isinstance(signature, bytes) or not verified(
            platform, signature, _DOMAIN, canonical(asdict(header))
        ):
            raise StrangerError("the message is not signed by the platform that is known here")
        found = (message.metadata.message_type, message.metadata.dst_node_id, message.content.object_id)
        if found != (header.kind, header.node, header.content) or not _RUN.fullmatch(header.run):
            raise StrangerError("the message's header is that of another message")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise StrangerError("the message has no header of a platform") from None
    return header
