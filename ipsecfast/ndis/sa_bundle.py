"""Between SA requests and security associations: which algorithms go together, key lengths.

Key material is as in RFC 4106 and RFC 4543: the salt of AES-GCM and AES-GMAC is the last 4 bytes of the key.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from ..alg import AUTHENTICATION, ENCRYPTION
from ..sa import Address, SecurityAssociation
from .constants import NdisStatus, Operation
from .errors import NdisError
from .options import Options
from .sa_request import UNUSED, SaAlgorithm, SaProtocol, SaRequest

__all__ = ["address_of", "associations", "request_for"]

_AH = Operation.IPsecOffloadV2Ah
_ESP = Operation.IPsecOffloadV2Esp
_SALT_LEN = 4
_NULL = 1

ENCRYPTIONS = {
    0x001: "NULL",
    0x002: "DES-CBC",
    0x004: "3DES-CBC",
    0x008: "AES-GCM-128",
    0x010: "AES-GCM-192",
    0x020: "AES-GCM-256",
    0x040: "AES-CBC-128",
    0x080: "AES-CBC-192",
    0x100: "AES-CBC-256",
}
AUTHENTICATIONS = {
    0x01: "HMAC-MD5-96",
    0x02: "HMAC-SHA1-96",
    0x04: "HMAC-SHA256-128",
    0x08: "AES-GMAC-128",
    0x10: "AES-GMAC-192",
    0x20: "AES-GMAC-256",
}
_ENCRYPTION_BITS = {name: bit for bit, name in ENCRYPTIONS.items()}
_AUTHENTICATION_BITS = {name: bit for bit, name in AUTHENTICATIONS.items()}
_ICV_BITS = {64: 8, 96: 12, 128: 16}


def associations(request: SaRequest, options: Options) -> list[SecurityAssociation]:
    """The SAs that a request means, ESP first; a zero address is None.

    Raises NdisError INVALID_DATA for what is no bundle, whatever the card can do.
    """
    operations = [p.operation for p in request.protocols]
    if len(operations) == 2 and operations != [_ESP, _AH]:
        names = ", ".join("AH" if op is _AH else "ESP" for op in operations)
        raise _invalid(f"SecAssoc: got {names}, wanted one protocol, or ESP and then AH")
    udp_esp = request.udp_esp
    if udp_esp & ~0xF or (options.single_udp_esp and udp_esp & (udp_esp - 1)):
        raise _invalid(f"UdpEspEncapsulation: got 0x{udp_esp:X}, wanted one of its flags")
    if udp_esp and _AH in operations:
        raise _invalid("UdpEspEncapsulation: got AH, wanted ESP alone")
    src, dst = address_of(request.src), address_of(request.dst)
    return [_association(p, src, dst, options) for p in request.protocols]


def request_for(
    direction: Literal["inbound", "outbound"],
    sas: Sequence[SecurityAssociation],
    *,
    udp_esp: int = 0,
    seq_hi: Sequence[int] = (0, 0),
    ipv6: bool | None = None,
) -> SaRequest:
    """The request that offloads SAs: ESP, AH, or ESP and AH in this order.

    ``ipv6`` tells the family where both addresses are None.  Raises ValueError for what IPsecOV2 has no words for.
    """
    protocols = tuple(_protocol(sa, hi) for sa, hi in zip(sas, seq_hi, strict=False))
    addresses: list[Address | None] = [sas[0].src, sas[0].dst]  # type: ignore[list-item]
    version = next((a.version for a in addresses if a is not None), 6 if ipv6 else 4)
    zero = bytes(16 if version == 6 else 4)
    src, dst = (zero if a is None else a.packed for a in addresses)
    return SaRequest(direction == "inbound", src, dst, protocols, udp_esp)


def _protocol(sa: SecurityAssociation, seq_hi: int) -> SaProtocol:
    operation = _AH if sa.protocol == "ah" else _ESP
    encryption = authentication = UNUSED
    name = sa.authentication
    if sa.encryption.startswith("AES-GMAC"):
        authentication = SaAlgorithm(_AUTHENTICATION_BITS[sa.encryption], sa.enc_key + sa.salt)
        encryption = SaAlgorithm(_NULL)
    else:
        if sa.protocol == "esp":
            if sa.encryption not in _ENCRYPTION_BITS:
                raise ValueError(f"encryption: IPsecOV2 has no {sa.encryption}")
            combined = sa.enc_alg.combined
            key = sa.enc_key + sa.salt if combined else sa.enc_key
            encryption = SaAlgorithm(_ENCRYPTION_BITS[sa.encryption], key, (sa.icv_len or 0) if combined else 0)
        if name != "NONE":
            if name not in _AUTHENTICATION_BITS or sa.icv_len != sa.auth_alg.icv_len:
                raise ValueError(f"authentication: IPsecOV2 has no {name} with an ICV of {sa.icv_len} bytes")
            salted = bool(sa.auth_alg.salt_len)
            authentication = SaAlgorithm(_AUTHENTICATION_BITS[name], sa.auth_key + sa.salt if salted else sa.auth_key)
    return SaProtocol(operation, sa.spi, authentication, encryption, sa.esn, seq_hi if sa.esn else 0)


def _association(
    protocol: SaProtocol, src: Address | None, dst: Address | None, options: Options
) -> SecurityAssociation:
    if not protocol.spi:
        raise _invalid("Spi: got 0")
    auth, enc = protocol.authentication, protocol.encryption
    ah = protocol.operation is _AH
    encryption, authentication = _names(ah, auth.identifier, enc.identifier, options.unauthenticated_esp)
    enc_key, auth_key, salt = enc.key, auth.key, b""
    if encryption.startswith("AES-G"):
        gmac = encryption.startswith("AES-GMAC")
        enc_key, salt = _split(auth.key if gmac else enc.key, ENCRYPTION[encryption].key_len, options)
        auth_key = b""
        icv_len = 16 if gmac else _icv_len(enc.additional_info, options)
    else:
        _check_length("EncryptionAlgorithm", enc_key, ENCRYPTION[encryption].key_len)
        if AUTHENTICATION[authentication].salt_len:
            auth_key, salt = _split(auth_key, AUTHENTICATION[authentication].key_len, options)
        else:
            _check_length("AuthenticationAlgorithm", auth_key, AUTHENTICATION[authentication].key_len)
        icv_len = AUTHENTICATION[authentication].icv_len
    # A copy of an SA that was checked, with what has been checked here: the constructor's time per SA is saved.
    sa = object.__new__(SecurityAssociation)
    fields = sa.__dict__
    fields.update(_template(ah, encryption, authentication, icv_len).__dict__)
    fields["spi"] = protocol.spi
    fields["src"] = src
    fields["dst"] = dst
    fields["enc_key"] = enc_key
    fields["salt"] = salt
    fields["auth_key"] = auth_key
    fields["esn"] = protocol.esn
    return sa


@lru_cache(256)
def _template(ah: bool, encryption: str, authentication: str, icv_len: int) -> SecurityAssociation:
    enc, auth = ENCRYPTION[encryption], AUTHENTICATION[authentication]
    return SecurityAssociation(
        spi=1,
        protocol="ah" if ah else "esp",
        mode="transport",
        encryption=encryption,
        enc_key=bytes(enc.key_len),
        salt=bytes(enc.salt_len or auth.salt_len),
        authentication=authentication,
        auth_key=bytes(auth.key_len),
        icv_len=icv_len,
        replay_window=0,
        allow_unauthenticated=not icv_len,
        allow_reserved_spi=True,
    )


@lru_cache(256)
def _names(ah: bool, auth: int, enc: int, unauthenticated: bool) -> tuple[str, str]:
    """Names of encryption and authentication for identifiers; NdisError INVALID_DATA for what does not go together."""
    if auth and auth not in AUTHENTICATIONS:
        raise _invalid(f"AuthenticationAlgorithm.Identifier: got 0x{auth:X}, wanted one of its flags")
    if enc and enc not in ENCRYPTIONS:
        raise _invalid(f"EncryptionAlgorithm.Identifier: got 0x{enc:X}, wanted one of its flags")
    encryption = ENCRYPTIONS.get(enc, "NULL")
    authentication = AUTHENTICATIONS.get(auth, "NONE")
    if ah:
        if enc or not auth:
            raise _invalid("SecAssoc: AH has an authentication algorithm and nothing else")
        return "NULL", authentication
    if encryption.startswith("AES-GCM"):
        return encryption, "NONE"
    if authentication.startswith("AES-GMAC"):
        if encryption != "NULL":
            raise _invalid(f"SecAssoc: AES-GMAC goes with no encryption, got {encryption}")
        return authentication, "NONE"
    if not auth and (encryption == "NULL" or not unauthenticated):
        raise _invalid("SecAssoc: ESP without integrity")
    return encryption, authentication


def _split(key: bytes, key_len: int, options: Options) -> tuple[bytes, bytes]:
    if len(key) == key_len and options.salt:
        return key, options.salt
    if len(key) != key_len + _SALT_LEN:
        raise _invalid(f"KeyLength: got {len(key)}, wanted {key_len + _SALT_LEN}: {key_len} and the salt's {_SALT_LEN}")
    return key[:key_len], key[key_len:]


def _check_length(name: str, key: bytes, wanted: int) -> None:
    if len(key) != wanted:
        raise _invalid(f"{name}.KeyLength: got {len(key)}, wanted {wanted}")


def _icv_len(info: int, options: Options) -> int:
    if options.icv_in_bits:
        info = _ICV_BITS.get(info, info)
    if info not in (0, 8, 12, 16):
        raise _invalid(f"EncryptionAlgorithm.AdditionalInfo: got {info}, wanted 8, 12 or 16 bytes of ICV, or 0 for 16")
    return info or 16


@lru_cache(4096)
def address_of(octets: bytes) -> Address | None:
    """The address in network order; None for the wildcard, all zero."""
    if not any(octets):
        return None
    return ipaddress.IPv4Address(octets) if len(octets) == 4 else ipaddress.IPv6Address(octets)


def _invalid(text: str) -> NdisError:
    return NdisError(NdisStatus.NDIS_STATUS_INVALID_DATA, text)
