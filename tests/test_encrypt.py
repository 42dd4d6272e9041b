"""``ipsecfast encrypt``: what others read of it, which packets it chooses, every kind of file, and how it ends."""

from __future__ import annotations

import gzip
import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import by_hand
import capture_model as model
import pytest
import readers
from helpers import ipv4, ipv6, patched, udp
from test_cli import CAPTURE, KEYS, command, only_line, run

from ipsecfast import SAD, ProviderError, SecurityAssociation, providers
from ipsecfast.keys import load_keys, policies

pytestmark = pytest.mark.filterwarnings("ignore:Single-key TripleDES .* is deprecated")

Json = dict[str, Any]
ETHERNET = bytes(12) + b"\x08\0"
GCM = {"encryption": "AES-GCM-128", "enc_key": "00" * 16, "salt": "00" * 4}
HMAC = {"encryption": "NULL", "authentication": "HMAC-SHA1-96", "auth_key": "11" * 20}
TUNNEL = {"spi": 0x1001, "mode": "tunnel", "src": "198.51.100.1", "dst": "198.51.100.2", **GCM}
TUNNEL6 = {"spi": 0x1002, "mode": "tunnel", "src": "2001:db8:1::1", "dst": "2001:db8:1::2", **GCM}
TRANSPORT = {"spi": 0x1003, "mode": "transport", "src": "192.0.2.1", "dst": "192.0.2.2", **GCM}
ALL = {"selector": {"dst": "192.0.2.0/24"}}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_keys(*sas: Json, name: str = "keys.json") -> str:
    Path(name).write_text(json.dumps(sas))
    return name


def encrypt(capsys, *args: object, keys: object = "keys.json") -> tuple[int, str, str]:
    return run(capsys, "encrypt", *args, "--keys", keys)


def decrypt(capsys, *args: object, keys: object = "keys.json") -> tuple[int, str, str]:
    return run(capsys, "decrypt", *args, "--keys", keys)


def records(name: str) -> list[tuple[int, int, bytes, int]]:
    return model.read_pcap(Path(name).read_bytes())[1]


def packets(name: str) -> list[bytes]:
    return [data[14:] for _, _, data, _ in records(name)]


def write(packets: list[bytes], name: str = "in") -> None:
    frames = [model.Frame(bytes(12) + (b"\x08\0" if p[0] >> 4 == 4 else b"\x86\xdd"), p) for p in packets]
    Path(name).write_bytes(model.pcap(frames))


# ---------------------------------------------------------------- others read it


SCENARIOS = {"demo": (CAPTURE, KEYS)} | {
    path.parent.name: (path.parent / "wire.pcap", path) for path in sorted(model.SHARED.glob("*/keys.json"))
}


def all_keys(name: str, has: Callable[[Json], object]) -> bool:
    return all(has(key) for key in json.loads(SCENARIOS[name][1].read_text()))


TSHARK = [name for name in SCENARIOS if all_keys(name, readers.esp_sa_line)]
SCAPY = [name for name in SCENARIOS if all_keys(name, readers.scapy_has)]
OTHERS = [name for name in SCENARIOS if name not in TSHARK and name not in SCAPY]


@pytest.fixture
def sealed_again(request, capsys) -> tuple[list[Json], list[bytes], list[bytes], set[int]]:
    """A capture decrypted and encrypted again: the keys, its packets in between and after, which were opened first."""
    wire, path = SCENARIOS[request.param]
    keys = json.loads(path.read_text())
    try:
        sad = SAD()
        for key in keys:
            sad.add(SecurityAssociation.from_dict(key), direction="outbound")
    except ProviderError as error:
        pytest.skip(str(error))
    assert decrypt(capsys, wire, "-o", "plain", "-q", keys=path)[0] == 0
    status, out, _ = encrypt(capsys, "plain", "-o", "sealed", "-q", "--json", keys=path)
    before, plain, sealed = records(str(wire)), records("plain"), records("sealed")
    assert status == 0 and len(before) == len(plain) == len(sealed) == json.loads(out)["packets"]
    assert [r[:2] for r in before] == [r[:2] for r in sealed]
    opened = {i for i, (a, b) in enumerate(zip(before, plain, strict=True)) if a[2] != b[2]}
    changed = {i for i, (a, b) in enumerate(zip(plain, sealed, strict=True)) if a[2] != b[2]}
    assert opened and opened <= changed and len(changed) == json.loads(out)["encrypted"]
    # Link headers, the family in them too, are what they were on the wire.
    assert all(before[i][2][:14] == sealed[i][2][:14] and sealed[i][3] == len(sealed[i][2]) for i in opened)
    return keys, packets("plain"), packets("sealed"), opened


