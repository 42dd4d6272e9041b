"""Capabilities and run-time configuration (section 12 of the contract, "Configuration"; sections 2.1 to 2.5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ipsecfast.ndis import (
    NDIS_BIND_PARAMETERS,
    NDIS_FILTER_ATTACH_PARAMETERS,
    NDIS_IPSEC_OFFLOAD_V2,
    NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES,
    NDIS_OFFLOAD,
    NDIS_OFFLOAD_ENCAPSULATION,
    NDIS_OFFLOAD_PARAMETERS,
    NDIS_STATUS_INDICATION,
    PROFILES,
    Abi,
    Checksum,
    Configuration,
    Encapsulation,
    Encryption,
    HardwareProfile,
    IPsecV1,
    IPsecV2,
    Lso,
    Memory,
    NdisError,
    NdisStatus,
    NdisVersion,
    Oid,
    Options,
    Registry,
    SetOffload,
    StatusIndication,
    profile,
)

CURRENT = NdisStatus.NDIS_STATUS_TASK_OFFLOAD_CURRENT_CONFIG
HARDWARE = NdisStatus.NDIS_STATUS_TASK_OFFLOAD_HARDWARE_CAPABILITIES
PARAMETERS, ENCAPSULATION = Oid.OID_TCP_OFFLOAD_PARAMETERS, Oid.OID_OFFLOAD_ENCAPSULATION
INVALID_DATA, INVALID_PARAMETER = NdisStatus.NDIS_STATUS_INVALID_DATA, NdisStatus.NDIS_STATUS_INVALID_PARAMETER
ON, OFF = SetOffload.NDIS_OFFLOAD_SET_ON, SetOffload.NDIS_OFFLOAD_SET_OFF
ETHERNET = {"Enabled": ON, "EncapsulationType": Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3, "HeaderSize": 14}
SNAP = {"Enabled": ON, "EncapsulationType": Encapsulation.NDIS_ENCAPSULATION_IEEE_LLC_SNAP_ROUTED, "HeaderSize": 22}
NO_IPSEC_V2 = NDIS_IPSEC_OFFLOAD_V2()
FULL, IPV4_ONLY = profile("full"), profile("ipv4-only")


def configured(hardware: HardwareProfile | str = FULL, keywords: dict[str, Any] | None = None, **kw: Any) -> Any:
    hardware = profile(hardware) if isinstance(hardware, str) else hardware
    return Configuration(hardware, Registry(keywords or {}), **kw)


def parameters(config: Configuration, **members: Any) -> None:
    config.set(PARAMETERS, NDIS_OFFLOAD_PARAMETERS(config.abi, revision=3, **members).to_bytes())


def encapsulation(config: Configuration, **members: Any) -> None:
    config.set(ENCAPSULATION, NDIS_OFFLOAD_ENCAPSULATION(config.abi, **members).to_bytes())


def refused(status: NdisStatus, call: Any, *args: Any, **kw: Any) -> None:
    with pytest.raises(NdisError) as caught:
        call(*args, **kw)
    assert caught.value.status == status, caught.value


def expected(v2: NDIS_IPSEC_OFFLOAD_V2, k: int) -> NDIS_IPSEC_OFFLOAD_V2:
    """The contract's rule, member by member."""
    wanted = NDIS_IPSEC_OFFLOAD_V2.from_bytes(v2.to_bytes())
    if k == 1:
        wanted.Esp = wanted.AhEspCombined = False
        wanted.UdpEsp = wanted.EncryptionAlgorithms = 0
    if k == 2:
        wanted.Ah = wanted.AhEspCombined = False
    return wanted if k and (wanted.Ah or wanted.Esp) else NO_IPSEC_V2


