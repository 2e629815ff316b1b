"""The signed header of every message from the platform: who asks, in which run, for what, and whom.

Whoever reaches a SuperLink may start a run on it and send messages to its nodes. Without the platform's
identity key none of them is answered.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from flwr.app import Message

from fedstyle_secure.errors import FederationError, StrangerError
from fedstyle_secure.secure_sum.encoding import canonical
from fedstyle_secure.secure_sum.identity import Identity, verified
from fedstyle_secure.sites.parcel import PARCEL, body, unpack, wrapped

_DOMAIN = "header"
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
        content: SHA-256 of its content.
    """

    run: str
    settings: str
    roster: str
    kind: str
    node: int
    content: str


def sealed(message: Message, identity: Identity, run: str, settings: str, roster: str) -> Message:
    """The message in one piece, with a signed header of its own.

    Args:
        message: With its receiver.
        identity: The platform's.
        run, settings, roster: As in `Header`.
    """
    told, own = message.metadata, wrapped(message.content)
    digest = hashlib.sha256(body(own)).hexdigest()
    header = Header(run, settings, roster, told.message_type, told.dst_node_id, digest)
    text = canonical(asdict(header))
    own.config_records[PARCEL].update({"text": text.decode(), "signature": identity.sign(_DOMAIN, text)})
    return Message(own, told.dst_node_id, told.message_type, ttl=told.ttl, group_id=told.group_id)


def opened(message: Message, platform: str) -> Header:
    """Check that this platform signed a header for this very message, and put its content in its place.

    Args:
        message: As it came.
        platform: The public key of the platform that the node knows.

    Raises:
        StrangerError: There is no header, or it is another platform's, or of another message.
        FederationError: The content is none.
    """
    try:
        record = message.content.config_records[PARCEL]
        text, signature = record["text"], record["signature"]
        header = Header(**json.loads(str(text)))
        if not isinstance(signature, bytes) or not verified(
            platform, signature, _DOMAIN, canonical(asdict(header))
        ):
            raise StrangerError("the message is not signed by the platform that is known here")
        data, told = body(message.content), message.metadata
        found = (told.message_type, told.dst_node_id, hashlib.sha256(data).hexdigest())
        if found != (header.kind, header.node, header.content) or not _RUN.fullmatch(header.run):
            raise StrangerError("the message's header is that of another message")
    except StrangerError:
        raise
    except (FederationError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise StrangerError("the message has no header of a platform") from None
    message.content = unpack(data)
    return header
