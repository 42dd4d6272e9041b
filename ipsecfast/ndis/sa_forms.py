"""Forms: what requests for an SA have in common, worked out once.

A host offloads many SAs that differ in SPI, addresses and keys alone.  Everything else of an ADD_SA structure is its
form; what a form means is found by reading the first request that has it the careful way, and kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..sa import SecurityAssociation
from .datapath_options import DatapathCapabilities
from .needs import Needs, needs_of
from .options import Options
from .sa_bundle import address_of, associations
from .sa_request import parse_add_sa
from .structs import IPSEC_OFFLOAD_V2_ADD_SA, IPSEC_OFFLOAD_V2_ADD_SA_EX, Abi

__all__ = ["Forms", "Plan"]

_MAX_FORMS = 256
_KEYS = ("enc_key", "salt", "auth_key")
_AddSa = type[IPSEC_OFFLOAD_V2_ADD_SA] | type[IPSEC_OFFLOAD_V2_ADD_SA_EX]
_PATHS = (
    "Header",
    "NumExtHdrs",
    "Flags",
    "IPv6Endpoints",
    "UdpEspEncapsulation",
    "SecAssoc[0].Flags",
    "SecAssoc[0].Operation",
    "SecAssoc[0].Spi",
    "SecAssoc[0].AuthenticationAlgorithm",
    "SecAssoc[0].EncryptionAlgorithm",
    "SecAssoc[0].SequenceNumberHighOrder",
    "KeyLength",
)
_READERS = {
    (cls, abi): cls.reader(abi, *_PATHS, *([cls.KEY_OFFSET] if cls.KEY_OFFSET else []))
    for cls in (IPSEC_OFFLOAD_V2_ADD_SA, IPSEC_OFFLOAD_V2_ADD_SA_EX)
    for abi in Abi
}
_KEY_DATA = {abi: IPSEC_OFFLOAD_V2_ADD_SA.KeyData.offset(abi) for abi in Abi}


class Plan(NamedTuple):
    """What a request comes to; ``lost``: what of it is not enabled; ``needs``: None where that is not asked."""

    inbound: bool
    sas: list[SecurityAssociation]
    ipv6: bool
    udp_esp: int
    seq_hi: list[int]
    lost: str
    needs: Needs | None


class _Form(NamedTuple):
    inbound: bool
    ipv6: bool
    udp_esp: int
    lost: str
    fields: dict[str, Any]  # of the SA, without what differs
    keys: tuple[tuple[str, int, int], ...]  # field, where it is in the buffer
    least: int  # bytes that a buffer with this form has


class Forms:
    """Reads requests.  One for an SA table; :meth:`enable` when the configuration changes."""

    def __init__(self, options: Options, match_source: bool) -> None:
        self._options = options
        self._match_source = match_source
        self._forms: dict[tuple[Any, ...], _Form] = {}
        self._on = DatapathCapabilities()
        # What makes a buffer mean something else than what stands in it, or what must be kept of it, goes the long way.
        self._plain = not (options.salt or options.spi_network_order or options.config_change == "delete")

    def enable(self, on: DatapathCapabilities) -> None:
        """The configuration has changed."""
        self._on = on
        self._forms = {}

    def plan(self, cls: _AddSa, data: bytes, abi: Abi) -> Plan:
        """What an ADD_SA or ADD_SA_EX structure asks for; StructureError or NdisError if it is damaged."""
        n = len(data)
        if not self._plain or n < cls.least(abi):
            return self._long_way(cls, data, abi)
        header, count, flags, ends, udp_esp, esn, op, spi, auth, enc, seq_hi, *key = _READERS[cls, abi](data)
        name = (cls, header, count, flags, udp_esp, esn, op, auth, enc, *key)
        forms = self._forms
        form = forms.get(name)
        if form is None or n < form.least or not spi:
            plan = self._long_way(cls, data, abi)
            if count == 1 and len(forms) < _MAX_FORMS:
                start = key[1] if len(key) > 1 else _KEY_DATA[abi]
                forms[name] = _form(
                    plan, _places(plan.sas[0], start, auth, enc), max(cls.check(data, abi), start + key[0])
                )
            return plan
        src, dst = (ends[:16], ends[16:]) if form.ipv6 else (ends[:4], ends[4:8])
        sa = object.__new__(SecurityAssociation)
        fields = sa.__dict__
        fields.update(form.fields)
        fields["spi"] = spi
        fields["src"] = source = address_of(src)
        fields["dst"] = destination = address_of(dst)
        fields["match_src"] = self._match_source and form.inbound and source is not None and destination is not None
        for field, start, end in form.keys:
            fields[field] = data[start:end]
        return Plan(form.inbound, [sa], form.ipv6, form.udp_esp, [seq_hi], form.lost, None)

    def _long_way(self, cls: _AddSa, data: bytes, abi: Abi) -> Plan:
        asked = parse_add_sa(cls, data, abi, self._options)
        sas = associations(asked, self._options, self._match_source)
        seq_hi = [p.seq_hi for p in asked.protocols]
        needs = needs_of(sas, asked.ipv6, asked.udp_esp)
        return Plan(asked.inbound, sas, asked.ipv6, asked.udp_esp, seq_hi, needs.missing(self._on), needs)


def _form(plan: Plan, keys: tuple[tuple[str, int, int], ...], least: int) -> _Form:
    (sa,) = plan.sas
    fields = {name: value for name, value in sa.__dict__.items() if name not in _KEYS}
    fields.update(dict.fromkeys(_KEYS, b""))
    return _Form(plan.inbound, plan.ipv6, plan.udp_esp, plan.lost, fields, keys, least)


def _places(sa: SecurityAssociation, start: int, auth: bytes, enc: bytes) -> tuple[tuple[str, int, int], ...]:
    """Where in the buffer an SA's keys are: its algorithms' key material, with a salt at the end of it."""
    own = enc if sa.encryption != "NULL" and not sa.encryption.startswith("AES-GMAC") else auth
    cut = len(sa.salt)
    places = []
    for field, info in (("enc_key", own if sa.enc_key else b""), ("auth_key", auth if sa.auth_key else b"")):
        if info:
            at = start + int.from_bytes(info[8:12], "little")
            end = at + int.from_bytes(info[4:8], "little")
            places.append((field, at, end - cut))
            if cut:
                places.append(("salt", end - cut, end))
    return tuple(places)