@pytest.mark.parametrize("abi", Abi)
@pytest.mark.parametrize("k", range(4))
@pytest.mark.parametrize("name", PROFILES)
def test_registry_0_to_3_gives_exact_structures(name: str, k: int, abi: Abi) -> None:
    hardware = profile(name)
    assert hardware.ipsec_v2 is not None
    governs, other = ("*IPsecOffloadV2", "*IPsecOffloadV2IPv4")[:: 1 if hardware.ipsec_v2.ipv6 else -1]
    for unused in range(4):
        config = configured(hardware, {governs: str(k), other: str(unused)}, abi=abi)
        assert config.default.IPsecV2.to_bytes() == expected(config.hardware.IPsecV2, k).to_bytes()
        assert config.hardware == configured(hardware, abi=abi).hardware  # unchanged
    v2 = config.hardware.IPsecV2.to_dict()
    assert v2["SaOffloadCapacity"] == hardware.ipsec_v2.capacity and v2["IPv6Supported"] == hardware.ipsec_v2.ipv6


def test_full_profile_is_reported_as_bytes() -> None:
    v2 = configured().default.IPsecV2.to_bytes().hex(" ", 4)
    assert v2 == "1e000000 01010101 01010101 01010100 0f000000 3f000000 ff010000 00000100"


@pytest.mark.parametrize("name", PROFILES)
def test_tunnel_is_always_true_when_reported(name: str) -> None:
    for k in range(4):
        v2 = configured(name, {"*IPsecOffloadV2": k, "*IPsecOffloadV2IPv4": k}).default.IPsecV2
        assert v2 == NO_IPSEC_V2 or (v2.Tunnel and v2.Encapsulation & Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3)


def test_profiles_that_no_legal_report_could_come_from_are_refused() -> None:
    gcm = Encryption.IPSEC_OFFLOAD_V2_ENCRYPTION_AES_GCM_128
    for wrong in (
        {"tunnel": False},
        {"esp": False},
        {"ah_esp": True},
        {"ah": True},
        {"encryption": 0},
        {"encapsulation": Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3_P_AND_Q},
        {"capacity": 0},
        {"transport": False, "transport_tunnel": True},
        {"ipv6": False, "ipv6_extension_headers": True},
    ):
        with pytest.raises(ValueError, match="IPsecV2: "):
            IPsecV2(**{"encryption": gcm, **wrong})
    with pytest.raises(ValueError, match="without any large send"):
        HardwareProfile("x", ipsec_v2=IPsecV2(encryption=gcm, lso=True))
    with pytest.raises(ValueError, match="without a transmit checksum"):
        HardwareProfile("x", ipsec_v2=IPsecV2(encryption=gcm, udp_checksum=True), ipv4_transmit=Checksum(udp=False))
    with pytest.raises(ValueError, match="IPsecV1: ah_esp without"):
        IPsecV1(ah_esp=True, md5=False)
    with pytest.raises(ValueError, match="profile: got 'e1000', wanted one of windows-certified"):
        profile("e1000")


@pytest.mark.parametrize("k", range(4))
def test_keyword_of_ipsec_v1(k: int) -> None:
    config = configured(keywords={"*IPsecOffloadV1IPv4": k}, ndis="6.0")
    v1, hardware = config.default.IPsecV1, config.hardware.IPsecV1
    assert bool(v1.IPv4AH.Md5) == (k in (1, 3)) and bool(v1.IPv4ESP.Des) == (k in (2, 3))
    assert v1.Supported.AhEspCombined == (k == 3) and bool(v1.Supported.Encapsulation) == (k > 0)
    assert hardware.IPv4AH.Sha_1 == hardware.IPv4ESP.TripleDes == hardware.Supported.AhEspCombined == 1


def test_keywords_of_checksum_and_lso() -> None:
    off = configured(keywords={"*TCPUDPChecksumOffloadIPv4": 1, "*TCPChecksumOffloadIPv6": 2, "*LsoV2IPv4": 0}).default
    tx, rx = off.Checksum.IPv4Transmit, off.Checksum.IPv4Receive
    assert (tx.IpChecksum, tx.TcpChecksum, tx.UdpChecksum) == (1, 1, 1) and not any(rx.to_bytes())
    tx, rx = off.Checksum.IPv6Transmit, off.Checksum.IPv6Receive
    assert (tx.TcpChecksum, tx.UdpChecksum, rx.TcpChecksum, rx.UdpChecksum) == (0, 1, 1, 1)
    assert not any(off.LsoV2.IPv4.to_bytes()) and off.LsoV2.IPv6.MaxOffLoadSize and off.IPsecV2.LsoSupported


