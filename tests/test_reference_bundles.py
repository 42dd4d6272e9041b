"""The slow model's bundles: several SAs on one packet, or none of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import FRAGMENT, GCM_SA, MALFORMED, NO_ROOM, OK, TRANSPORT_SA, H, ipv4, keyed, reference_table

from ipsecfast import PacketStatus, SecurityAssociation
from ipsecfast.reference import ReferenceTable, Result, Room, decapsulate, encapsulate

AH_LEN = 24
AH_SA = keyed("NULL", "HMAC-SHA1-96", protocol="ah", mode="transport")
TUNNEL_SA = replace(AH_SA, mode="tunnel")
GMAC_SA = keyed("NULL", "AES-GMAC-128", protocol="ah", mode="transport")
INNER = replace(TRANSPORT_SA, spi=0x2001)


def bundled(*sas: SecurityAssociation, seq: int = 0) -> tuple[ReferenceTable, int]:
    table = reference_table(*sas, direction="outbound", seq=seq)
    return table, table.bundle(range(1, len(sas) + 1))


def test_ah_around_esp() -> None:
    table, handle = bundled(INNER, AH_SA)
    result = encapsulate(table, ipv4(), handle)
    assert result.packet is not None and (result.handle, result.seq) == (handle, 1) and handle == 3
    receiver = reference_table(AH_SA, INNER)
    assert decapsulate(receiver, result.packet) == Result(OK, ipv4(), seq=1, handle=1)
    assert result.packet[9] == 51 and result.packet[20] == 50
    grown = [len(result.packet) - AH_LEN, len(result.packet)]
    assert [table.statistics(h).bytes for h in (1, 2)] == grown
    assert [receiver.statistics(h).bytes for h in (2, 1)] == grown


def test_eight_layers_of_everything() -> None:
    sas = [
        replace(sa, spi=0x3000 + i)
        for i, sa in enumerate((TRANSPORT_SA, AH_SA, GCM_SA, TUNNEL_SA, TRANSPORT_SA, GCM_SA, AH_SA, GMAC_SA))
    ]
    table, handle = bundled(*sas, seq=41)
    result = encapsulate(table, ipv4(), handle)
    assert result.packet is not None and result.seq == 42
    assert decapsulate(reference_table(*sas), result.packet).packet == ipv4()
    with pytest.raises(ValueError, match="1 to 8"):
        table.bundle([*range(1, 9), table.add(replace(AH_SA, spi=0x999), "outbound")])


def test_a_bundle_protects_whole_or_not_at_all() -> None:
    last = 2**32 - 1
    cases = [
        (MALFORMED, 0, (INNER, AH_SA), ipv4(options=H("07000000"))),  # ESP carries it, AH does not
        (MALFORMED, 2, (INNER, AH_SA, TUNNEL_SA), b"\x45"),
        (FRAGMENT, 1, (INNER, TUNNEL_SA), ipv4(flags=0x2000)),
        (MALFORMED, 0, (INNER, replace(AH_SA, src="2001:db8::1", dst="2001:db8::2")), ipv4()),
        (NO_ROOM, 1, (INNER, AH_SA), ipv4(bytes(65500))),
        (NO_ROOM, 0, (INNER, AH_SA), ipv4(bytes(65535 - 20 - 36 - 16))),
    ]
    for status, failed_layer, sas, packet in cases:
        for seq in (0, last):  # out of numbers too: that comes last
            table, handle = bundled(*(replace(sa, spi=0x5000 + i) for i, sa in enumerate(sas)), seq=seq)
            result = encapsulate(table, packet, handle)
            assert result == Result(status, handle=handle, failed_layer=failed_layer)
            assert [table.statistics(h + 1).last_seq for h in range(len(sas))] == [seq] * len(sas)
            refusing = len(sas) - failed_layer
            assert [table.statistics(h + 1).statuses[status] for h in range(len(sas))] == [
                int(h + 1 == refusing) for h in range(len(sas))
            ]


def test_room_is_for_the_last_packet() -> None:
    table, handle = bundled(INNER, AH_SA)
    growth = len(encapsulate(table, ipv4(), handle).packet or b"") - len(ipv4())
    refused = encapsulate(table, ipv4(), handle, room=Room(0, growth - 1))
    assert refused == Result(NO_ROOM, handle=handle, failed_layer=0)
    assert [table.statistics(h).last_seq for h in (1, 2)] == [1, 1]
    assert encapsulate(table, ipv4(), handle, room=Room(growth - 7, 7)).seq == 2


@pytest.mark.parametrize("exhausted", [0, 1, 2])
def test_one_sa_without_numbers(exhausted: int) -> None:
    sas = (INNER, AH_SA, replace(TUNNEL_SA, spi=0x999))
    table = ReferenceTable()
    handles = [table.add(sa, "outbound", 2**32 - 1 if i == exhausted else 7) for i, sa in enumerate(sas)]
    result = encapsulate(table, ipv4(), table.bundle(handles))
    assert result == Result(PacketStatus.SEQ_EXHAUSTED, handle=4, failed_layer=2 - exhausted)
    assert [table.statistics(h).last_seq for h in handles] == [
        2**32 - 1 if h == handles[exhausted] else 7 for h in handles
    ]
    assert table.statistics(handles[exhausted]).statuses[PacketStatus.SEQ_EXHAUSTED] == 1


def test_handles_of_bundles() -> None:
    table, both = bundled(INNER, AH_SA)
    rx = table.add(AH_SA, "inbound")
    alone = table.bundle([1])
    assert (both, rx, alone, len(table)) == (3, 4, 5, 3)
    for error, call in (
        (ValueError, lambda: table.bundle([])),
        (ValueError, lambda: table.bundle([1, 1])),
        (ValueError, lambda: table.bundle([1, rx])),
        (ValueError, lambda: table.bundle([1], handle=both)),
        (KeyError, lambda: table.bundle([1, both])),
        (KeyError, lambda: table.bundle([99])),
        (TypeError, lambda: table.bundle(["1"])),  # type: ignore[list-item]
        (TypeError, lambda: table.bundle(1)),  # type: ignore[arg-type]
        (KeyError, lambda: table.statistics(both)),
        (KeyError, lambda: table.update(both, seq_hi=1)),
        (ValueError, lambda: encapsulate(table, ipv4(), both, bytes(8))),
    ):
        with pytest.raises(error):
            call()
    table.delete(1)  # and both bundles with it
    for handle in (both, alone):
        with pytest.raises(KeyError):
            encapsulate(table, ipv4(), handle)
        with pytest.raises(KeyError):
            table.delete(handle)
    alone = table.bundle([2])
    table.delete(alone)
    assert len(table) == 2 and encapsulate(table, ipv4(), 2).status is OK
