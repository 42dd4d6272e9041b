"""Faults that are asked for, and transcripts that are played again."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import OK, REPLAYED, ipv4, keyed
from nic_host import NATIVE, ah_room, frame, ip, room
from nic_oids import CBC_SA as CBC
from nic_oids import DELETE, small

from ipsecfast import PacketBatch, PacketStatus
from ipsecfast.ndis import (
    Datapath,
    DatapathOptions,
    Faults,
    Host,
    Lso,
    Miniport,
    NblBatch,
    NdisError,
    NdisStatus,
    OidRequest,
    Options,
    Registry,
    profile,
)
from ipsecfast.ndis.transcript import Recorder, ReplayError, redact, replay

GCM, ESN = keyed("AES-GCM-128", mode="transport"), keyed("AES-GCM-256", mode="transport", esn=True, spi=0x777)
PACKETS = [ipv4(bytes([n]) * n, proto=253) for n in range(1, 30)]


def pair(faults: Faults | None = None, sender_faults: Faults | None = None, **fields: Any) -> tuple[Host, Host]:
    hosts = []
    for one in (sender_faults, faults):
        card = Miniport(small(64), faults=one, **fields)
        card.initialize()
        card.restart()
        hosts.append(Host(card))
        hosts[-1].set_encapsulation()
    return hosts[0], hosts[1]


def through(sender: Host, receiver: Host, sa: Any = GCM, seq: int = 0) -> tuple[list[PacketStatus], Any]:
    out, _ = sender.add("outbound", sa, seq=seq), receiver.add("inbound", sa, seq=seq)
    sent = sender.send(PACKETS, out)
    assert not sent.status.any()
    return [g.status for g in receiver.receive(sent.frames)], sent


# ---------------------------------------------------------------- faults


def test_no_fault_is_on_by_default() -> None:
    assert Faults().names == () and not Faults().on_packets
    assert set(through(*pair())[0]) == {OK}
    every = Faults(
        drop_short=1, corrupt_icv=0.5, stale_esn=1, full_early=1, delete_pressure=1, late=True, wrong_pad=0.5
    )
    assert len(every.names) == 7
    for wrong in ({"corrupt_icv": 2}, {"drop_short": -1}, {"full_early": -1}):
        with pytest.raises(ValueError, match="wanted"):
            Faults(**wrong)  # type: ignore[arg-type]


def test_drop_short() -> None:
    sender, receiver = pair(sender_faults=Faults(drop_short=80))
    statuses, sent = through(sender, receiver)
    assert len(statuses) < len(PACKETS) and all(len(frame) >= 80 for frame in sent.frames)
    sender, receiver = pair(faults=Faults(drop_short=80))
    assert len(through(sender, receiver)[0]) == len(statuses)


def test_drop_short_of_lists_given_by_their_bounds() -> None:
    receiver = Miniport(small(4), faults=Faults(drop_short=50))
    receiver.initialize()
    receiver.restart()
    seen: list[int] = []
    receiver.bind(receive=lambda batch: seen.extend(batch.frames.length.tolist()))
    frames = PacketBatch.from_packets([frame(p) for p in PACKETS], 0, 0)
    receiver.receive(NblBatch(frames, range(len(PACKETS) + 1)))
    assert seen == [n for n in frames.length.tolist() if n >= 50] and 0 < len(seen) < len(PACKETS)
    with pytest.raises(ValueError, match="one"):
        receiver.receive(NblBatch(frames, [0, len(PACKETS)]))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("form", ["esp", "ah", "gmac ah", "ah and esp", "tagged"])
def test_corrupt_icv_hits_the_icv(form: str, version: int) -> None:
    """Not what pads the frame, nor what an AH covers."""
    ends = {} if version == 4 else {"src": "2001:db8::1", "dst": "2001:db8::2"}
    esp = keyed("AES-GCM-128", **ends)
    ah = keyed("NULL", "AES-GMAC-128" if form == "gmac ah" else "HMAC-SHA1-96", protocol="ah", spi=0xA4, **ends)
    sas = {"ah and esp": [esp, ah], "ah": [ah], "gmac ah": [ah]}.get(form, [esp])
    body = room(esp, b"data", 253) if esp in sas else b"data"
    if ah in sas:
        body = ah_room(ah, body, 50 if esp in sas else 253, version=version)
    tag = b"\x81\0\0\5" if form == "tagged" else b""
    one = frame(ip(version, body, 51 if ah in sas else 50), tag) + bytes(6)
    card = Miniport(small(4), faults=Faults(corrupt_icv=1.0))
    card.initialize()
    card.restart()
    batch = NblBatch.from_frames([one])
    batch.ipsec[:] = card.datapath.add_bundle("outbound", sas)
    (sent,) = card.send(batch).transmitted.to_packets()
    at = len(one) - len(body) - 6 + 20 if ah in sas else len(one) - 7
    mended = sent[:at] + bytes([sent[at] ^ 1]) + sent[at + 1 :]
    receiver = Datapath()
    receiver.add_bundle("inbound", sas)
    bad, good = receiver.receive(NblBatch.from_frames([sent, mended])).word.tolist()
    assert bad >> 16 and good == 2


def test_corrupt_icv_is_seeded() -> None:
    runs = []
    for seed in (1, 1, 2):
        statuses, _ = through(*pair(sender_faults=Faults(seed=seed, corrupt_icv=0.3)))
        assert set(statuses) == {OK, PacketStatus.AUTH_FAILED}
        runs.append(statuses)
    assert runs[0] == runs[1] != runs[2]


def test_stale_esn() -> None:
    """The update of the outbound SA is late: the number would be sent again under the old half, and is not."""
    sender, receiver = pair(sender_faults=Faults(stale_esn=2))
    out = sender.add("outbound", ESN, seq=(1 << 32) - 6)
    receiver.add("inbound", ESN, seq=(1 << 32) - 6)
    first, late, right = (sender.send(PACKETS[:5], out) for _ in range(3))
    assert not first.status.any() and late.status.all() and not right.status.any()
    assert [g.status for g in receiver.receive(first.frames + right.frames)] == [OK] * 10


@pytest.mark.parametrize("form", ["esp", "ah", "ah and esp", "tunnel", "over tunnel"])
def test_corrupt_icv_is_what_the_receiving_host_sees(form: str) -> None:
    """Through host and card on both sides: every frame fails, whatever layers it has, and nothing comes out."""
    ah = keyed("NULL", "HMAC-SHA256-128", protocol="ah", mode="transport", spi=0xA4)
    tunnel = keyed("AES-CBC-128", "HMAC-SHA1-96", mode="tunnel", spi=0x7000)
    bundles = {"esp": [[GCM]], "ah": [[ah]], "ah and esp": [[GCM, ah]], "tunnel": [[tunnel]]}
    sas = bundles.get(form, [[GCM], [tunnel]])
    sender, receiver = pair(sender_faults=Faults(corrupt_icv=1.0))
    out = [sender.add("outbound", *one) for one in sas]
    inbound = [receiver.add("inbound", *one) for one in sas]
    sent = sender.send(PACKETS, out[0], tunnel=out[1] if len(out) > 1 else None)
    got = receiver.receive(sent.frames)
    assert {g.status for g in got} == {PacketStatus.AUTH_FAILED} and len(got) == len(PACKETS)
    assert all(g.word >> 16 in (2, 3) and g.packet == one[14:] for g, one in zip(got, sent.frames, strict=True))
    assert all(window.top == 0 for one in inbound for window in one.windows)


def test_stale_esn_of_an_inbound_sa() -> None:
    """A card that goes by the given half alone fails what comes behind the wrap until its update takes effect."""
    literal = DatapathOptions(esn="literal")
    sender, receiver = pair(Faults(stale_esn=2), datapath_options=literal)
    last = (1 << 32) - 3
    out, inbound = sender.add("outbound", ESN, seq=last), receiver.add("inbound", ESN, seq=last)
    before, behind = (sender.send(PACKETS[i : i + 2], out).frames for i in (0, 2))
    assert [g.status for g in receiver.receive(before)] == [OK] * 2
    receiver.update(inbound, 0, 1)
    statuses = [{g.status for g in receiver.receive(behind)} for _ in range(2)]
    assert statuses == [{PacketStatus.AUTH_FAILED}, {OK}]


def test_full_early() -> None:
    host, _ = pair(sender_faults=Faults(full_early=2))
    assert host.capacity == 64
    host.add("inbound", GCM)
    host.add("inbound", ESN)
    with pytest.raises(NdisError, match="RESOURCES"):
        host.add("inbound", CBC)


def test_sa_delete_req_under_pressure_and_the_hosts_answer() -> None:
    """The card asks for the oldest inbound SA; the host deletes it and its peer, and only what was asked for."""
    sender, receiver = pair(Faults(delete_pressure=3))
    out, inbound = sender.add("outbound", GCM), receiver.add("inbound", GCM)
    receiver.pair(inbound, receiver.add("outbound", GCM))
    other = receiver.add("inbound", ESN)
    first = receiver.receive(sender.send(PACKETS[:2], out).frames)
    assert [(g.status, g.word) for g in first] == [(OK, 3)] * 2
    assert receiver.sas == [other] and len(receiver.miniport.datapath) == 1 and not inbound.handle
    after = receiver.receive(sender.send(PACKETS[:1], out).frames)
    assert [(g.status, g.word) for g in after] == [(PacketStatus.NO_SA, 0)]


def test_late_and_out_of_order() -> None:
    orders = []
    for seed in (3, 3, 4):
        sender, receiver = pair(sender_faults=Faults(seed=seed, late=True))
        statuses, sent = through(sender, receiver)
        assert set(statuses) == {OK} and sender.miniport.pending == 0
        orders.append([frame[14 + 20 + 4 : 14 + 20 + 8] for frame in sent.frames])
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == sorted(orders[2]) != orders[0]


def test_wrong_pad() -> None:
    sender, receiver = pair(Faults(wrong_pad=1.0))
    out, _ = sender.add("outbound", GCM), receiver.add("inbound", GCM)
    (one,) = receiver.receive(sender.send(PACKETS[:1], out).frames)
    assert one.header == 253 | ((-3 % 4) + 1) << 8 | 1 << 16
    assert one.status is OK  # this host reads the trailer


# ---------------------------------------------------------------- transcripts


def session(path: Path, **fields: Any) -> list[Any]:
    """A story with everything in it, recorded."""
    options = fields.pop("options", Options())
    with Recorder(path, small(8), Registry({"*IPsecOffloadV2": "3"}), options=options, **fields) as card:
        card.initialize()
        card.restart()
        host = Host(card)
        host.set_encapsulation()
        host.set_parameters(LsoV1=1)
        sas = [host.add(way, sa) for sa in (GCM, ESN, CBC) for way in ("outbound", "inbound")]  # type: ignore[arg-type]
        for inbound, outbound in zip(sas[1::2], sas[::2], strict=True):
            host.pair(inbound, outbound)
        steady = host.add("outbound", replace(CBC, spi=0x999))
        frames = []
        for sa in sas[::2]:
            frames += host.send(PACKETS, sa).frames
        got: list[Any] = host.receive(frames)
        if sas[2].handle:
            host.update(sas[2], 0, 1)
        card.reset()
        got += host.receive(frames[:5])
        with pytest.raises(NdisError):
            host.set_parameters(IPsecV2=9)
        card.pause()
        host.send(PACKETS[:2], steady)
        card.restart()
        card.direct_oid_request(0x1234)
        host.close()
        card.pause()
        card.halt()
        return got


@pytest.mark.parametrize("provider", NATIVE)
@pytest.mark.parametrize("ndis", ["6.20", "6.30"])
@pytest.mark.parametrize("options", [Options(), Options(direct_oids="pending")])
def test_replay_gives_identical_results(tmp_path: Path, ndis: str, options: Options, provider: str) -> None:
    path = tmp_path / "card.jsonl"
    got = session(path, ndis=ndis, provider=provider, options=options)
    assert {g.status for g in got} == {OK, REPLAYED} and stat.S_IMODE(path.stat().st_mode) == 0o600
    played = replay(path)
    assert played.oids == 13 and played.sends == 4 and played.receives == 2
    with pytest.raises(FileExistsError):
        Recorder(path, small(8))


def changing(path: Path, **fields: Any) -> list[int]:
    """A recorded card that is reset in two steps, put to sleep, and changed, with calls in between; its statuses."""
    statuses: list[int] = []
    with Recorder(path, small(8), **fields) as card:
        card.initialize()
        card.restart()
        host = Host(card)
        host.set_encapsulation()
        out, inbound = host.add("outbound", GCM), host.add("inbound", GCM)

        def traffic() -> None:
            frames = Host.send(host, PACKETS[:3], out)
            statuses.extend(frames.status.tolist())
            statuses.extend(int(g.status) for g in host.receive(frames.frames))

        traffic()
        if fields.get("options"):
            asked = OidRequest(DELETE, card.memory.allocate(bytes(24)), 24)
            card.direct_oid_request(asked, lambda _, status: statuses.append(int(status)))
        end = card.begin_reset()
        traffic()
        with pytest.raises(NdisError, match="NOT_ACCEPTED"):
            host.delete(inbound)
        end()
        with pytest.raises(RuntimeError):
            end()  # which is not recorded
        traffic()
        resume = card.standby()
        traffic()
        resume()
        card.change_hardware(profile("ixgbe"))
        traffic()
        card.change_hardware(small(8, esp=False, ah=True, ah_esp=False, udp_esp=0, encryption=0))
        traffic()
        card.change_hardware(replace(small(8), lso_v2_ipv4=Lso(max_size=9000, encapsulation=0x2)))
        traffic()
        card.pause()
        card.standby()()
        card.reset()
        end = card.begin_reset()
        card.surprise_removal()
        with pytest.raises(RuntimeError):
            end()
        card.halt()
        card.initialize()
        card.restart()
    return statuses


@pytest.mark.parametrize("ndis", ["6.20", "6.30"])
@pytest.mark.parametrize("fields", [{}, {"options": Options(direct_oids="pending")}])
def test_replay_of_resets_standby_and_changed_hardware(tmp_path: Path, ndis: str, fields: dict[str, Any]) -> None:
    path = tmp_path / "card.jsonl"
    statuses = changing(path, ndis=ndis, **fields)
    refusals = {int(NdisStatus.NDIS_STATUS_RESET_IN_PROGRESS), int(NdisStatus.NDIS_STATUS_LOW_POWER_STATE)}
    assert refusals < set(statuses) and (int(NdisStatus.NDIS_STATUS_REQUEST_ABORTED) in statuses) == bool(fields)
    calls = [json.loads(line)["call"] for line in path.read_text().splitlines()[1:]]
    for begin, end, n in (("begin_reset", "end_reset", 3), ("standby", "resume", 2)):
        assert calls.count(begin) == n and calls.count(end) == 2
    assert calls.count("change_hardware") == 3
    assert replay(path).calls == len(calls)
    # what a reset lets through, or a change of hardware takes away, is compared
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if '"call":"change_hardware"' in line)
    entry = json.loads(lines[at])
    entry["profile"]["ipsec_v2"] = None
    (tmp_path / "other.jsonl").write_text("\n".join([*lines[:at], json.dumps(entry), *lines[at + 1 :]]))
    with pytest.raises(ReplayError, match=f":{at + 1}: change_hardware gives something else"):
        replay(tmp_path / "other.jsonl")
    assert redact(path, tmp_path / "clean.jsonl") == len(calls)


def test_replay_of_an_end_without_a_beginning(tmp_path: Path) -> None:
    path = tmp_path / "card.jsonl"
    changing(path)
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if '"call":"begin_reset"' in line)
    end = next(i for i, line in enumerate(lines) if '"call":"end_reset"' in line)
    path.write_text("\n".join([*lines[:at], lines[end]]))
    with pytest.raises(ReplayError, match=f":{at + 1}: end_reset: no such call"):
        replay(path)
    for call, damage in (
        ("receive", {"in": None}),
        ("oid_request", {"request": {"oid": 1, "junk": 2}}),
        ("restart", {"call": "pause"}),
    ):
        i = next(i for i, line in enumerate(lines) if f'"call":"{call}"' in line)
        path.write_text("\n".join([*lines[:i], json.dumps(json.loads(lines[i]) | damage)]))
        with pytest.raises(ReplayError, match=f":{i + 1}: .* can't be played"):
            replay(path)


def test_replay_with_faults(tmp_path: Path) -> None:
    path = tmp_path / "card.jsonl"
    faults = Faults(seed=5, corrupt_icv=0.2, drop_short=70, late=True, delete_pressure=4, wrong_pad=0.5, stale_esn=1)
    session(path, faults=faults)
    assert replay(path).receives == 2


def test_replay_finds_a_difference(tmp_path: Path) -> None:
    path = tmp_path / "card.jsonl"
    session(path)
    lines = path.read_text().splitlines()
    sends = [i for i, line in enumerate(lines) if '"call":"send"' in line]
    for n, key in ((sends[0], "out"), (4, "result")):
        entry = json.loads(lines[n])
        if key == "out":
            entry["out"]["status"][3] ^= 1
        else:
            entry["result"] ^= 1
        other = tmp_path / "other.jsonl"
        other.write_text("\n".join([*lines[:n], json.dumps(entry), *lines[n + 1 :]]))
        with pytest.raises(ReplayError, match=f":{n + 1}: .* gives something else"):
            replay(other)
    for text in ("", "junk", '{"format":"x"}', lines[0] + "\n[]"):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(ReplayError, match="is no line of a transcript"):
            replay(tmp_path / "bad")


def test_redacted_transcript_holds_no_keys_and_is_not_played(tmp_path: Path) -> None:
    path, clean = tmp_path / "card.jsonl", tmp_path / "clean.jsonl"
    session(path, options=Options(salt=b"salt"))
    calls = redact(path, clean)
    text = clean.read_text()
    assert calls == len(text.splitlines()) - 1 and '"status"' in text and "c2FsdA" not in text
    assert '"data"' not in text and '"got"' not in text and '"random"' not in text
    with pytest.raises(ReplayError, match="redacted"):
        replay(clean)


def test_iv_generator_of_the_callers_is_used(tmp_path: Path) -> None:
    drawn: list[int] = []

    def generator(n: int) -> bytes:
        drawn.append(n)
        return bytes(i & 0xFF for i in range(n))

    session(tmp_path / "card.jsonl", datapath_options=DatapathOptions(iv_generator=generator))
    assert drawn and replay(tmp_path / "card.jsonl").calls
    assert profile("full").ipsec_v2
