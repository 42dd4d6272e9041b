"""The Linux kernel's captures of ``../shared/captures``: opened, and put on again byte for byte as the kernel did.

Scenarios with an algorithm that a provider has not are skipped.  Nothing is reassembled: fragments are refused.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import FRAGMENT, NOT_IPSEC, OK, PROVIDERS, REPLAYED, SHARED, H, frames_of

from ipsecfast import SAD, PacketBatch, SecurityAssociation, decapsulate, encapsulate, providers

ECN_CE, PROTO_DEST_OPTS = 3, 60
ETHERNET_LEN = 14

Json = dict[str, Any]


def _scenarios() -> list[Any]:
    found = [(path.parent, json.loads(path.read_text())) for path in sorted((SHARED / "captures").glob("*/keys.json"))]
    if not found:
        return [pytest.param(SHARED, [], marks=pytest.mark.skip(reason="shared/captures is not here"))]
    return [pytest.param(folder, keys, id=folder.name) for folder, keys in found]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("folder", "keys"), _scenarios())
def test_capture(folder: Path, keys: list[Json], provider: str) -> None:
    (algorithms,) = (p.algorithms for p in providers() if p.name == provider)
    lacking = {key[kind] for key in keys for kind in ("encryption", "authentication")} - {"NONE", *algorithms}
    if lacking:
        pytest.skip(f"{provider} has no {', '.join(lacking)}")
    sad = SAD(capacity=len(keys), provider=provider)
    for key in keys:
        sad.add(SecurityAssociation.from_dict(key), direction="inbound", seq=key["seq"])
    wire = [frame[ETHERNET_LEN:] for frame in frames_of(folder / "wire.pcap")]
    seen_by_the_kernel = frames_of(folder / "plain.pcap")
    batch = PacketBatch.from_packets(wire)
    status, packets = decapsulate(batch, sad).status.tolist(), batch.to_packets()

    expected = json.loads((folder / "expected.json").read_text())
    for record in expected["packets"]:
        i = record["frame"]
        if len(record["frames"]) > 1:
            assert {status[k] for k in record["frames"]} == {FRAGMENT}
        elif record.get("dropped"):
            assert (status[i], packets[i]) == (REPLAYED, wire[i])
        else:
            assert status[i] == OK and hashlib.sha256(packets[i]).hexdigest() == record["sha256"]
            assert record.get("plain_equal") != "exact" or packets[i] == seen_by_the_kernel[record["plain"]]
            _assert_put_on_again(keys, record, wire[i], packets[i], provider)
    for other in expected["other_frames"]:
        fragment = "packet is listed at its last frame" in other["what"]
        assert status[other["frame"]] == (FRAGMENT if fragment else NOT_IPSEC)


def _assert_put_on_again(keys: list[Json], record: Json, wire: bytes, plain: bytes, provider: str) -> None:
    """What was taken off comes out again as the kernel sent it, from the ESP or AH header on."""
    (layer,) = record["layers"]
    spi, seq = int(layer["spi"], 16), layer["seq_hi"] << 32 | layer["seq"]
    (key,) = (k for k in keys if k["spi"] == spi)
    if key["mode"] == "tunnel" and wire[0] >> 4 == 4 and wire[1] & 3 == ECN_CE:
        return  # marked on the way: the inner packet is another one now
    if layer["next_header"] == PROTO_DEST_OPTS:
        return  # behind a routing header Linux protects these options; here they stay in front of ESP
    sa = SecurityAssociation.from_dict(key)
    if layer.get("tfc_len"):
        sa = replace(sa, tfc_pad_to=len(plain) + layer["tfc_len"])
    icv_differs = False
    if sa.protocol == "ah":
        # Linux leaves stale bytes in AH's padding, and chooses the outer identification: both are covered.
        icv_differs = any(H(layer["ah_pad"])) or (sa.mode == "tunnel" and wire[0] >> 4 == 4)
        sa = replace(sa, ah_align=4 if layer["ah_len"] % 8 else 8)
    sad = SAD(capacity=1, provider=provider)
    batch = PacketBatch.from_packets([plain], tailroom=9000)
    handle = sad.add(sa, direction="outbound", seq=seq - 1)
    iv = np.frombuffer(H(layer.get("iv", "")), np.uint8).reshape(1, -1)
    assert encapsulate(batch, sad, handle, iv=iv).status.tolist() == [OK]
    (packet,) = batch.to_packets()
    if sa.protocol == "ah":
        start = packet.index(struct.pack(">II", spi, layer["seq"])) - 4
        assert len(packet) == len(wire)
        for part in slice(start, start + 12), slice(start + (12 if not icv_differs else layer["ah_len"]), None):
            assert packet[part] == wire[part]
        return
    if sa.mode == "transport" and not sa.udp_encap:
        assert packet == wire[: len(packet)]
    start = struct.pack(">II", spi, layer["seq"])
    assert packet[packet.index(start) :] == wire[wire.index(start) : len(packet)]
