"""The NIC receives the kernel's captures."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from helpers import captures, frames_of, has
from nic_cards import info, status
from nic_host import NATIVE, Received, receive

from ipsecfast import SecurityAssociation
from ipsecfast.ndis.datapath import Datapath


def _plain_at(packet: bytes, record: dict[str, Any], sas: dict[int, SecurityAssociation]) -> bytes:
    """The innermost packet or payload as it stands in a received frame's IP packet."""
    data = packet
    for layer in record["layers"]:
        sa = sas[int(layer["spi"], 16)]
        start = data.index(struct.pack(">II", sa.spi, layer["seq"]))
        if layer["protocol"] == "ah":
            data = data[start - 4 + layer["ah_len"] :]
        else:
            assert sa.icv_len is not None
            data = data[start + 8 + sa.enc_alg.iv_len : len(data) - sa.icv_len]
            assert data[-2:] == bytes((layer["pad_len"], layer["next_header"]))
            data = data[: len(data) - 2 - layer["pad_len"]]
    return data


@pytest.mark.parametrize("provider", NATIVE)
@pytest.mark.parametrize("folder", captures())
def test_capture(folder: Path, provider: str) -> None:
    keys = json.loads((folder / "keys.json").read_text())
    if not has(provider, *(key[kind] for key in keys for kind in ("encryption", "authentication"))):
        pytest.skip(f"{provider} has no such algorithm")
    expected = json.loads((folder / "expected.json").read_text())
    made = Datapath(provider=provider)
    sas = {key["spi"]: SecurityAssociation.from_dict(key) for key in keys}
    for key in keys:
        udp_esp = 0 if not key["udp_encap"] else 2 if key["mode"] == "tunnel" else 1
        made.add_bundle("inbound", [sas[key["spi"]]], seq_hi=[key["seq"] >> 32], udp_esp=udp_esp)
    wire, plain = frames_of(folder / "wire.pcap"), frames_of(folder / "plain.pcap")
    got = receive(made, *wire)
    for record in expected["packets"]:
        one, before = got[record["frame"]], wire[record["frame"]]
        natt_back = record["kind"] == "udp-esp" and before[14 + 22 : 14 + 24] != struct.pack(">H", 4500)
        if len(record["frames"]) > 1 or natt_back:
            assert all(got[i] == Received(0, 0, wire[i]) for i in record["frames"])
            continue
        assert one.word == status(0)
        (layer,) = record["layers"]
        assert len(one.frame) == len(before) and one.frame[:14] == before[:14]
        assert one.header == (info(layer["next_header"], layer["pad_len"]) if layer["protocol"] == "esp" else 0)
        data = _plain_at(one.frame[14:], record, sas)
        if record.get("plain_equal") == "exact":
            inner = plain[record["plain"]]
            if sas[int(layer["spi"], 16)].mode == "transport":
                inner = inner[len(inner) - len(data) :]
            if before[14] >> 4 == 4 and before[15] & 3 == 3:
                # the receiver has since merged the outer header's mark into the inner one
                assert data[1] & 3 in (1, 2, 3)
                data, inner = (p[:1] + p[2:10] + p[12:] for p in (data, inner))
            assert data[: len(inner)] == inner and not any(data[len(inner) :])
    for other in expected["other_frames"]:
        assert got[other["frame"]] == Received(0, 0, wire[other["frame"]])
