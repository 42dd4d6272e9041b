"""A network card with IPsec Offload Version 2, from its registry keywords to the deletion of an SA.

    python examples/nic.py

Two computers, each with a card, talk through ESP.  Every step is what Windows would do, with the structures it would
use; what the host has to do for a packet is done by `ipsecfast.ndis.Host`.
"""

from __future__ import annotations

import struct

from ipsecfast import SecurityAssociation
from ipsecfast.ndis import (
    IPSEC_OFFLOAD_V2_ADD_SA_EX,
    IPSEC_OFFLOAD_V2_DELETE_SA,
    IPSEC_OFFLOAD_V2_UPDATE_SA,
    NDIS_OFFLOAD_ENCAPSULATION,
    Host,
    Memory,
    Miniport,
    NblBatch,
    NdisStatus,
    Oid,
    OidRequest,
    Operation,
    Registry,
    StatusIndication,
    profile,
    request_for,
    write_list,
)


def udp_packet(text: bytes, number: int) -> bytes:
    """An IPv4 packet with a UDP datagram from 192.0.2.1 to 192.0.2.2."""
    udp = struct.pack(">HHHH", 40000, 7, 8 + len(text), 0) + text
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number, 0, 64, 17, 0, b"\xc0\0\2\1", b"\xc0\0\2\2")
    total = sum(struct.unpack(">10H", header))
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return b"".join((header[:10], total.to_bytes(2, "big"), header[12:], udp))


def said(status: int) -> str:
    """The name of a status."""
    return NdisStatus(status).name


# 1. Keywords.  The adapter's registry key says "ESP only"; the card could do AH too.
registry = Registry({"*IPsecOffloadV2": "2"})
card = Miniport(profile("full"), registry, ndis="6.30")

# 2. Capabilities.  MiniportInitializeEx reads the keywords and reports what is on and what the hardware could do.
attributes = card.initialize()
card.restart()
default, hardware = card.configuration.default.IPsecV2, card.configuration.hardware.IPsecV2
print(f"1. offload attributes: {attributes.Header.Size} bytes")
print(f"2. hardware: AH {hardware.Ah}, ESP {hardware.Esp}; on now: AH {default.Ah}, ESP {default.Esp}")

# 3. Bind.  The protocol learns the configuration, and OID_OFFLOAD_ENCAPSULATION lets receive work begin.
told: list[StatusIndication] = []
binding = card.bind(status=told.append)
on = {"Enabled": 1, "EncapsulationType": 2, "HeaderSize": 14}
buffer = NDIS_OFFLOAD_ENCAPSULATION(IPv4=on, IPv6=on).to_bytes()
status = card.oid_request(OidRequest.set(card.memory, Oid.OID_OFFLOAD_ENCAPSULATION, buffer))
print(f"3. OID_OFFLOAD_ENCAPSULATION: {said(status)}, indicated: {told[-1].status.name}")

# 4. ADD_SA.  One bundle: outbound ESP with AES-GCM and extended sequence numbers, close to the first wrap.
sa = SecurityAssociation(
    spi=0x1001,
    mode="transport",
    src="192.0.2.1",
    dst="192.0.2.2",
    encryption="AES-GCM-128",
    enc_key=bytes(range(16)),
    salt=b"salt",
    esn=True,
)


def add_sa(to: Miniport, direction: str) -> int:
    """OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA_EX on the direct path; the handle that the card writes into it."""
    structure = request_for("outbound" if direction == "outbound" else "inbound", [sa]).to_add_sa_ex()
    request = OidRequest.set(to.memory, Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA_EX, structure.to_bytes())
    answer = to.direct_oid_request(request)
    handle = to.memory.load(request.address, IPSEC_OFFLOAD_V2_ADD_SA_EX.OffloadHandle)
    to.memory.free(request.address)  # which zeroes the keys
    print(f"4. ADD_SA_EX {direction}: {said(answer)}, handle {'given' if handle else 'NULL'}")
    return handle