@pytest.mark.parametrize("sealed_again", TSHARK, indirect=True)
def test_tshark_reads_it(sealed_again) -> None:
    keys, plain, sealed, opened = sealed_again
    theirs = readers.tshark(Path("sealed"), keys)
    modes = {key["spi"]: key["mode"] for key in keys}
    for i in opened:
        assert theirs[i].icv_good
        at = sealed[i].index(next(spi for key in modes if (spi := struct.pack(">I", key)) in sealed[i]))
        if modes[int.from_bytes(sealed[i][at : at + 4], "big")] == "tunnel":
            want = plain[i]
        else:
            udp_len = 8 if keys[0]["udp_encap"] else 0
            want = plain[i][at - udp_len :]
        assert theirs[i].data[: len(want)] == want


@pytest.mark.parametrize("sealed_again", SCAPY, indirect=True)
def test_scapy_reads_it(sealed_again) -> None:
    keys, plain, sealed, opened = sealed_again
    sas = {key["spi"]: readers.scapy_sa(key) for key in keys}
    for i in opened:
        if keys[0]["protocol"] == "ah" and sealed[i][0] >> 4 == 4 and 68 in sealed[i][20:24]:
            continue  # scapy stumbles over an IPv4 timestamp option when it checks AH
        assert readers.scapy_opens(sas, sealed[i]) == plain[i], i


@pytest.mark.parametrize("sealed_again", OTHERS, indirect=True)
def test_what_neither_reads_is_opened_by_hand(sealed_again) -> None:
    """Both lack the algorithm or the length of its ICV; ESP in tunnel mode, over IPv4 without options."""
    keys, plain, sealed, opened = sealed_again
    sas = {key["spi"]: SecurityAssociation.from_dict(key) for key in keys}
    for i in opened:
        assert sealed[i][0] == 0x45 and sealed[i][9] == 50
        sa = sas[int.from_bytes(sealed[i][20:24], "big")]
        text = by_hand.payload_of(sa, sealed[i][20:])
        trailer = text[len(plain[i]) :]
        assert text.startswith(plain[i]) and trailer == bytes([*range(1, len(trailer) - 1), len(trailer) - 2, 4])


# ---------------------------------------------------------------- which packets


