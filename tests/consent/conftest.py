"""Pictures with credentials and reservations, made here: certificates, signed files, XMP packets."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff"}


def picture(kind: str = "PNG", seed: int = 0, side: int = 20) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def packet(inner: str = "", attributes: str = "") -> bytes:
    """An XMP packet with one description."""
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:tdm="http://www.w3.org/ns/tdmrep/" xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" '
        f'xmlns:dcterms="http://purl.org/dc/terms/" {attributes}>{inner}</rdf:Description></rdf:RDF>'
        '</x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def mining(value: str) -> bytes:
    return packet(f"<plus:DataMining>http://ns.useplus.org/ldf/vocab/{value}</plus:DataMining>")


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_xmp(xmp: bytes, kind: str = "PNG", seed: int = 0) -> bytes:
    """A picture with a packet, put where files of that kind have it."""
    data = picture(kind, seed)
    if kind == "PNG":
        text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
        return data[:33] + text + data[33:]
    if kind == "JPEG":
        content = b"http://ns.adobe.com/xap/1.0/\0" + xmp
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]
    if kind == "WEBP":
        body = data[12:] + b"XMP " + struct.pack("<I", len(xmp)) + xmp + b"\0" * (len(xmp) % 2)
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    stream = io.BytesIO()
    Image.open(io.BytesIO(data)).save(stream, "TIFF", tiffinfo={700: xmp})
    return stream.getvalue()


@pytest.fixture(scope="session")
def signed() -> Callable[..., bytes]:
    """Signs a picture with a chain of certificates that nobody knows: `signed(entries, ...)`."""
    c2pa = pytest.importorskip("c2pa", reason="the extra `consent` (c2pa-python) is not installed")
    chain, key = _chain()

    def sign(
        entries: object,
        kind: str = "PNG",
        data: bytes | None = None,
        label: str = "cawg.training-mining",
        address: str = "",
    ) -> bytes:
        created = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCreation"
        actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": created}]}
        assertions: list[object] = [{"label": "c2pa.actions", "data": actions}]
        if entries is not None:
            assertions.append({"label": label, "data": {"entries": entries}})
        manifest = {"claim_generator_info": [{"name": "test", "version": "1"}], "assertions": assertions}
        info = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=chain, private_key=key, ta_url=None)
        stream = io.BytesIO()
        settings = {"builder": {"thumbnail": {"enabled": False}}}
        with (
            c2pa.Context.from_dict(settings) as context,
            c2pa.Builder(json.dumps(manifest), context=context) as builder,
        ):
            if address:
                builder.set_no_embed()
                builder.set_remote_url(address)
            source = io.BytesIO(picture(kind) if data is None else data)
            builder.sign(c2pa.Signer.from_info(info), TYPES[kind], source, stream)
        return stream.getvalue()

    return sign


def _chain() -> tuple[bytes, bytes]:
    """A root and a certificate that signs, and the latter's key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    keys = {who: ec.generate_private_key(ec.SECP256R1()) for who in ("root", "artist")}
    now = datetime.now(UTC)

    def name(who: str) -> x509.Name:
        names = ((NameOID.COMMON_NAME, who), (NameOID.ORGANIZATION_NAME, "tests"))
        return x509.Name([x509.NameAttribute(kind, value) for kind, value in names])

    def certificate(who: str) -> bytes:
        ca, public = who == "root", keys[who].public_key()
        usage = {"digital_signature": not ca, "key_cert_sign": ca, "crl_sign": ca}
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        usage |= dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
        builder = (
            x509.CertificateBuilder(name("root"), name(who), public, x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys["root"].public_key()), critical=False
            )
        )
        if not ca:
            mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(mail, critical=False)
        return builder.sign(keys["root"], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    key = keys["artist"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate("artist") + certificate("root"), key


@pytest.fixture
def portfolio(tmp_path: Path) -> Path:
    """A gallery of `anna` and `bela`, eight pictures each, all allowed."""
    for a, artist in enumerate(("anna", "bela")):
        (tmp_path / artist / "sketches").mkdir(parents=True)
        for i in range(8):
            place = "sketches/" if i > 5 else ""
            (tmp_path / artist / f"{place}{i}.png").write_bytes(picture(seed=100 * a + i))
        (tmp_path / artist / "consent.toml").write_text(ALLOWED)
    return tmp_path


ALLOWED = '[default]\ncawg.ai_generative_training.use = "allowed"\n'
