"""Defects of the card that a review found, each with its story."""

from __future__ import annotations

import gc

import pytest

from ipsecfast.ndis import (
    IPSEC_OFFLOAD_V2_ADD_SA,
    IPSEC_OFFLOAD_V2_ADD_SA_EX,
    Miniport,
    NblBatch,
    NdisStatus,
    Oid,
    OidRequest,
    Operation,
    Options,
    SaAlgorithm,
    SaProtocol,
    SaRequest,
    profile,
    write_list,
)

GCM_128 = 8


def request(address_len: int, spi: int = 0x1001) -> SaRequest:
    """An inbound ESP SA for any address of a family."""
    esp = SaProtocol(Operation.IPsecOffloadV2Esp, spi, SaAlgorithm(), SaAlgorithm(GCM_128, bytes(20), 16))
    return SaRequest(True, bytes(address_len), bytes(address_len), (esp,))


def card(**fields: object) -> Miniport:
    made = Miniport(profile("full"), **fields)  # type: ignore[arg-type]
    made.initialize()
    made.restart()
    return made


@pytest.mark.parametrize("how", ["immediate", "pending"])
def test_wildcards_of_both_families_under_one_spi_are_a_status(how: str) -> None:
    """The core knows one SA for any address; that was an exception out of the OID path, and a lost request."""
    miniport = card(options=Options(direct_oids=how))
    answers = []
    for n in (4, 16):
        octets = request(n).to_add_sa_ex().to_bytes()
        asked = OidRequest.set(miniport.memory, Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA_EX, octets)
        answer = miniport.direct_oid_request(asked, lambda _, status: answers.append(status))
        if how == "pending":
            miniport.poll()
        else:
            answers.append(answer)
    assert answers == [NdisStatus.NDIS_STATUS_SUCCESS, NdisStatus.NDIS_STATUS_INVALID_PARAMETER]
    assert not miniport.pending


def test_the_rest_of_a_list_is_tried_after_such_a_pair() -> None:
    miniport = card(ndis="6.20")
    nodes = [request(4).to_add_sa(), request(16).to_add_sa(), request(4, 0x2002).to_add_sa()]
    addresses = write_list(miniport.memory, nodes)
    asked = OidRequest(Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA, addresses[0], 1000)
    assert miniport.direct_oid_request(asked) == NdisStatus.NDIS_STATUS_SUCCESS
    handles = [miniport.memory.load(a, IPSEC_OFFLOAD_V2_ADD_SA.OffloadHandle) for a in addresses]
    assert [bool(h) for h in handles] == [True, False, True]


@pytest.mark.parametrize(
    ("ndis", "oid", "cls"),
    [
        ("6.20", Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA, IPSEC_OFFLOAD_V2_ADD_SA),
        ("6.30", Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA_EX, IPSEC_OFFLOAD_V2_ADD_SA_EX),
    ],
)
def test_nothing_is_written_beyond_the_buffer(ndis: str, oid: Oid, cls: type) -> None:
    miniport = card(ndis=ndis)
    before = b"\xa5" * 256
    address = miniport.memory.allocate(before)
    for length in range(cls.offset_of("OffloadHandle", miniport.memory.abi) + miniport.memory.abi.pointer_len):
        assert miniport.direct_oid_request(OidRequest(oid, address, length)) != NdisStatus.NDIS_STATUS_SUCCESS
        assert miniport.memory.read(address, 256) == before


def test_words_can_not_be_resized_under_the_card() -> None:
    batch = NblBatch.from_frames([bytes(60)] * 4)
    with pytest.raises(ValueError, match="cannot resize"):
        batch.oob.resize((5, 100000))


def test_the_collector_may_take_a_card_apart_in_any_order() -> None:
    """Its table asked the SAD, which was gone, how large it is."""
    for _ in range(3):
        miniport = card()
        table = miniport.datapath._table
        miniport.datapath.me = miniport.datapath  # type: ignore[attr-defined]
        circle: list[object] = [miniport.datapath, table]
        circle.append(circle)
        gc.collect()
        del miniport, table, circle
        gc.collect()
