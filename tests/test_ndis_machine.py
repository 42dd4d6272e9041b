"""The card fuzzed as a whole: registry, OIDs (also damaged ones), encapsulation, reset, pause, halt, standby, sends,
receives, SA pressure, pending requests, against a small model of the contract.

``ci/fuzz-ndis`` makes it long.
"""

from __future__ import annotations

import by_hand
import numpy as np
from helpers import ipv4, ipv6
from hypothesis import strategies as st
from hypothesis.stateful import rule
from nic_card_machine import CardMachine
from nic_host import AH as AH_PROTO
from nic_host import ESP, IPIP, UDP, ah_room, ah_sealed, frame, padded, room
from nic_model import (
    MAX_LARGE,
    MSS,
    NAMES,
    RUNNING,
    SAS,
    SELDOM,
    SEND_REFUSED,
    datagram,
    large_packet,
    received_packet,
    run_settings,
    version_of,
)
from nic_oids import (
    FAILURE,
    SUCCESS,
)

from ipsecfast.ndis import (
    NblBatch,
)
from ipsecfast.testing.strategies import ndis as gen


class Card(CardMachine):
    """Packets, from above and from the wire."""

    @rule(
        name=NAMES,
        lo=st.integers(1, 99),
        damage=st.sampled_from(("", "", "icv", "spi", "dst", "sum")),
        tunnelled=st.booleans(),
    )
    def receive(self, name: str, lo: int, damage: str, tunnelled: bool) -> None:
        name = self.live(name, "inbound", lo)
        sa = SAS[name]
        bundle = self.bundle(name, "inbound")
        seq = lo | (bundle.hi << 32 if bundle and sa.esn else 0)
        data, inside = datagram(4 if tunnelled else version_of(sa), seq % 40, damage == "sum"), UDP
        if tunnelled:
            data, inside = ipv4(data, proto=UDP), IPIP
        packet = bytearray(received_packet(sa, seq, data, inside))
        if damage == "icv":
            packet[-1 if sa.protocol == "esp" else 32] ^= 1
        elif damage == "spi":
            sa_at = packet.index(sa.spi.to_bytes(4, "big") + lo.to_bytes(4, "big"))
            packet[sa_at] ^= 0x40
        elif damage == "dst":
            packet[39 if sa.spi == 0x104 else 19] ^= 0x40
        before = frame(bytes(packet))
        batch = NblBatch.from_frames([before])
        batch.oob[:] = 0x1234567812345678
        result = self.card.receive(batch)
        if self.state != RUNNING:
            assert result is None
            return
        assert result is not None
        word = int(result.word[0])
        checked = bundle and self.enabled(sa) and self.family(sa) == 1 and damage not in ("spi", "dst")
        if sa.protocol == "ah" or damage != "icv":  # else nobody can tell its mode
            checked = checked and (self.transport or tunnelled)
        assert batch.checksum[0] == self.sums(sa, bool(checked) and damage != "icv", damage, tunnelled)
        if not checked or not bundle:
            assert word == 0 and not batch.oob[1:].any() and batch.frames.to_packets() == [before]
            return
        code = 2 if sa.protocol == "ah" else 3
        if not self.transport or (tunnelled and sa.protocol == "ah"):
            code += 2  # what failed counts as a tunnel's
        failed = code << 16 if damage == "icv" else 0
        assert word == 2 | failed | bundle.asked
        (after,) = batch.frames.to_packets()
        if failed or sa.protocol == "ah":
            assert after == before and batch.header[0] == 0
        else:
            text = padded(sa, data, inside)
            assert sa.icv_len and after[: -sa.icv_len].endswith(text)
            assert batch.header[0] == inside | text[-2] << 8 | 1 << 16

    @rule(name=NAMES, index=st.integers(0, 9), again=st.integers(0, 4), any_handle=SELDOM)
    def send(self, name: str, index: int, again: int, any_handle: bool) -> None:
        name = self.live(name, "outbound", index)
        bundle = self.bundle(name, "outbound")
        handle = next(iter(bundle.handles)) if bundle else 0
        if any_handle or not bundle:
            known = [*sorted(self.handles), *self.dead, 0x5555]
            handle = known[index % len(known)]
        bundle = self.handles.get(handle)
        sa = SAS[name]
        if again or not self.numbers[name]:
            self.numbers[name] += 1
        hi = bundle.hi if bundle and sa.esn else 0
        seq = self.numbers[name] | hi << 32
        data = bytes(range(seq % 50))
        if sa.protocol == "ah":
            before = ipv4(ah_room(sa, data, 253, seq), proto=AH_PROTO)
        else:
            before = (ipv6 if sa.spi == 0x104 else ipv4)(room(sa, data, 253, seq), proto=ESP)
        batch = NblBatch.from_frames([frame(before)])
        batch.ipsec[:] = handle
        result = self.card.send(batch)
        if self.state != RUNNING:
            assert result.status.tolist() == [SEND_REFUSED[self.state]] and not len(result.transmitted)
            return
        right = bundle is not None and (bundle.name, bundle.way) == (name, "outbound")
        off = not self.enabled(sa) or self.family(sa) == 2 or not self.transport
        if not right or not bundle or bundle.refuses(seq) or off:
            assert result.status.tolist() == [FAILURE] and not len(result.transmitted)
            return
        assert result.status.tolist() == [SUCCESS]
        bundle.sent.add(seq)
        (after,) = result.transmitted.to_packets()
        if sa.protocol == "ah":
            assert after == frame(ah_sealed(sa, data, 253, seq))
        else:
            start = 14 + (40 if sa.spi == 0x104 else 20)
            assert by_hand.payload_of(sa, after[start:], hi) == padded(sa, data, 253)

    @rule(name=st.sampled_from(("esn", "gcm", "cbc")), size=st.sampled_from((1, 1400, MAX_LARGE, MAX_LARGE + 1)))
    def send_large(self, name: str, size: int) -> None:
        """Segments have the numbers from the next one on, or none is used; the limit is that of this kind."""
        bundle, sa = self.bundle(name, "outbound"), SAS[name]
        first = self.numbers[name] + 1 | (bundle.hi << 32 if bundle else 0)
        one, word = large_packet(sa, first, size)
        batch = NblBatch.from_frames([one])
        batch.ipsec[:] = next(iter(bundle.handles)) if bundle else 0x5555
        batch.large_send[:], batch.header[:] = word, 6
        result = self.card.send(batch)
        assert batch.frames.to_packets() == [one]
        if self.state != RUNNING:
            assert result.status.tolist() == [SEND_REFUSED[self.state]]
            return
        numbers = range(first, first + -(-size // MSS))
        on = self.settings["LsoV2IPv4"] and self.v4 != 2 and self.transport and self.enabled(sa)
        if not bundle or not on or size > MAX_LARGE or any(map(bundle.refuses, numbers)):
            assert result.status.tolist() == [FAILURE] and not len(result.transmitted)
            return
        assert result.status.tolist() == [SUCCESS] and len(result.transmitted) == len(numbers)
        self.numbers[name] += len(numbers)
        stream = b""
        for seq, packet in zip(numbers, result.transmitted.to_packets(), strict=True):
            bundle.sent.add(seq)
            text = by_hand.payload_of(sa, packet[34:], bundle.hi)
            assert packet[38:42] == (seq & 0xFFFFFFFF).to_bytes(4, "big")
            stream += text[20 : -2 - text[-2]]
        assert stream == bytes(i & 0xFF for i in range(size))

    @rule(words=st.lists(gen.oob_words(), min_size=1, max_size=4), octets=st.binary(max_size=90), mac=st.booleans())
    def send_junk(self, words: list[tuple[int, ...]], octets: bytes, mac: bool) -> None:
        """Any words with any bytes; nothing that names an SA leaves as it is."""
        one = frame(ipv4(octets, proto=ESP)) if mac else octets
        batch = NblBatch.from_frames([one] * len(words))
        batch.oob[:] = np.array(words, np.uint64).T
        protected = (batch.ipsec | batch.tunnel) != 0
        result = self.card.send(batch)
        assert not (result.status[protected] == SUCCESS).any()

    @rule(octets=st.binary(max_size=90), proto=st.sampled_from((ESP, AH_PROTO, 17)))
    def receive_junk(self, octets: bytes, proto: int) -> None:
        before = [frame(ipv4(octets, proto=proto)), octets]
        batch = NblBatch.from_frames(before)
        result = self.card.receive(batch)
        assert result is None or (batch.frames.to_packets() == before and batch.ipsec[1] == 0)
        assert batch.checksum[0] & 0x24 in (0, 0x20) and batch.checksum[1] < 0x40

    @rule(name=NAMES)
    def press(self, name: str) -> None:
        bundle = self.bundle(name, "inbound")
        if bundle:
            self.card.datapath.request_deletion(next(iter(bundle.handles)))
            bundle.asked = True


Card.TestCase.settings = run_settings()
TestCard = Card.TestCase