def test_lso_supported_is_cleared_when_both_large_sends_are_off() -> None:
    off = {"*LsoV1IPv4": 0, "*LsoV2IPv4": 0, "*LsoV2IPv6": 0}
    for kept in off:
        assert configured(keywords={**off, kept: 1}).default.IPsecV2.LsoSupported
    config = configured(keywords=off)
    assert not config.default.IPsecV2.LsoSupported and config.hardware.IPsecV2.LsoSupported


def test_option_coexistence_needs_transmit_checksum() -> None:
    receive_only = {"*TCPChecksumOffloadIPv4": 2, "*TCPChecksumOffloadIPv6": 2}
    assert configured().default.Flags == 6
    assert configured(keywords=receive_only).default.Flags == 4
    assert configured(keywords={"*TCPChecksumOffloadIPv4": 2}).default.Flags == 6  # IPv6 still has it
    assert configured(keywords={"*IPsecOffloadV2": 0}).default.Flags == 0
    loose = Options(coexistence_needs_transmit_checksum=False)
    assert configured(keywords=receive_only, options=loose).default.Flags == 6
    assert configured(ndis="6.20").hardware.Flags == 0  # not defined before NDIS 6.30


def test_option_keywords_mask_hardware() -> None:
    off = {"*IPsecOffloadV2": 0}
    assert configured(keywords=off).hardware.IPsecV2 != NO_IPSEC_V2
    assert configured(keywords=off, options=Options(keywords_mask_hardware=True)).hardware.IPsecV2 == NO_IPSEC_V2


def test_option_v2_off_wins_on_ipv4_only() -> None:
    off = {"*IPsecOffloadV2": 0}
    assert configured("ipv4-only", off).default.IPsecV2.Esp
    wins = configured("ipv4-only", off, options=Options(v2_off_wins_on_ipv4_only=True))
    assert wins.default.IPsecV2 == NO_IPSEC_V2


def test_option_v1_and_lso() -> None:
    both = configured(ndis="6.20").default
    assert any(both.IPsecV1.to_bytes()) and any(both.LsoV1.to_bytes())
    ipsec = configured(ndis="6.20", options=Options(v1_and_lso="ipsec")).default
    assert any(ipsec.IPsecV1.to_bytes()) and not any(ipsec.LsoV1.to_bytes() + ipsec.LsoV2.to_bytes())
    assert not ipsec.IPsecV2.LsoSupported
    lso = configured(ndis="6.20", options=Options(v1_and_lso="lso")).default
    assert not any(lso.IPsecV1.to_bytes()) and any(lso.LsoV2.to_bytes())


@pytest.mark.parametrize(
    ("ndis", "revision", "size", "v1", "v2"),
    [
        ("6.0", 1, 112, True, False),
        ("6.1", 2, 144, True, True),
        ("6.20", 2, 144, True, True),
        ("6.30", 3, 156, False, True),
        ("6.50", 4, 177, False, True),
        ("6.89", 8, 217, False, True),
    ],
)
def test_ndis_versions(ndis: str, revision: int, size: int, v1: bool, v2: bool) -> None:
    config = configured(ndis=ndis)
    for offload in (config.hardware, config.default):
        assert (offload.Header.Revision, offload.Header.Size, len(offload.to_bytes())) == (revision, size, size)
        assert any(offload.IPsecV1.to_bytes()) == v1 and (offload.IPsecV2 != NO_IPSEC_V2) == v2
    assert (config.state.ipsec_v2 != NO_IPSEC_V2) == v2
    assert NdisVersion.parse("6.1") < NdisVersion.parse("6.20") < NdisVersion.parse("6.30")


def test_option_v1_beside_v2() -> None:
    apart = Options(v1_beside_v2=False)
    assert any(configured(ndis="6.0", options=apart).hardware.IPsecV1.to_bytes())
    assert not any(configured(ndis="6.1", options=apart).hardware.IPsecV1.to_bytes())


# OIDs.