def test_selectors_choose_and_the_rest_is_copied(capsys) -> None:
    write_keys(
        {**TRANSPORT, "selector": {"dst": "192.0.2.2", "udp_dport": 53}},
        {**TUNNEL, "selector": {"src": "192.0.2.1", "dst": "192.0.2.0/24", "proto": "udp"}},
        {**TUNNEL6, "selector": {"dst": "2001:db8::/64"}, "seq": 41},
    )
    arp = model.Frame(bytes(12) + b"\x08\x06", bytes(28))
    some = [ipv4(udp(b"dns", 53), proto=17), ipv4(udp(b"x", 99), proto=17), ipv4(), ipv6(), ipv4(b"", dst=1)[:19]]
    write(some)
    Path("in").write_bytes(Path("in").read_bytes() + model.pcap_record(arp))
    status, out, err = encrypt(capsys, "in", "-o", "out", "--json", "--strict")
    said = json.loads(out)
    assert status == 0 and said["packets"] == 6 and said["encrypted"] == 3
    assert said["statuses"] == {"OK": 3, "NOT_IPSEC": 3} and said["unknown_spis"] == []
    assert [(sa["spi"], sa["packets"], sa["statuses"]) for sa in said["sas"]] == [
        (spi, 1, {"OK": 1}) for spi in (0x1003, 0x1001, 0x1002)
    ]
    assert "6 packets, 3 encrypted: OK 3, NOT_IPSEC 3" in err
    got = packets("out")
    assert got[2] == some[2] and got[4] == some[4] and got[5] == bytes(28)
    assert [(p[0] >> 4, p[9 if p[0] >> 4 == 4 else 6]) for p in (got[0], got[1], got[3])] == [(4, 50), (4, 50), (6, 50)]
    assert [got[0][20:28], got[1][20:28], got[3][40:48]] == [
        struct.pack(">II", spi, seq) for spi, seq in ((0x1003, 1), (0x1001, 1), (0x1002, 42))
    ]
    decrypt(capsys, "out", "-o", "back")
    assert records("back") == records("in")


def test_families_change_and_the_link_header_says_so(capsys) -> None:
    write_keys({**TUNNEL, "selector": {"dst": "2001:db8::/64"}}, {**TUNNEL6, **ALL})
    write([ipv4(), ipv6()])
    assert encrypt(capsys, "in", "-o", "out", "--strict")[0] == 0
    frames = [data for _, _, data, _ in records("out")]
    assert [(f[12:14], f[14] >> 4) for f in frames] == [(b"\x86\xdd", 6), (b"\x08\0", 4)]
    for link_type, version in ((228, 4), (229, 6)):  # raw IPv4, raw IPv6: the other family has no place there
        packet = ipv4() if version == 4 else ipv6()
        Path("in").write_bytes(model.pcap([model.Frame(b"", packet)], link_type=link_type))
        status, _, err = encrypt(capsys, "in", "-o", "out")
        assert status == 0 and "1 encrypted packets were left as they were" in err
        assert Path("out").read_bytes()[24:] == Path("in").read_bytes()[24:]
        assert encrypt(capsys, "in", "-o", "out", "--strict", "-q")[0] == 1


def test_strict_and_what_is_refused(capsys) -> None:
    write_keys({**TRANSPORT, **ALL, "seq": 2**32 - 2})
    fragment, cut = ipv4(flags=0x2000), ipv4(b"x" * 40)[:50]
    write([ipv4(), fragment, cut, ipv4()])
    status, out, _ = encrypt(capsys, "in", "-o", "out", "--json")
    assert status == 0
    assert json.loads(out)["statuses"] == {"OK": 1, "MALFORMED": 1, "FRAGMENT": 1, "SEQ_EXHAUSTED": 1}
    assert packets("out")[1:] == packets("in")[1:] and packets("out")[0] != packets("in")[0]
    assert encrypt(capsys, "in", "-o", "out", "--strict", "-q")[0] == 1


def test_esp_is_a_plain_packet_to_selectors(capsys) -> None:
    write_keys({**TRANSPORT, "selector": {"proto": "udp"}}, {**TUNNEL, "selector": {"proto": "esp"}})
    write([ipv4(udp(b"x"), proto=17)])
    encrypt(capsys, "in", "-o", "once", "-q")
    encrypt(capsys, "once", "-o", "twice", "-q")
    assert packets("twice")[0][12:20] == bytes((198, 51, 100, 1, 198, 51, 100, 2))
    decrypt(capsys, "twice", "-o", "back")
    assert records("back") == records("in")


