"""Run by test_nic_rx.py: the card's receives and sends of frames whose neighbours are pages without access.

A touch ends the process; the last line printed tells which kind of frame it was.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import replace

from guard_page import Fenced
from helpers import H, ipv4, ipv6, udp
from nic_cards import AH_SA, CBC, GCM, INNER, TUNNEL
from nic_host import AH, ESP, IPIP, UDP, ah_sealed, frame, in_udp, ip, room, sealed, tcp_segment

from ipsecfast.ndis import Checksum, Datapath, DatapathCapabilities, NblBatch

ON = {"checksum_receive_ipv4": Checksum(), "checksum_receive_ipv6": Checksum()}


def samples() -> Iterator[tuple[str, bytes]]:
    for version in (4, 6):
        ends = {"src": "2001:db8::1", "dst": "2001:db8::2"} if version == 6 else {}
        ipip = IPIP if version == 4 else 41
        gcm, tunnel, ah, inner = (replace(sa, **ends) for sa in (GCM, TUNNEL, AH_SA, INNER))
        for proto, data in ((6, tcp_segment(version, b"data")), (17, udp(b"data", dport=9)), (253, b"any")):
            packet = ip(version, data, proto)
            transport = ip(version, sealed(inner, data, proto), ESP)
            yield f"{version} plain {proto}", packet
            yield f"{version} transport {proto}", ip(version, sealed(gcm, data, proto), ESP)
            yield f"{version} tunnel {proto}", ip(version, sealed(tunnel, packet, ipip), ESP)
            yield f"{version} over tunnel {proto}", ip(version, sealed(tunnel, transport, ipip), ESP)
            yield f"{version} ah {proto}", ah_sealed(ah, data, proto, version=version)
            yield f"{version} udp {proto}", ip(version, in_udp(sealed(gcm, data, proto)), UDP)
            yield f"{version} to send {proto}", ip(version, room(gcm, data, proto), ESP)
    yield "options", ipv4(tcp_segment(4, b"data"), proto=6, options=H("01010101"))
    yield "extensions", ipv6(H("0600010400000000") + tcp_segment(6, b"data"), proto=60)
    yield "ah in front of nothing", ip(4, b"", AH)


def cards() -> list[Datapath]:
    made = []
    for caps in ({}, ON, {**ON, "transport": False}, {**ON, "tunnel": False}, {"ah": False, "esp": True}):
        nic = Datapath(capabilities=DatapathCapabilities(**caps), capacity=16)
        for ends in ({}, {"src": "2001:db8::1", "dst": "2001:db8::2"}):
            for sa in (GCM, TUNNEL, AH_SA, INNER):
                nic.add_bundle("inbound", [replace(sa, **ends)], udp_esp=3 if sa is GCM and made else 0)
        made.append(nic)
    return made


def main() -> None:
    fenced, calls, receivers = Fenced(), 0, cards()
    sender = Datapath(capacity=4)
    handles = [sender.add_bundle("outbound", [sa]) for sa in (GCM, CBC)]
    for name, packet in samples():
        print(name, flush=True)
        whole = frame(packet)
        for n, at_end in itertools.product(range(len(whole) + 1), (True, False)):
            for nic in receivers:
                nic.receive(NblBatch(fenced.batch(whole[:n], 0, at_end=at_end, push=False)))
                nic.receive(NblBatch(fenced.batch(whole[14 : 14 + n], 0, at_end=at_end, push=False), medium="null"))
            for handle, large in itertools.product((0, *handles), (0, 2 | 1 << 30, 3)):
                batch = NblBatch(fenced.batch(whole[:n], 0, at_end=at_end, push=False))
                batch.ipsec[:], batch.large_send[:], batch.header[:], batch.checksum[:] = handle, large, 6, 31
                sender.send(batch)
            calls += 2 * len(receivers) + 9
    print(calls, "calls")


if __name__ == "__main__":
    sys.exit(main())