@pytest.mark.parametrize("v", range(5))
def test_parameters_0_keeps_and_1_to_4_are_the_keyword_plus_one(v: int) -> None:
    for start in range(4):
        config = configured(keywords={"*IPsecOffloadV2": start})
        parameters(config, IPsecV2=v)
        k = v - 1 if v else start
        assert config.state.ipsec_v2 == expected(config.hardware.IPsecV2, k)
        assert config.registry.get("*IPsecOffloadV2").data == (str(k) if v else start)


def test_parameters_of_every_kind() -> None:
    config = configured(ndis="6.20")
    parameters(config, IPsecV1=2, LsoV1=1, LsoV2IPv6=1, TCPIPv4Checksum=3, IPv4Checksum=1, IPsecV2=0, UDPIPv6Checksum=4)
    now = config.state.offload
    assert now.IPsecV1.IPv4AH.Md5 and not now.IPsecV1.IPv4ESP.Des and not any(now.LsoV1.to_bytes())
    assert (config.state.lso_v1, config.state.lso_v2_ipv4, config.state.lso_v2_ipv6) == (False, True, False)
    checksum = now.Checksum
    assert (checksum.IPv4Transmit.TcpChecksum, checksum.IPv4Receive.TcpChecksum) == (0, 1)
    assert (checksum.IPv4Transmit.IpChecksum, checksum.IPv4Receive.IpChecksum) == (0, 0)
    written = {v.name: v.data for v in config.registry}
    assert written == {
        "*IPsecOffloadV1IPv4": "1",
        "*LsoV1IPv4": "0",
        "*LsoV2IPv6": "0",
        "*TCPChecksumOffloadIPv4": "2",
        "*IPChecksumOffloadIPv4": "0",
        "*UDPChecksumOffloadIPv6": "3",
    }


def test_ipsec_v2_ipv4_parameter_governs_cards_without_ipv6_only() -> None:
    for hardware, member in ((FULL, "IPsecV2"), (IPV4_ONLY, "IPsecV2IPv4")):
        config = configured(hardware)
        for name in ("IPsecV2", "IPsecV2IPv4"):
            parameters(config, **{name: 1})
            assert (config.state.ipsec_v2 == NO_IPSEC_V2) == (name == member)
            parameters(config, **{name: 4})


def test_keyword_is_written_before_the_change_and_the_status_follows() -> None:
    config = configured()
    events: list[Any] = []
    config.registry.write = lambda *args: events.append(("write", *args, config.state.ipsec_v2.Ah))  # type: ignore[method-assign]
    for _ in range(2):
        config.bind(lambda i: events.append((i.status, config.state.ipsec_v2.Ah)))
    parameters(config, IPsecV2=3)
    assert events == [("write", "*IPsecOffloadV2", 2, PARAMETERS.name, True), (CURRENT, False), (CURRENT, False)]


def test_the_skip_flag_leaves_the_keywords_alone() -> None:
    config = configured()
    parameters(config, IPsecV2=1, Flags=1)
    assert config.state.ipsec_v2 == NO_IPSEC_V2 and len(config.registry) == 0


def test_option_skip_registry_flag() -> None:
    config = configured(options=Options(skip_registry_flag=False))
    refused(INVALID_DATA, parameters, config, IPsecV2=1, Flags=1)
    refused(INVALID_DATA, parameters, configured(), IPsecV2=1, Flags=2)


def test_bad_parameters_are_invalid_data_and_change_nothing() -> None:
    config = configured()
    heard: list[StatusIndication] = []
    config.bind(heard.append)
    before = config.state
    for member in ("IPsecV2", "IPsecV2IPv4", "IPsecV1", "IPv4Checksum", "UDPIPv6Checksum"):
        refused(INVALID_DATA, parameters, config, LsoV1=1, **{member: 5})
    for member in ("LsoV1", "LsoV2IPv4", "RscIPv4", "TcpConnectionIPv6", "EncapsulatedPacketTaskOffload"):
        refused(INVALID_DATA, parameters, config, IPsecV2=1, **{member: 3})
    whole = NDIS_OFFLOAD_PARAMETERS(UdpSegmentation={"IPv6": 3}).to_bytes()
    refused(INVALID_DATA, config.set, PARAMETERS, whole)
    refused(NdisStatus.NDIS_STATUS_INVALID_LENGTH, config.set, PARAMETERS, whole[:30])
    refused(NdisStatus.NDIS_STATUS_UNSUPPORTED_REVISION, config.set, PARAMETERS, b"\xa7" + whole[1:])
    assert config.state is before and len(config.registry) == 0 and not heard


