"""The miniport's states, bindings and configuration: lines of section 12 of the contract, and options of section 5."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from helpers import keyed
from nic_host import esp4, frame, ip, room, sealed, tcp_segment
from nic_large import MSS, STREAM, V2, V6, large, tcp_offset
from nic_model import datagram
from nic_oids import (
    ABORTED,
    AH,
    CBC_SA,
    DELETE,
    DONE,
    ESN,
    EX,
    FAILURE,
    GCM,
    GCM6,
    HANDLE_EX,
    INVALID_DATA,
    INVALID_PARAMETER,
    NOT_ACCEPTED,
    NOT_SUPPORTED,
    PENDING,
    SUCCESS,
    add,
    add_ex,
    card,
    delete,
    encapsulation,
    parameters,
    send,
    small,
    update,
    wanted,
    words,
)

from ipsecfast.ndis import (
    IPSEC_OFFLOAD_V2_DELETE_SA,
    NDIS_OFFLOAD,
    AdapterState,
    Checksum,
    Lso,
    Miniport,
    NblBatch,
    NdisStatus,
    OidRequest,
    Options,
    Registry,
    RegistryError,
    StatusIndication,
    profile,
    write_list,
)

# ---------------------------------------------------------------- states


def test_sas_survive_reset_and_standby() -> None:
    made = card()
    inbound, outbound = add(made, GCM), add(made, GCM, inbound=False)
    made.reset()
    assert words(made, esp4(GCM)) == [DONE] and send(made, outbound, 1) == SUCCESS
    resume = made.standby()
    assert made.state is AdapterState.STANDBY and words(made, esp4(GCM)) is None
    assert send(made, outbound, 2) == NdisStatus.NDIS_STATUS_LOW_POWER_STATE and delete(made, inbound) == NOT_ACCEPTED
    resume()
    assert words(made, esp4(GCM)) == [DONE] and send(made, outbound, 2) == SUCCESS


def test_requests_during_a_reset() -> None:
    made = card()
    handle = add(made, GCM)
    end = made.begin_reset()
    assert delete(made, handle) == NOT_ACCEPTED and add_ex(made, wanted(AH))[0] == ABORTED
    assert update(made, handle) == encapsulation(made) == ABORTED
    assert send(made, handle) == NdisStatus.NDIS_STATUS_RESET_IN_PROGRESS
    end()
    assert delete(made, handle) == SUCCESS and made.state is AdapterState.RUNNING


@pytest.mark.parametrize("ndis", ["6.20", "6.30"])
def test_pending_requests_are_aborted_by_a_reset(ndis: str) -> None:
    """From NDIS 6.30 on before the reset completes."""
    made = card(ndis, options=Options(direct_oids="pending"))
    log: list[int] = []
    made.bind(lambda indication: log.append(indication.status))
    nodes = write_list(made.memory, [IPSEC_OFFLOAD_V2_DELETE_SA(OffloadHandle=1)])
    assert made.direct_oid_request(OidRequest(DELETE, nodes[0], 24), lambda _, status: log.append(status)) == PENDING
    made.reset()
    start, end = NdisStatus.NDIS_STATUS_RESET_START, NdisStatus.NDIS_STATUS_RESET_END
    assert log == ([start, ABORTED, end] if ndis == "6.30" else [start, end, ABORTED])


def test_halt_clears() -> None:
    made = card()
    handle = add(made, GCM)
    made.pause()
    made.halt()
    assert not len(made.datapath) and made.state is AdapterState.HALTED
    assert add_ex(made, wanted(GCM))[0] == NOT_ACCEPTED == encapsulation(made) and send(made, handle) == FAILURE
    made.initialize()
    made.restart()
    assert encapsulation(made) == SUCCESS and words(made, esp4(GCM)) == [0]


def test_surprise_removal() -> None:
    made = card(options=Options(direct_oids="pending"))
    done: list[int] = []
    asked = OidRequest.set(made.memory, EX, wanted(GCM).to_add_sa_ex().to_bytes())
    assert made.direct_oid_request(asked, lambda _, status: done.append(status)) == PENDING
    made.surprise_removal()
    assert done == [ABORTED] and words(made, esp4(GCM)) is None
    assert add_ex(made, wanted(GCM))[0] == NOT_ACCEPTED and made.direct_oid_request(OidRequest(0x999)) == NOT_ACCEPTED
    made.halt()


def test_pause_refuses_sends_and_keeps_sas() -> None:
    made = card()
    inbound, outbound = add(made, GCM), add(made, GCM, inbound=False)
    made.pause()
    assert send(made, outbound) == NdisStatus.NDIS_STATUS_PAUSED and words(made, esp4(GCM)) is None
    assert add(made, AH) and delete(made, inbound) == SUCCESS
    made.restart()
    assert send(made, outbound) == SUCCESS and words(made, esp4(GCM)) == [0]


def test_option_pause_refuses_direct_oids() -> None:
    made = card(options=Options(pause_refuses_direct_oids=True))
    made.pause()
    assert add_ex(made, wanted(GCM))[0] == NOT_ACCEPTED
    made.restart()
    assert add(made, GCM)


def test_initialize_that_fails_leaves_the_adapter_halted() -> None:
    registry = Registry()
    made = Miniport(profile("full"), registry, options=Options(out_of_range_keyword="refuse"))
    registry.write("*IPsecOffloadV2", 9, "test")
    with pytest.raises(RegistryError):
        made.initialize()
    assert made.state is AdapterState.HALTED
    registry.write("*IPsecOffloadV2", 3, "test")
    made.initialize()
    add(made, GCM)
    with pytest.raises(RuntimeError, match="initialize"):
        made.initialize()
    assert len(made.datapath) == 1 and made.state is AdapterState.PAUSED


def test_wrong_order_of_states_is_a_clear_error() -> None:
    made = Miniport(profile("full"))
    for call in (made.restart, made.pause, made.reset, made.standby, made.surprise_removal, made.halt, made.bind):
        with pytest.raises(RuntimeError, match="the adapter is halted"):
            call()
    made.initialize()
    with pytest.raises(RuntimeError, match="initialize: the adapter is paused, wanted halted"):
        made.initialize()


# ---------------------------------------------------------------- PENDING, cancel, threads


def test_option_direct_oids() -> None:
    made = card(options=Options(direct_oids="pending"))
    done: list[tuple[int, int]] = []
    asked = OidRequest.set(made.memory, EX, wanted(GCM).to_add_sa_ex().to_bytes(), request_id=1)
    status = made.direct_oid_request(asked, lambda request, status: done.append((request.request_id, status)))
    assert status == PENDING == asked.status and not done and made.pending == 1 and not len(made.datapath)
    assert made.poll() == 1 and done == [(1, SUCCESS)] and asked.status == SUCCESS
    assert made.memory.load(asked.address, HANDLE_EX) and made.poll() == 0


def test_cancel_completes_with_request_aborted() -> None:
    made = card(options=Options(direct_oids="pending"))
    done: list[tuple[int, int]] = []
    for n, sa in enumerate((GCM, AH, ESN)):
        asked = OidRequest.set(made.memory, EX, wanted(sa).to_add_sa_ex().to_bytes(), request_id=n % 2)
        made.direct_oid_request(asked, lambda request, status: done.append((request.request_id, status)))
    assert made.cancel_direct_oid_request(9) == 0 and made.cancel_direct_oid_request(0) == 2
    assert done == [(0, ABORTED)] * 2 and made.poll() == 1 and done[-1] == (1, SUCCESS) and len(made.datapath) == 1


def test_concurrent_add_delete_and_traffic() -> None:
    made = card("6.30", small(64))
    steady, out = keyed("AES-GCM-128", spi=0x5000), keyed("AES-GCM-128", spi=0x6000)
    add(made, steady)
    outbound = add(made, out, inbound=False)
    wrong: list[Any] = []
    stop = threading.Event()

    def churn(first: int) -> None:
        for n in range(150):
            handle = add(made, keyed("AES-GCM-128", spi=first + n))
            if delete(made, handle) != SUCCESS:
                wrong.append(handle)

    def traffic() -> None:
        seq = 0
        while not stop.is_set():
            seq += 1
            if words(made, esp4(steady, seq=seq)) != [DONE] or send(made, outbound, seq, out) != SUCCESS:
                wrong.append(seq)

    threads = [threading.Thread(target=churn, args=(0x10000 * (i + 1),)) for i in range(3)]
    pump = threading.Thread(target=traffic)
    for thread in (pump, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    pump.join()
    assert len(made.datapath) == 2 and not wrong


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize("value", range(4))
@pytest.mark.parametrize("name", ["full", "ipv4-only"])
def test_keywords_decide_what_is_offloaded_and_received(value: int, name: str) -> None:
    keyword = "*IPsecOffloadV2" if name == "full" else "*IPsecOffloadV2IPv4"
    made = card("6.30", profile(name), registry=Registry({keyword: value}))
    assert add_ex(made, wanted(GCM))[0] == (SUCCESS if value & 2 else NOT_SUPPORTED)
    assert add_ex(made, wanted(AH))[0] == (SUCCESS if value & 1 else NOT_SUPPORTED)
    assert words(made, esp4(GCM)) == [DONE if value & 2 else 0]


def test_encapsulation_is_required_before_receive_work_and_set_off_stops_it() -> None:
    made = card(on=False)
    add(made, GCM)
    outbound = add(made, GCM, inbound=False)
    assert words(made, esp4(GCM)) == [0] and send(made, outbound) == SUCCESS
    assert encapsulation(made, ipv4=0, ipv6=1) == SUCCESS and words(made, esp4(GCM)) == [0]
    assert encapsulation(made, ipv4=1, ipv6=0) == SUCCESS and words(made, esp4(GCM)) == [DONE]
    assert encapsulation(made, kind=4) == INVALID_PARAMETER and words(made, esp4(GCM)) == [DONE]
    assert encapsulation(made, ipv4=2, ipv6=2) == SUCCESS and words(made, esp4(GCM)) == [0]
    assert send(made, outbound, 2) == FAILURE  # never in the clear


def test_parameters_write_the_keyword_and_are_indicated_when_they_hold() -> None:
    registry = Registry()
    made = card(registry=registry)
    inbound, seen = add(made, GCM), []

    def told(indication: StatusIndication) -> None:
        seen.append((indication.status, words(made, esp4(GCM))))  # the datapath knows already

    made.bind(told)
    assert parameters(made, IPsecV2=2) == SUCCESS
    value = registry.get("*IPsecOffloadV2")
    assert value is not None and value.data == "1"
    assert seen == [(NdisStatus.NDIS_STATUS_TASK_OFFLOAD_CURRENT_CONFIG, [0])]
    assert parameters(made, IPsecV2=0) == SUCCESS and parameters(made, IPsecV2=9) == INVALID_DATA
    assert parameters(made, IPsecV2=4) == SUCCESS and words(made, esp4(GCM)) == [DONE] and inbound


@pytest.mark.parametrize("form", ["slot 1", "slot 11", "both slots", "large send"])
@pytest.mark.parametrize("how", ["keyword", "parameters", "set-off IPv4", "set-off IPv6", "set-off both"])
def test_disabled_offload_never_leaks_plaintext(how: str, form: str) -> None:
    made = card(registry=Registry({"*IPsecOffloadV2": 0} if how == "keyword" else {}))
    tunnel_ends = {4: replace(GCM, spi=0x7777), 6: replace(GCM6, spi=0x7777)}
    ends = {4: GCM, 6: GCM6}
    handles = dict.fromkeys((4, 6), (1, 2))
    if how != "keyword":
        handles = {v: (add(made, ends[v], inbound=False), add(made, tunnel_ends[v], inbound=False)) for v in ends}

    def sent(version: int, seq: int) -> bool:
        inner, outer = handles[version]
        sa = ends[version]
        if form == "large send":
            one = large(version, sa, STREAM[:5000], seq=seq)
        elif form == "both slots":
            packet = ip(version, room(sa, b"data", 253, seq), 50)
            one = frame(ip(version, room(tunnel_ends[version], packet, 4 if version == 4 else 41, seq), 50))
        else:
            one = frame(ip(version, room(tunnel_ends[version] if form == "slot 11" else sa, b"data", 253, seq), 50))
        batch = NblBatch.from_frames([one])
        batch.ipsec[:] = 0 if form == "slot 11" else inner
        batch.tunnel[:] = outer if form in ("slot 11", "both slots") else 0
        if form == "large send":
            batch.large_send[:] = MSS | tcp_offset(version, sa) << 20 | V2 | (V6 if version == 6 else 0)
            batch.header[:] = 6
        result = made.send(batch)
        good = result.status.tolist() == [SUCCESS]
        assert good or result.status.tolist() == [FAILURE]
        assert (len(result.transmitted) > 0) == good
        return good

    if how == "keyword":
        assert not sent(4, 1) and not sent(6, 1)
        return
    assert sent(4, 1) and sent(6, 1)
    off = {4: how != "set-off IPv6", 6: how != "set-off IPv4"}
    if how == "parameters":
        assert parameters(made, IPsecV2=1) == SUCCESS
    else:
        assert encapsulation(made, ipv4=2 if off[4] else 0, ipv6=2 if off[6] else 0) == SUCCESS
    assert {v: not sent(v, 100) for v in (4, 6)} == off
    assert (parameters(made, IPsecV2=4) if how == "parameters" else encapsulation(made)) == SUCCESS
    assert sent(4, 200) and sent(6, 200)


def test_a_change_of_hardware_stops_the_sas_that_need_what_is_gone() -> None:
    made = card(hardware=small(64))
    sas = {"cbc": CBC_SA, "esn": replace(ESN, spi=0xE5), "gcm": GCM}
    numbers = count(1)
    out = {name: add(made, sa, inbound=False) for name, sa in sas.items()}
    for sa in sas.values():
        add(made, sa)
    for fields, lost in (({"esn": False}, {"esn"}), ({"encryption": 8 | 1}, {"cbc"}), ({"authentication": 8}, {"cbc"})):
        made.change_hardware(small(64, **fields))
        for name, sa in sas.items():
            assert words(made, esp4(sa)) == [0 if name in lost else DONE]
            assert send(made, out[name], next(numbers), sa) == (FAILURE if name in lost else SUCCESS)
        made.change_hardware(small(64))
        assert [words(made, esp4(sa)) for sa in sas.values()] == [[DONE]] * 3


def test_each_large_send_has_the_limits_that_are_reported() -> None:
    limits = {
        "lso_v1": Lso(max_size=3000, min_segments=3, extensions=False, tcp_options=True),
        "lso_v2_ipv4": Lso(max_size=5000, encapsulation=0x6),
        "lso_v2_ipv6": Lso(max_size=4000, extensions=True, tcp_options=False),
    }
    made = card(hardware=replace(profile("full"), **limits), on=False)
    for name, lso in limits.items():
        on = getattr(made.datapath.capabilities, name)
        assert replace(on, encapsulation=None) == replace(lso, encapsulation=None)
        assert on.encapsulation == lso.encapsulation or (lso.encapsulation is None and on.encapsulation == 0x1E)
    sizes = {"lso_v1": (4, 0, 3000), "lso_v2_ipv4": (4, V2, 5000), "lso_v2_ipv6": (6, V2 | V6, 4000)}

    def sent(name: str, over: int) -> bool:
        version, bits, size = sizes[name]
        one = large(version, None, STREAM[: size + over])
        if not bits:
            one = one[:16] + (len(one) - 14).to_bytes(2, "big") + one[18:]
        batch = NblBatch.from_frames([one])
        batch.large_send[:] = MSS | tcp_offset(version) << 20 | bits
        return bool(made.send(batch).ok)

    assert all(sent(name, 0) and not sent(name, 1) for name in sizes)
    # one that is switched off, by OID or by its family's encapsulation, changes nothing for the others
    assert parameters(made, LsoV2IPv4=1) == SUCCESS and [sent(name, 0) for name in sizes] == [True, False, True]
    assert encapsulation(made, ipv4=0, ipv6=2) == SUCCESS and [sent(name, 0) for name in sizes] == [True, False, False]
    assert parameters(made, LsoV2IPv4=2) == SUCCESS and sent("lso_v2_ipv4", 0) and not sent("lso_v2_ipv4", 1)


def test_protocol_off_by_keyword_is_untouched_whoever_has_its_spi() -> None:
    made = card(registry=Registry({"*IPsecOffloadV2": 1}))
    add(made, replace(AH, spi=GCM.spi))
    assert words(made, esp4(GCM)) == [0]
    assert parameters(made, IPsecV2=4) == SUCCESS and words(made, esp4(GCM)) == [DONE | 7 << 16]


def test_receive_checksums_follow_keywords_and_encapsulation() -> None:
    registry = Registry({"*UDPChecksumOffloadIPv4": 1, "*TCPChecksumOffloadIPv6": 0})
    made = card(registry=registry, on=False)
    add(made, GCM)
    tcp4, tcp6 = (frame(ip(v, tcp_segment(v, b"data"), 6)) for v in (4, 6))  # their sums are not finished
    secured = frame(ip(4, sealed(GCM, tcp_segment(4, b"data"), 6), 50))
    udp4, udp6 = (frame(ip(v, datagram(v, 9), 17)) for v in (4, 6))

    def sums() -> list[int]:
        batch = NblBatch.from_frames([tcp4, tcp6, udp4, udp6, secured])
        assert made.receive(batch) is not None
        return [int(word) for word in batch.checksum]

    good, ip_good, tcp_bad, udp_good = [0] * 5, 0x20, 0x01, 0x10
    assert sums() == good  # until OID_OFFLOAD_ENCAPSULATION
    assert encapsulation(made, ipv4=1, ipv6=0) == SUCCESS
    assert sums() == [ip_good | tcp_bad, 0, ip_good, 0, ip_good | tcp_bad]
    assert encapsulation(made, ipv4=0, ipv6=1) == SUCCESS
    assert sums() == [ip_good | tcp_bad, 0, ip_good, udp_good, ip_good | tcp_bad]
    assert parameters(made, TCPIPv4Checksum=3) == SUCCESS  # 2: receive
    assert sums()[0] == ip_good | tcp_bad and sums()[4] == ip_good  # no transmit checksum, no coexistence flag
    assert parameters(made, IPv4Checksum=1) == SUCCESS and sums()[0] == tcp_bad
    assert encapsulation(made, ipv4=2, ipv6=2) == SUCCESS and sums() == good


def test_transmit_checksums_follow_keywords_and_encapsulation() -> None:
    limits = {
        "ipv4_transmit": Checksum(encapsulation=0x6),
        "ipv6_transmit": Checksum(tcp_options=False, extensions=False),
    }
    made = card(
        hardware=replace(profile("full"), **limits), registry=Registry({"*TCPChecksumOffloadIPv6": 2}), on=False
    )
    on4, on6 = (getattr(made.datapath.capabilities, f"checksum_send_ipv{v}") for v in (4, 6))
    assert on4 == Checksum(encapsulation=0x6)
    assert on6 == Checksum(False, False, True, False, False, encapsulation=0x1E)  # *TCPChecksumOffloadIPv6: receive
    plain = ip(4, tcp_segment(4, b"data", seed_len=True), 6)
    ethernet = frame(plain)
    snap = ethernet[:12] + (len(plain) + 8).to_bytes(2, "big") + b"\xaa\xaa\3\0\0\0\x08\0" + plain

    def done(one: bytes) -> bool:
        batch = NblBatch.from_frames([one])
        batch.checksum[:] = 1 | 4  # IPv4, TCP
        assert made.send(batch).ok == 1
        return batch.frames.to_packets() != [one]

    assert done(ethernet) and not done(snap)  # before any OID_OFFLOAD_ENCAPSULATION
    assert parameters(made, TCPIPv4Checksum=3) == SUCCESS and not done(ethernet)  # 3: receive
    assert parameters(made, TCPIPv4Checksum=4) == SUCCESS and done(ethernet)
    assert encapsulation(made, ipv4=1, ipv6=2, kind=0x10) == SUCCESS and not done(ethernet) and not done(snap)
    assert encapsulation(made, ipv4=1, ipv6=1) == SUCCESS and done(ethernet) and not done(snap)
    assert encapsulation(made, ipv4=2, ipv6=0) == SUCCESS and not done(ethernet)


@pytest.mark.parametrize("version", [4, 6])
def test_received_segments_of_a_stream_are_never_merged(version: int) -> None:
    """Segments that receive segment coalescing would join, with IPsec and without."""
    made, indicated = card(), []
    sa = GCM if version == 4 else GCM6
    add(made, sa)
    made.bind(receive=lambda batch: indicated.append(batch))
    segments = [tcp_segment(version, bytes(1000), seq=1000 * n) for n in range(20)]
    secured = [frame(ip(version, sealed(sa, s, 6, n + 1), 50)) for n, s in enumerate(segments)]
    plain = [frame(ip(version, s, 6)) for s in segments]
    for frames, word in ((secured, DONE), (plain, 0)):
        assert words(made, *frames) == [word] * 20
        (batch,) = indicated
        assert len(batch) == len(batch.frames) == 20
        assert [len(f) for f in batch.frames.to_packets()] == [len(f) for f in frames]
        indicated.clear()


def test_option_config_change() -> None:
    for option, left in (("keep", 2), ("delete", 1)):
        made = card(options=Options(config_change=option))  # type: ignore[arg-type]
        add(made, GCM)
        outbound = add(made, AH, inbound=False)
        assert parameters(made, IPsecV2=2) == SUCCESS
        assert len(made.datapath) == left and words(made, esp4(GCM)) == [0] and outbound
        assert parameters(made, IPsecV2=4) == SUCCESS
        assert words(made, esp4(GCM)) == [DONE if option == "keep" else 0]


def test_hardware_change_is_indicated_twice() -> None:
    made = card()
    seen: list[int] = []
    made.bind(lambda indication: seen.append(indication.status))
    made.change_hardware(profile("ixgbe"))
    assert seen == [
        NdisStatus.NDIS_STATUS_TASK_OFFLOAD_HARDWARE_CAPABILITIES,
        NdisStatus.NDIS_STATUS_TASK_OFFLOAD_CURRENT_CONFIG,
    ]
    assert add_ex(made, wanted(ESN))[0] == NOT_SUPPORTED


def test_bind_tells_the_configuration_and_unbind_ends_it() -> None:
    made = card()
    batches: list[NblBatch] = []
    binding = made.bind(receive=batches.append, MtuSize=1500)
    offload = NDIS_OFFLOAD.from_bytes(made.memory.read(binding.parameters.DefaultOffloadConfiguration))
    assert binding.parameters.MtuSize == 1500 and offload.IPsecV2.Esp
    assert words(made, esp4(GCM)) == [0] and len(batches) == 1
    made.unbind(binding)
    assert words(made, esp4(GCM)) == [0] and len(batches) == 1
    with pytest.raises(ValueError, match="not bound"):
        made.unbind(binding)


def test_keys_are_not_in_errors_or_reprs() -> None:
    key = np.frombuffer(GCM.enc_key, np.uint8).tobytes()
    text = repr(wanted(GCM)) + repr(OidRequest(EX)) + repr(Options(salt=b"salt"))
    assert key.hex() not in text and "salt" not in text
