"""Forms: what requests for an SA have in common, worked out once.

A host offloads many SAs that differ in SPI, addresses and keys alone.  Everything else of an ADD_SA structure is its
form; what a form means is found by reading the first request that has it the careful way, and kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .datapath import Kind, Member
from .datapath_options import DatapathCapabilities
from .needs import Needs
from .options import Options
from .sa_bundle import associations
from .sa_request import parse_add_sa
from .structs import IPSEC_OFFLOAD_V2_ADD_SA, IPSEC_OFFLOAD_V2_ADD_SA_EX, Abi

__all__ = ["Forms", "Plan"]

_MAX_FORMS = 256
_AddSa = type[IPSEC_OFFLOAD_V2_ADD_SA] | type[IPSEC_OFFLOAD_V2_ADD_SA_EX]
_FORM = (
    "Header",
    "NumExtHdrs",
    "Flags",
    "UdpEspEncapsulation",
    "SecAssoc[0].Flags",
    "SecAssoc[0].Operation",
    "SecAssoc[0].AuthenticationAlgorithm",
    "SecAssoc[0].EncryptionAlgorithm",
    "KeyLength",
)
_ADD_SA: tuple[_AddSa, ...] = (IPSEC_OFFLOAD_V2_ADD_SA, IPSEC_OFFLOAD_V2_ADD_SA_EX)
_FORMS = {
    (cls, abi): cls.reader(abi, *_FORM, *([cls.KEY_OFFSET] if cls.KEY_OFFSET else [])) for cls in _ADD_SA for abi in Abi
}
_VALUES = {
    (cls, abi, width): cls.reader(
        abi,
        f"IPv{6 if width == 16 else 4}Endpoints.SrcAddr",
        f"IPv{6 if width == 16 else 4}Endpoints.DestAddr",
        "SecAssoc[0].Spi",
        "SecAssoc[0].SequenceNumberHighOrder",
    )
    for cls in _ADD_SA
    for abi in Abi
    for width in (4, 16)
}
_KEY_DATA = {abi: IPSEC_OFFLOAD_V2_ADD_SA.KeyData.offset(abi) for abi in Abi}


class Plan(NamedTuple):
    """A request: `Datapath.add_of_kind`'s arguments; ``lost``: what is not enabled; ``needs``: None where not asked."""

    kind: Kind
    members: list[Member]
    src: bytes
    dst: bytes
    seq_hi: list[int]
    lost: str
    needs: Needs | None

    def __repr__(self) -> str:
        return f"Plan of a bundle with SPI 0x{self.members[0][0]:08x}"  # never its keys


class _Form(NamedTuple):
    kind: Kind
    lost: str
    values: Any  # reads src, dst, SPI and the high half
    zero: bytes  # the wildcard address
    keys: tuple[tuple[int, int], ...]  # where in the buffer enc_key, salt and auth_key are
    least: int  # bytes that a buffer with this form has


class Forms:
    """Reads requests.  One for an SA table; :meth:`enable` when the configuration changes."""

    def __init__(self, options: Options) -> None:
        self._options = options
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
        name = _FORMS[cls, abi](data)
        forms = self._forms
        form = forms.get(name)
        if form is None or n < form.least:
            return self._first(cls, data, abi, name, forms)
        src, dst, spi, seq_hi = form.values(data)
        if not spi:
            return self._long_way(cls, data, abi)
        (a, b), (c, d), (e, f) = form.keys
        zero = form.zero
        return Plan(
            form.kind,
            [(spi, data[a:b], data[c:d], data[e:f])],
            b"" if src == zero else src,
            b"" if dst == zero else dst,
            [seq_hi],
            form.lost,
            None,
        )

    def _first(
        self, cls: _AddSa, data: bytes, abi: Abi, name: tuple[Any, ...], forms: dict[tuple[Any, ...], _Form]
    ) -> Plan:
        """The careful way, and what it has found out is kept."""
        plan = self._long_way(cls, data, abi)
        _, count, _, _, _, _, auth, enc, key_len, *key_at = name
        if count == 1 and len(forms) < _MAX_FORMS:
            start = key_at[0] if key_at else _KEY_DATA[abi]
            keys = _places(plan, start, auth, enc)
            width = 16 if plan.kind.ipv6 else 4
            least = max(cls.check(data, abi), start + key_len)
            forms[name] = _Form(plan.kind, plan.lost, _VALUES[cls, abi, width], bytes(width), keys, least)
        return plan

    def _long_way(self, cls: _AddSa, data: bytes, abi: Abi) -> Plan:
        asked = parse_add_sa(cls, data, abi, self._options)
        sas = associations(asked, self._options)
        kind = Kind("inbound" if asked.inbound else "outbound", sas, asked.ipv6, asked.udp_esp)
        return Plan(
            kind,
            [(sa.spi, sa.enc_key, sa.salt, sa.auth_key) for sa in sas],
            asked.src if any(asked.src) else b"",
            asked.dst if any(asked.dst) else b"",
            [p.seq_hi for p in asked.protocols],
            kind.needs.missing(self._on),
            kind.needs,
        )


def _places(plan: Plan, start: int, auth: bytes, enc: bytes) -> tuple[tuple[int, int], ...]:
    """Where in the buffer an SA's keys are: its algorithms' key material, with a salt at the end of it."""
    (sa,), ((_, enc_key, salt, auth_key),) = plan.kind.sas, plan.members
    own = enc if sa.encryption != "NULL" and not sa.encryption.startswith("AES-GMAC") else auth
    cut = len(salt)
    places = {"enc": (0, 0), "salt": (0, 0), "auth": (0, 0)}
    for field, info in (("enc", own if enc_key else b""), ("auth", auth if auth_key else b"")):
        if info:
            at = start + int.from_bytes(info[8:12], "little")
            end = at + int.from_bytes(info[4:8], "little")
            places[field] = (at, end - cut)
            if cut:
                places["salt"] = (end - cut, end)
    return tuple(places.values())