def test_parameters_of_revision_1_leave_ipsec_v2_alone() -> None:
    config = configured()
    octets = NDIS_OFFLOAD_PARAMETERS(revision=1, LsoV1=1).to_bytes() + b"\1\1"  # what lies behind is not read
    config.set(PARAMETERS, octets)
    assert not config.state.lso_v1 and config.state.ipsec_v2.Esp
    old = configured(ndis="6.0")
    parameters(old, IPsecV2=1)
    assert len(old.registry) == 0


def test_option_beyond_hardware() -> None:
    card = profile("mlx5")
    config = configured(card)
    parameters(config, IPsecV2=4, LsoV1=2)
    assert (config.state.ipsec_v2.Ah, config.state.ipsec_v2.Esp, config.state.lso_v1) == (False, True, False)
    strict = configured(card, options=Options(beyond_hardware="refuse"))
    parameters(strict, IPsecV2=3, LsoV2IPv4=2, TCPIPv4Checksum=4)
    for wrong in ({"IPsecV2": 4}, {"IPsecV2": 2}, {"LsoV1": 2}, {"IPsecV1": 2}):
        refused(INVALID_DATA, parameters, strict, **wrong)
    parameters(strict, LsoV1=1)


def test_without_any_offload_both_sets_are_not_supported() -> None:
    config = configured(HardwareProfile("plain"))
    refused(NdisStatus.NDIS_STATUS_NOT_SUPPORTED, parameters, config)
    refused(NdisStatus.NDIS_STATUS_NOT_SUPPORTED, encapsulation, config, IPv4=ETHERNET)


def test_encapsulation_is_required_before_receive_work() -> None:
    config = configured()
    s = config.state
    assert not (s.ipsec_receive_ipv4 or s.ipsec_receive_ipv6 or s.checksum_receive_ipv4 or s.checksum_receive_ipv6)
    assert s.ipsec_send_ipv4 and s.ipsec_send_ipv6
    encapsulation(config, IPv4=ETHERNET)
    s = config.state
    assert (s.ipsec_receive_ipv4, s.ipsec_receive_ipv6) == (s.checksum_receive_ipv4, s.checksum_receive_ipv6)
    assert s.ipsec_receive_ipv4 and not s.ipsec_receive_ipv6 and s.ipsec_send_ipv6
    encapsulation(config, IPv6=ETHERNET)
    assert config.state.ipsec_receive_ipv4 and config.state.ipsec_receive_ipv6
    only4 = configured(IPV4_ONLY)
    encapsulation(only4, IPv4=ETHERNET, IPv6=ETHERNET)
    assert only4.state.ipsec_receive_ipv4 and not only4.state.ipsec_receive_ipv6 and not only4.state.ipsec_send_ipv6


def test_set_off_stops_everything() -> None:
    config = configured()
    encapsulation(config, IPv4=ETHERNET, IPv6=ETHERNET)
    encapsulation(config, IPv6={"Enabled": OFF})
    s = config.state
    assert s.ipsec_receive_ipv4 and not s.ipsec_receive_ipv6 and not s.ipsec_send_ipv6 and not s.lso_v2_ipv6
    assert not s.ipsec_v2.IPv6Supported and s.ipsec_v2.Esp and not any(s.offload.Checksum.IPv6Transmit.to_bytes())
    encapsulation(config, IPv4={"Enabled": OFF})
    assert not any(config.state.offload.to_bytes()[4:])
    encapsulation(config, IPv4=ETHERNET, IPv6=ETHERNET)
    assert config.state.offload == config.default and config.state.ipsec_receive_ipv6