handle = add_sa(card, "outbound")
peer = Miniport(profile("windows-certified"))  # without ESN: it must refuse
peer.initialize()
add_sa(peer, "inbound")
peer = Miniport(profile("mlx5"))
peer.initialize()
peer.restart()
peer_host = Host(peer)  # the host's half, ready made
peer_host.set_encapsulation()
inbound = peer_host.add("inbound", sa, seq=0xFFFFFFFE)


# 5. Send.  The host frames, pads and numbers; the word in slot 1 names the SA; the card fills in IV, ciphertext, ICV.
def frame(text: bytes, seq: int) -> bytes:
    """Ethernet, IPv4, ESP: with room for the IV (8 bytes) and the ICV (16)."""
    packet = udp_packet(text, seq & 0xFFFF)
    payload = packet[20:]
    pad = -(len(payload) + 2) % 4
    esp = struct.pack(">II8x", sa.spi, seq & 0xFFFFFFFF) + payload + bytes(range(1, pad + 1)) + bytes((pad, 17))
    esp += bytes(16)
    header = bytearray(packet[:20])
    header[2:4], header[9], header[10:12] = struct.pack(">H", 20 + len(esp)), 50, bytes(2)
    total = sum(struct.unpack(">10H", header))
    header[10:12] = (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
    return b"\2\0\0\0\0\2\2\0\0\0\0\1\x08\0" + bytes(header) + esp


def send(text: bytes, seq: int) -> list[bytes]:
    """One NET_BUFFER_LIST with one NET_BUFFER; the frames that were on the wire."""
    nbls = NblBatch.from_frames([frame(text, seq)])
    nbls.ipsec[:] = handle
    result = card.send(nbls)
    print(f"5. send, number 0x{seq:x}: {said(int(result.status[0]))}, frames on the wire: {len(result.transmitted)}")
    return result.transmitted.to_packets()


wire = send(b"before the wrap", 0xFFFFFFFF)
assert b"before the wrap" not in wire[0]

# 6. Receive.  The other card checks and decrypts in place; its host checks replay and takes the headers off.
for received in peer_host.receive([wire[0], wire[0]]):
    words = f"CryptoDone {received.word >> 1 & 1}, CryptoStatus {received.word >> 16}"
    text = received.packet[28:] if received.status.name == "OK" else b"dropped"
    print(f"6. receive: {words}, the host says {received.status.name}: {text.decode()}")

# 7. UPDATE_SA.  The low half wraps: the card is told the new high half, for it goes into nonce and ICV.
update = IPSEC_OFFLOAD_V2_UPDATE_SA(
    OffloadHandle=handle, Operation=Operation.IPsecOffloadV2Esp, Spi=sa.spi, SequenceNumberHighOrder=1
)
status = card.direct_oid_request(
    OidRequest.set(card.memory, Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_UPDATE_SA, update.to_bytes())
)
print(f"7. UPDATE_SA: {said(status)}")
(received,) = peer_host.receive(send(b"after the wrap", 0x1_0000_0001))
print(f"   the peer: {received.status.name}, and has sent its own UPDATE_SA: high half {inbound.seq_hi[0]}")


# 8. DELETE_SA.  The keys are wiped; a send that still names the handle fails, and nothing leaves in the clear.
def delete(memory: Memory) -> int:
    """A list of one."""
    (node,) = write_list(memory, [IPSEC_OFFLOAD_V2_DELETE_SA(OffloadHandle=handle)])
    return card.direct_oid_request(OidRequest(Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_DELETE_SA, node, 24))


print(f"8. DELETE_SA: {said(delete(card.memory))}, bundles left: {len(card.datapath)}")
assert send(b"too late", 0x1_0000_0002) == []
card.unbind(binding)
peer_host.close()
for one in (card, peer):
    one.pause()
    one.halt()