def test_tfc_padding_and_many_chunks(capsys) -> None:
    """Room is made for what an SA pads to, and sequence numbers go on from chunk to chunk."""
    write_keys({**TUNNEL, **ALL, "tfc_pad_to": 3000})
    write([ipv4(bytes(i % 50)) for i in range(5000)])
    status, out, _ = encrypt(capsys, "in", "-o", "out", "--json", "--strict")
    got = packets("out")
    assert status == 0 and json.loads(out)["encrypted"] == 5000 and {len(p) for p in got} == {20 + 8 + 8 + 3004 + 16}
    assert [int.from_bytes(p[24:28], "big") for p in got] == list(range(1, 5001))
    decrypt(capsys, "out", "-o", "back", "-q")
    assert records("back") == records("in")


def test_an_sa_may_have_several_selectors(capsys) -> None:
    write_keys({**TUNNEL, "selector": {"proto": "udp"}}, {**TUNNEL, "selector": {"proto": "icmp"}})
    write([ipv4(udp(b"x"), proto=17), ipv4(), ipv4(proto=6)])
    _, out, _ = encrypt(capsys, "in", "-o", "out", "--json")
    said = json.loads(out)
    assert [sa["packets"] for sa in said["sas"]] == [2] and said["statuses"] == {"OK": 2, "NOT_IPSEC": 1}


# ---------------------------------------------------------------- layers


def ah(spi: int, **fields: Any) -> Json:
    sa = {"spi": spi, "protocol": "ah", "mode": "transport", "src": "192.0.2.1", "dst": "192.0.2.2", **HMAC, **ALL}
    return {**sa, "icv_len": 12, "esn": False, "seq": 0, "enc_key": "", "salt": "", **fields}