def test_option_joint_encapsulation() -> None:
    config = configured(options=Options(joint_encapsulation=True))
    encapsulation(config, IPv4=ETHERNET)
    assert config.state.ipsec_receive_ipv4 and config.state.ipsec_receive_ipv6
    encapsulation(config, IPv6={"Enabled": OFF})
    assert config.state.ipsec_receive_ipv4 and not config.state.ipsec_receive_ipv6


def test_unsupported_encapsulation_type_is_invalid_parameter() -> None:
    config = configured("mlx5")
    before = config.state
    null = {"Enabled": ON, "EncapsulationType": Encapsulation.NDIS_ENCAPSULATION_NULL}
    for wrong in (SNAP, null, {"Enabled": ON}, {**ETHERNET, "EncapsulationType": 6}):
        refused(INVALID_PARAMETER, encapsulation, config, IPv4=ETHERNET, IPv6=wrong)
    refused(INVALID_DATA, encapsulation, config, IPv4={"Enabled": 3})
    assert config.state is before
    mixed = replace(FULL, ipsec_v2=replace(FULL.ipsec_v2, encapsulation=0x2))  # type: ignore[type-var]
    config = configured(mixed)
    encapsulation(config, IPv4=SNAP, IPv6=ETHERNET)  # some offload supports each
    s = config.state
    assert not s.ipsec_receive_ipv4 and not s.ipsec_send_ipv4 and s.checksum_receive_ipv4 and s.ipsec_receive_ipv6


def test_option_strict_encapsulation() -> None:
    wrong: list[dict[str, Any]] = [{**ETHERNET, "HeaderSize": 0}, {"Enabled": OFF, "HeaderSize": 14}]
    for members in wrong:
        encapsulation(configured(), IPv4=members)
        refused(INVALID_DATA, encapsulation, configured(options=Options(strict_encapsulation=True)), IPv4=members)
    encapsulation(configured(options=Options(strict_encapsulation=True)), IPv4=ETHERNET, IPv6=SNAP)


def test_status_after_encapsulation_says_what_is_current_and_the_query_what_is_supported() -> None:
    config = configured()
    heard: list[StatusIndication] = []
    config.bind(heard.append)
    parameters(config, LsoV1=1)
    encapsulation(config, IPv4=ETHERNET, IPv6=SNAP)
    before, after = (NDIS_OFFLOAD.from_bytes(i.buffer) for i in heard)
    assert [i.status for i in heard] == [CURRENT, CURRENT]
    assert before.IPsecV2.Encapsulation == 0x1E  # nothing is current yet: all that is supported
    assert after.Checksum.IPv4Transmit.Encapsulation == after.LsoV2.IPv4.Encapsulation == 0x0E
    assert after.Checksum.IPv6Receive.Encapsulation == 0x10 and after.IPsecV2.Encapsulation == 0x1E
    encapsulation(config, IPv6={"Enabled": OFF})
    assert NDIS_OFFLOAD.from_bytes(heard[-1].buffer).IPsecV2.Encapsulation == 0x0E
    assert NDIS_OFFLOAD.from_bytes(config.query(Oid.OID_TCP_OFFLOAD_CURRENT_CONFIG)).IPsecV2.Encapsulation == 0x1E


@pytest.mark.parametrize("abi", Abi)
def test_queries(abi: Abi) -> None:
    config = configured(keywords={"*IPsecOffloadV2": 0}, abi=abi)
    current = config.query(Oid.OID_TCP_OFFLOAD_CURRENT_CONFIG)
    hardware = config.query(Oid.OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES, 156)
    assert NDIS_OFFLOAD.from_bytes(current, abi) == config.default == config.state.offload
    assert NDIS_OFFLOAD.from_bytes(hardware, abi) == config.hardware != config.default
    too_short = NdisStatus.NDIS_STATUS_BUFFER_TOO_SHORT
    refused(too_short, config.query, Oid.OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES, 155)
    assert NDIS_OFFLOAD_ENCAPSULATION.from_bytes(config.query(ENCAPSULATION), abi).IPv4.Enabled == OFF
    encapsulation(config, IPv4=ETHERNET)
    said = NDIS_OFFLOAD_ENCAPSULATION.from_bytes(config.query(ENCAPSULATION), abi)
    assert said.IPv4.to_dict() == ETHERNET and said.IPv6.Enabled == OFF
    refused(NdisStatus.NDIS_STATUS_NOT_SUPPORTED, config.set, Oid.OID_TCP_OFFLOAD_CURRENT_CONFIG, b"")
    refused(NdisStatus.NDIS_STATUS_INVALID_OID, config.set, 0x123, b"")
    refused(NdisStatus.NDIS_STATUS_INVALID_OID, config.query, PARAMETERS)


def test_both_statuses_when_the_hardware_changes() -> None:
    config = configured()
    heard: list[StatusIndication] = []
    other: list[StatusIndication] = []
    binding = config.bind(heard.append)
    config.bind(other.append)
    config.change_hardware(IPV4_ONLY)
    assert [i.status for i in heard] == [HARDWARE, CURRENT] and heard == other
    assert NDIS_OFFLOAD.from_bytes(heard[0].buffer) == config.hardware
    assert not config.state.ipsec_v2.IPv6Supported and config.state.generation == 1
    config.unbind(binding)
    config.change_hardware(FULL)
    assert len(heard) == 2 and len(other) == 4
    with pytest.raises(ValueError, match="not bound"):
        config.unbind(binding)


@pytest.mark.parametrize("abi", Abi)
def test_attributes_bind_parameters_and_indications_point_to_the_structures(abi: Abi) -> None:
    memory = Memory(abi)
    config = configured(keywords={"*IPsecOffloadV2": 1}, abi=abi)
    octets = config.attributes(memory).to_bytes()
    assert len(octets) == {Abi.X64: 40, Abi.X86: 20}[abi] and octets[0] == 0xA0 and octets[1] == 1
    attributes = NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES.from_bytes(octets, abi)
    default = NDIS_OFFLOAD.from_bytes(memory.read(attributes.DefaultOffloadConfiguration), abi)
    hardware = NDIS_OFFLOAD.from_bytes(memory.read(attributes.HardwareOffloadCapabilities), abi)
    assert (default, hardware) == (config.default, config.hardware)
    assert attributes.TcpConnectionOffloadHardwareCapabilities == 0
    bind = config.bind_parameters(memory, MtuSize=1500)
    at = NDIS_BIND_PARAMETERS.offset_of("DefaultOffloadConfiguration", abi)
    assert at == {Abi.X64: 224, Abi.X86: 192}[abi] and bind.Header.Revision == 4 and bind.MtuSize == 1500
    assert NDIS_OFFLOAD.from_bytes(memory.read(bind.DefaultOffloadConfiguration), abi) == default
    attach = config.filter_attach_parameters(memory)
    assert isinstance(attach, NDIS_FILTER_ATTACH_PARAMETERS)
    assert NDIS_OFFLOAD.from_bytes(memory.read(attach.DefaultOffloadConfiguration), abi) == default
    indication = StatusIndication(CURRENT, default.to_bytes()).to_structure(memory)
    assert isinstance(indication, NDIS_STATUS_INDICATION) and indication.StatusCode == CURRENT == 0x40020006
    assert memory.read(indication.StatusBuffer, indication.StatusBufferSize) == default.to_bytes()
    assert configured(ndis="6.1").bind_parameters(Memory()).Header.Revision == 2


def test_option_bind_default_configuration() -> None:
    for options, esp in ((Options(), False), (Options(bind_default_configuration=True), True)):
        memory = Memory()
        config = configured(options=options)
        parameters(config, IPsecV2=2)
        bind = config.bind_parameters(memory)
        assert NDIS_OFFLOAD.from_bytes(memory.read(bind.DefaultOffloadConfiguration)).IPsecV2.Esp == esp


def test_a_minimal_card() -> None:
    card = HardwareProfile("lso only", lso_v1=Lso(max_size=9000))
    config = configured(card, ndis="6.89")
    assert config.hardware.LsoV1.IPv4.MaxOffLoadSize == 9000 and config.hardware.IPsecV2 == NO_IPSEC_V2
    encapsulation(config, IPv4=ETHERNET, IPv6=ETHERNET)
    assert config.state.lso_v1 and not config.state.ipsec_receive_ipv4