LAYERS: dict[str, list[Json]] = {
    "AH around ESP": [{**TRANSPORT, **ALL}, ah(0x2001, layer=1)],
    "AH around ESP, outermost first": [ah(0x2001, layer=1), {**TRANSPORT, **ALL}],
    "transport in tunnel": [{**TRANSPORT, **ALL}, {**TUNNEL, **ALL, "layer": 1}],
    "tunnel in tunnel": [{**TUNNEL6, **ALL}, {**TUNNEL, **ALL, "layer": 1}],
    "three": [{**TRANSPORT, **ALL}, ah(0x2001, layer=1), {**TUNNEL6, **ALL, "layer": 2}],
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(capsys, name: str) -> None:
    keys = [
        {"icv_len": 16, "esn": False, "seq": 0, "auth_key": "", "authentication": "NONE", **k} for k in LAYERS[name]
    ]
    keys = [{"protocol": "esp", **key} for key in keys]
    write_keys(*keys)
    some = [ipv4(bytes(n), proto=253) for n in (0, 1, 100, 1400)] + [ipv6()]
    write(some)
    status, out, err = encrypt(capsys, "in", "-o", "out", "--json", "--strict")
    said = json.loads(out)
    assert status == 0 and said["encrypted"] == 4 and "4 encrypted" in err
    assert [sa["packets"] for sa in said["sas"]] == [4] * len(keys)  # each took part in every packet
    sas = {key["spi"]: readers.scapy_sa(key) for key in keys}
    outermost = max(keys, key=lambda key: key.get("layer", 0))["spi"]
    for before, after in zip(some[:4], packets("out"), strict=False):
        assert outermost.to_bytes(4, "big") in after[:60]
        assert readers.scapy_opens(sas, after) == before
    assert packets("out")[4] == some[4]


def test_policies_of_key_files() -> None:
    """Which SAs belong together, and in which order selectors are tried."""

    def layers(*sas: Json) -> list[list[int]]:
        faults: list[str] = []
        found = policies(load_keys([write_keys(*sas)]), lambda error: faults.append(str(error)))
        return [[e.sa.spi for e in p.entries] for p in found] or [faults]  # type: ignore[list-item]

    other = {"selector": {"dst": "10.0.0.0/8"}}
    assert layers({**TUNNEL, **ALL}, {**TUNNEL6}, {**TRANSPORT, **other}) == [[0x1001], [0x1003]]
    # one prefix written in two ways; a second generation of both layers; the same SA twice
    same = {"selector": {"dst": "192.0.2.77/24", "src": None}}
    new = [{**TRANSPORT, **ALL, "spi": 0x1103}, {**TUNNEL, **ALL, "spi": 0x1101, "layer": 1}]
    assert layers({**TRANSPORT, **ALL}, {**TUNNEL, **same, "layer": 1}, *new) == [[0x1003, 0x1001], [0x1103, 0x1101]]
    assert layers({**TRANSPORT, **ALL}, new[0], {**TUNNEL, **same, "layer": 1}, {**TRANSPORT, **ALL}, new[1]) == [
        [0x1003, 0x1001],
        [0x1103, 0x1101],
    ]
    (lines,) = layers({**TUNNEL, **ALL, "layer": 1})
    assert lines == ["keys.json: sas[0]: selector any -> 192.0.2.0/24: got SAs: 0 of layer 0, 1 of layer 1, "
                     "wanted as many of each layer"]  # fmt: skip
    (lines,) = layers({**TUNNEL, "selector": {"dst": "nonsense"}})
    assert lines == ["keys.json: sas[0]: selector: dst: is no IPv4 or IPv6 prefix"]


# ---------------------------------------------------------------- key files


def test_no_selector_is_refused(capsys, folder) -> None:
    write([ipv4()])
    write_keys(TUNNEL)
    zeros = "0x" + "00" * 20
    Path("esp_sa").write_text(f'"IPv4","192.0.2.1","192.0.2.2","0x00001003","AES-GCM [RFC4106]","{zeros}","NULL",""\n')
    for keys in ("keys.json", "esp_sa"):
        status, out, err = encrypt(capsys, "in", "-o", "out", keys=keys)
        assert status == 2 and not out and f"{keys}" in only_line(err) and "no SA has a selector" in err
    Path("none.json").write_text("[]")
    assert encrypt(capsys, "in", "-o", "out", keys="none.json")[0] == 2
    assert not Path("out").exists()
    write_keys(TUNNEL, {**TRANSPORT, **ALL})
    status, out, err = encrypt(capsys, "in", "-o", "out", "--json")
    assert status == 0 and "warning: keys.json: sas[0]: has no selector" in err
    assert [sa["spi"] for sa in json.loads(out)["sas"]] == [0x1003]


XFRM = """src 192.0.2.1 dst 192.0.2.2
\tproto esp spi 0x00001003 reqid 1 mode {mode}
\treplay-window 32
\taead rfc4106(gcm(aes)) 0x{zeros} 128
\tanti-replay context: seq 0x3, oseq 0x7, bitmap 0x00000000
\tsel {sel}
"""
OWN = "src 192.0.2.1/32 dst 192.0.2.2/32"


@pytest.mark.parametrize(
    "mode,sel,chosen",
    [
        ("transport", "src 0.0.0.0/0 dst 0.0.0.0/0 uid 0", (0, 1)),
        ("transport", "src 0.0.0.0/0 dst 0.0.0.0/0 proto udp dport 53", (0,)),
        ("transport", f"{OWN} proto icmp", (1,)),
        ("tunnel", f"{OWN} proto udp sport 40000", (0,)),
        ("tunnel", "src 0.0.0.0/0 dst 192.0.2.9/32", (2,)),
        ("tunnel", "src 0.0.0.0/0 dst 0.0.0.0/0 proto icmp", (1, 2)),
        ("tunnel", "src 0.0.0.0/0 dst 0.0.0.0/0 uid 0", None),
        ("tunnel", f"{OWN} proto icmp type 8 code 0", None),
        ("tunnel", f"{OWN} dev eth0", None),
    ],
)
def test_selectors_of_ip_xfrm_state(capsys, mode: str, sel: str, chosen: tuple[int, ...] | None) -> None:
    Path("xfrm").write_text(XFRM.format(mode=mode, sel=sel, zeros="00" * 20))
    write([ipv4(udp(b"x", 53), proto=17), ipv4(), ipv4(dst=9)])
    status, _, err = encrypt(capsys, "in", "-o", "out", keys="xfrm")
    if chosen is None:
        assert status == 2 and "selector" in only_line(err) and "xfrm:1" in err and not Path("out").exists()
        return
    assert status == 0
    changed = [i for i, (a, b) in enumerate(zip(packets("in"), packets("out"), strict=True)) if a != b]
    assert tuple(changed) == chosen
    assert packets("out")[chosen[0]][20:28] == struct.pack(">II", 0x1003, 8)  # behind the larger of seq and oseq


def test_no_number_is_used_again_if_one_file_knows_a_later_one(capsys) -> None:
    write([ipv4()])
    write_keys({**TRANSPORT, "seq": 900, "replay_window": 0})
    write_keys({**TRANSPORT, **ALL, "seq": 5}, name="selectors.json")
    for files in (["keys.json", "selectors.json"], ["selectors.json", "keys.json"]):
        assert run(capsys, "encrypt", "in", "--keys", *files, "-o", "out")[0] == 0
        assert packets("out")[0][24:28] == (901).to_bytes(4, "big")


BAD_KEYS: list[tuple[list[Json], str]] = [
    ([{**TUNNEL, "selector": {"dst": "10.0.0.0/40"}}], "selector: dst: is no"),
    ([{**TUNNEL, "selector": {"ports": "1"}}], "selector: has an unknown field"),
    ([{**TUNNEL, "selector": {"dst": "10.0.0.1", "sport": "00112233445566"}}], "selector: sport: is neither"),
    ([{**TUNNEL, **ALL, "layer": 1}], "wanted as many of each layer"),
    ([{**TUNNEL, **ALL}, {**TUNNEL6, **ALL, "layer": 2}], "wanted as many of each layer"),
    ([{**TUNNEL, **ALL, "spi": 0x3000 + i, "layer": i} for i in range(9)], "handles: got 9"),
    ([{**TUNNEL, **ALL, "dst": None}], "an outbound tunnel needs both"),
    ([{**TUNNEL, **ALL}, {**TUNNEL, **ALL, "salt": "ff" * 4}], "another SA"),
]


@pytest.mark.parametrize("keys,text", BAD_KEYS)
def test_bad_keys(capsys, folder, keys: list[Json], text: str) -> None:
    write([ipv4(dst=9)])
    write_keys(*keys, {**TRANSPORT, "selector": {"dst": "192.0.2.9"}})
    status, out, err = encrypt(capsys, "in", "-o", "out")
    assert status == 2 and not out and text in only_line(err) and "keys.json: sas[" in err
    assert "ff" * 4 not in err and "00112233" not in err and sorted(os.listdir(folder)) == ["in", "keys.json"]
    status, _, err = encrypt(capsys, "in", "-o", "out", "--skip-bad-keys")
    assert status == 0 and "warning: keys.json: sas[" in err and text in err and "encrypted" in err


# ---------------------------------------------------------------- files


def test_every_file_type_gives_the_same_packets(capsys) -> None:
    """What comes back after decrypt is what went in, but for snapshot lengths, which make room."""
    decrypt(capsys, CAPTURE, "-o", "plain", "-q", keys=KEYS)
    frames = [
        model.Frame(f[2][:14], f[2][14:], seconds=f[0], nanos=f[1] * 1000)
        for f in model.read_pcap(Path("plain").read_bytes())[1]
    ]
    longest = max(len(f.data) for f in frames)
    for big in (False, True):
        for nanos in (False, True):
            Path("in").write_bytes(model.pcap(frames, big, nanos, snaplen=longest))
            assert encrypt(capsys, "in", "-o", "out", "--strict", "-q", keys=KEYS)[0] == 0
            assert Path("out").read_bytes()[:24] == model.pcap_header(big, nanos, snaplen=262144)
            decrypt(capsys, "out", "-o", "back", "-q", keys=KEYS)
            assert Path("back").read_bytes()[24:] == Path("in").read_bytes()[24:]
        for kind in (model.EPB, model.PB):
            blocks = b"".join(model.packet_block(f, big=big, kind=kind, options=bytes(4)) for f in frames)
            start = model.section(big, length=len(blocks)) + model.interface(1, big, snaplen=longest)
            Path("in").write_bytes(gzip.compress(start + blocks))
            assert encrypt(capsys, "in", "-o", "out.gz", "--strict", "-q", keys=KEYS)[0] == 0
            got = gzip.decompress(Path("out.gz").read_bytes())
            assert got.startswith(model.section(big) + model.interface(1, big, snaplen=0))
            assert len(model.blocks(got)) == 2 + len(frames)
            decrypt(capsys, "out.gz", "-o", "back", "-q", keys=KEYS)
            assert Path("back").read_bytes() == model.section(big) + model.interface(1, big) + blocks
        simple = [model.packet_block(f, big=big, kind=model.SPB) for f in frames]
        start = model.section(big) + model.interface(1, big, snaplen=longest)
        Path("in").write_bytes(start + b"".join(simple))
        encrypt(capsys, "in", "-o", "out", "--strict", "-q", keys=KEYS)
        decrypt(capsys, "out", "-o", "back", "--strict", "-q", keys=KEYS)
        assert Path("back").read_bytes() == model.section(big) + model.interface(1, big) + b"".join(simple)


def test_link_types_and_padding(capsys) -> None:
    links = {1: bytes(12) + b"\x81\0\0\x05\x08\0", 101: b"", 113: bytes(14) + b"\x08\0", 276: b"\x08\0" + bytes(18)}
    links |= {0: b"\2\0\0\0", 108: b"\0\0\0\2", 228: b""}
    write_keys({**TUNNEL, **ALL})
    for link_type, link in links.items():
        some = [ipv4(bytes(n)) for n in (0, 5, 90)]
        frames = [model.Frame(link, p, trailer=b"\x55" * 7) for p in some]
        Path("in").write_bytes(model.pcap(frames, link_type=link_type))
        assert encrypt(capsys, "in", "-o", "out", "--strict", "-q")[0] == 0
        for (_, _, data, wire), packet in zip(records("out"), some, strict=True):
            assert data[: len(link)] == link and wire == len(data)
            assert len(data) - len(link) == int.from_bytes(data[len(link) + 2 : len(link) + 4], "big") > len(packet)
        decrypt(capsys, "out", "-o", "back", "-q")
        assert Path("back").read_bytes()[24:] == model.pcap([model.Frame(link, p) for p in some])[24:]


def test_a_cut_or_damaged_capture_keeps_what_was_read(capsys) -> None:
    write_keys({**TUNNEL, **ALL})
    write([ipv4(bytes(i)) for i in range(30)])
    whole = Path("in").read_bytes()
    for cut in (24 + 5, 1000, len(whole) - 1):
        Path("in").write_bytes(whole[:cut])
        status, out, err = encrypt(capsys, "in", "-o", "out", "--json")
        assert status == 2 and "ends in the middle of a packet" in only_line(err.splitlines(True)[-1])
        assert len(packets("out")) == json.loads(out)["packets"] == json.loads(out)["encrypted"]
    Path("in").write_bytes(patched(whole, 24 + 8, 0xFF, 0xFF, 0xFF, 0xFF))
    assert encrypt(capsys, "in", "-o", "out", "-q")[0] == 2 and len(packets("out")) == 0


@pytest.mark.parametrize("seed", range(24))
def test_damaged_captures_end_in_one_line(capsys, seed: int) -> None:
    write_keys({**TUNNEL, **ALL}, {**TRANSPORT, "selector": {"dst": "2001:db8::/64"}, "src": None, "dst": None})
    dice = random.Random(seed)
    frames = [
        model.Frame(ETHERNET, ipv4(bytes(9))),
        model.Frame(bytes(12) + b"\x86\xdd", ipv6(udp(b"x"), proto=17)),
    ] * 3
    if seed % 2:
        data = bytearray(model.pcap(frames))
    else:
        data = bytearray(model.section() + model.interface() + b"".join(map(model.packet_block, frames)))
    for _ in range(dice.randint(1, 6)):
        data[dice.randrange(len(data))] = dice.choice((0, 1, 0x7F, 0xFF, dice.randrange(256)))
    Path("in").write_bytes(data)
    status, _, err = encrypt(capsys, "in", "-o", "out")
    assert status in (0, 2) and "Traceback" not in err
    assert status == 0 or err.count("\n") == 1 or Path("out").exists()


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["in", "-o", "out"],
        ["in", "--keys", "keys.json"],
        ["in", "in", "--keys", "keys.json", "-o", "out"],
        ["in", "--keys", "keys.json", "-o", "out", "--jobs", "0"],
        ["in", "--keys", "keys.json", "-o", "out", "--provider", "nobody"],
        ["in", "--keys", "missing", "-o", "out"],
        ["in", "--keys", "keys.json", "-o", "keys.json"],
        ["in", "--keys", "keys.json", "-o", "-", "--json"],
        ["in", "--keys", "keys.json", "-o", "/dev/full"],
        ["keys.json", "--keys", "keys.json", "-o", "out"],
        ["missing", "--keys", "keys.json", "-o", "out"],
        ["/dev/null", "--keys", "keys.json", "-o", "out"],
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(capsys, folder, args: list[str]) -> None:
    write([ipv4()])
    before = Path(write_keys({**TUNNEL, **ALL})).read_bytes()
    status, out, err = run(capsys, "encrypt", *args)
    assert status == 2 and not out
    only_line(err)
    assert sorted(os.listdir(folder)) == ["in", "keys.json"] and Path("keys.json").read_bytes() == before


def test_help(capsys) -> None:
    status, out, err = run(capsys, "encrypt", "--help")
    assert status == 0 and "CAPTURE --keys FILE... -o OUT" in out and not err


def test_standard_input_and_output() -> None:
    write_keys({**TUNNEL, **ALL})
    write([ipv4()] * 3)
    with command("encrypt", "-", "--keys", "keys.json", "-o", "-") as process:
        out, err = process.communicate(Path("in").read_bytes())
    assert process.returncode == 0 and b"3 encrypted" in err
    link_type, got = model.read_pcap(out)
    assert link_type == 1 and [data[14 + 9] for _, _, data, _ in got] == [50] * 3


@pytest.mark.parametrize("provider", ["ipsec-mb", "libcrypto", "reference"])
def test_providers(capsys, provider: str) -> None:
    if not next(p for p in providers() if p.name == provider).available:
        pytest.skip("not here")
    write_keys({**TUNNEL, **ALL})
    write([ipv4(), ipv4(dst=1)[:-1]])
    assert encrypt(capsys, "in", "-o", "out", "--provider", provider, "--strict")[0] == 1  # one is cut short
    decrypt(capsys, "out", "-o", "back")
    assert records("back") == records("in")


def test_simple_packet_blocks_that_were_cut(capsys) -> None:
    """The snapshot length that cut them is lifted, so that the block itself must tell how long they are."""
    write_keys({**TUNNEL, "selector": {"dst": "10.9.9.9/32"}})
    whole = ipv4()
    cut = model.block(3, struct.pack("<I", len(whole) + 40) + whole.ljust((len(whole) + 3) // 4 * 4, b"\0"))
    Path("in").write_bytes(model.section() + model.interface(101, snaplen=len(whole)) + cut)
    assert encrypt(capsys, "in", "-o", "out")[0] == 0
    ((_, _, body),) = [b for b in model.blocks(Path("out").read_bytes()) if b[1] == 3]
    assert struct.unpack_from("<I", body)[0] == len(whole) and body[4:].startswith(whole)
