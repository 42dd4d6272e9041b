"""Published vectors through the public surface, on every provider: primitives, packets, replay windows.

``vector_files`` says where the files lie and whose they are.  One test runs one file and names every vector in it
that does not hold.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import by_hand
import numpy as np
import pytest
from helpers import (
    AUTH_FAILED,
    MALFORMED,
    NOT_IPSEC,
    OK,
    PROVIDERS,
    REPLAYED,
    H,
    checksum,
    has,
    ipv4,
    keyed,
    patched,
    udp6_sum,
)
from vector_files import Vector, association, files, inbound, layers, outbound

from ipsecfast import (
    SAD,
    PacketBatch,
    PacketStatus,
    ReplayWindow,
    SecurityAssociation,
    crypto,
    decapsulate,
    encapsulate,
)
from ipsecfast.alg import AUTHENTICATION, ENCRYPTION
from ipsecfast.reference import ReplayWindow as ModelWindow

pytestmark = pytest.mark.parametrize("provider", PROVIDERS)

# A number of 0 is refused before the ICV is looked at, and UDP with less than an SPI in it holds no ESP.
REJECTIONS = {"auth_failed": (AUTH_FAILED, REPLAYED), "malformed": (MALFORMED, NOT_IPSEC)}


def _assert_each_holds(some: list[Vector], check: Callable[[Vector], None]) -> None:
    assert some, "no vector was found"
    wrong = []
    for v in some:
        try:
            check(v)
        except Exception as error:  # any: the rest of the file is worth knowing
            wrong.append(f"{v['id']}: {type(error).__name__}: {str(error)[:300]}")
    assert not wrong, f"{len(wrong)} of {len(some)} do not hold\n" + "\n".join(wrong)


def _served(some: list[Vector], provider: str) -> list[Vector]:
    """Without those for which the provider has no algorithm, as ipsec-mb 2.0 has no DES here."""

    def names(v: Vector) -> set[str]:
        sas = [v[which] for which in ("sa", "inner_sa") if which in v]
        stated = {v.get("algorithm")}.union(*({sa["encryption"], sa["authentication"]} for sa in sas))
        return stated.intersection((*ENCRYPTION, *AUTHENTICATION))

    found = [v for v in some if has(provider, *names(v))]
    if some and not found:
        pytest.skip(f"{provider} has none of this file's algorithms")
    return found


# ---------------------------------------------------------------- primitives


@pytest.mark.parametrize("some", files("primitive"))
def test_primitives(some: list[Vector], provider: str) -> None:
    _assert_each_holds(_served(some, provider), lambda v: _check_primitive(v, provider))


def _check_primitive(v: Vector, provider: str) -> None:
    algorithm, key = v["algorithm"], H(v["key"])
    if algorithm.startswith("HMAC"):
        got, want = crypto.hmac(algorithm, key, H(v["plaintext"]), provider=provider), H(v["tag"])
        cut = re.search(r"-(96|128|192|256)$", algorithm)
        assert cut is None or len(got) == int(cut[1]) // 8
        assert (got[: len(want)] == want) is v["valid"]
    elif "CBC" in algorithm:
        plaintext, ciphertext, iv = H(v["plaintext"]), H(v["ciphertext"]), H(v["iv"])
        assert crypto.cbc_encrypt(algorithm, key, iv, plaintext, provider=provider) == ciphertext
        assert crypto.cbc_decrypt(algorithm, key, iv, ciphertext, provider=provider) == plaintext
    elif algorithm.startswith("AES-CTR"):
        plaintext, ciphertext, block = H(v["plaintext"]), H(v["ciphertext"]), H(v["iv"])
        assert crypto.ctr_crypt(algorithm, key, block, plaintext, provider=provider) == ciphertext
        assert crypto.ctr_crypt(algorithm, key, block, ciphertext, provider=provider) == plaintext
    else:
        _check_aead(v, provider)


def _check_aead(v: Vector, provider: str) -> None:
    algorithm, key, nonce, aad = v["algorithm"], H(v["key"]), H(v["iv"]), H(v["aad"])
    ciphertext, tag = H(v["ciphertext"]), H(v["tag"])
    opened = crypto.aead_open(algorithm, key, nonce, aad, ciphertext, tag, provider=provider)
    if not v["valid"]:
        assert opened is None
        return
    plaintext = H(v["plaintext"])
    assert opened == plaintext
    sealed = crypto.aead_seal(algorithm, key, nonce, aad, plaintext, len(tag), provider=provider)
    assert sealed == (ciphertext, tag)


# ---------------------------------------------------------------- packets


def _decapsulate(
    provider: str, v: Vector, *packets: bytes, sad: SAD | None = None
) -> tuple[SAD, list[int], list[bytes]]:
    if sad is None:
        sad = SAD(capacity=2, provider=provider)
        for sa, seq in layers(v):
            sad.add(sa, direction="inbound", seq=seq)
    batch = PacketBatch.from_packets(packets)
    status = decapsulate(batch, sad).status.tolist()
    return sad, status, batch.to_packets()


def _assert_refused(v: Vector, before: bytes, after: bytes) -> None:
    """A refused packet is as it was, or zero from its ESP header on."""
    start = before.find(v["sa"]["spi"].to_bytes(4, "big"))
    wiped = before[:start] + bytes(len(before) - start) if start >= 0 else before
    assert after in (before, wiped)


@pytest.mark.parametrize("some", files("packet", wanted=inbound))
def test_packets_inbound(some: list[Vector], provider: str) -> None:
    _assert_each_holds(_served(some, provider), lambda v: _check_inbound(v, provider))


def _check_inbound(v: Vector, provider: str) -> None:
    packet = H(v["protected"])
    sad, status, after = _decapsulate(provider, v, packet)
    if v["expect"] != "ok":
        assert status[0] in REJECTIONS[v["expect"]]
        _assert_refused(v, packet, after[0])
        return
    plain = H(v["plain"])
    assert (status, after) == ([OK], [plain])
    _, status, after = _decapsulate(provider, v, packet, sad=sad)
    if association(v["sa"]).icv_len == 0:
        assert (status, after) == ([OK], [plain]), "without an ICV there is no window"
        return
    assert (status, after) == ([REPLAYED], [packet])
    # A forged copy in front: refused, and neither the window nor the next packet feels it.
    forged = packet[:-1] + bytes((packet[-1] ^ 1,))
    sad, status, after = _decapsulate(provider, v, forged, packet, forged)
    assert status == [AUTH_FAILED, OK, REPLAYED] and after[1:] == [plain, forged]
    _assert_refused(v, forged, after[0])


@pytest.mark.parametrize("some", files("packet", wanted=outbound))
def test_packets_outbound(some: list[Vector], provider: str) -> None:
    _assert_each_holds(_served(some, provider), lambda v: _check_outbound(v, provider))


def _check_outbound(v: Vector, provider: str) -> None:
    if "inner_sa" in v:
        (sa, seq), (inner_sa, inner_seq) = layers(v)
        mid = _encapsulate(provider, inner_sa, inner_seq, H(v["plain"]), H(v["inner_iv"]))
        want, ofs = H(v["mid"]), v["offset"]
        assert mid[ofs:] == want[ofs:]
        assert _encapsulate(provider, sa, seq, want, H(v["iv"])) == H(v["protected"])
        return
    ((sa, seq),) = layers(v)
    want, ofs = H(v["protected"]), v["offset"]
    got = _encapsulate(provider, sa, seq, H(v["plain"]), H(v["iv"]))
    if sa.protocol == "ah" and sa.mode == "tunnel" and got[0] >> 4 == 4:
        _assert_ah4_tunnel(sa, got, want, (seq + 1) >> 32)
    else:
        assert got[ofs:] == want[ofs:]
    if not v["encap_exact_whole"]:
        return
    if got[0] >> 4 == 4:
        assert checksum(got[: (got[0] & 15) * 4]) == 0
    if v["sa"]["udp_encap"] and got[0] >> 4 == 6:
        # The vector's UDP checksum is 0, which RFC 8200 sec. 8.1 does not allow: here it must be right.
        assert udp6_sum(got) == 0
        assert got[: ofs - 2] == want[: ofs - 2]
    elif v["sa"]["mode"] == "transport":
        assert got == want
    else:
        ends = slice(12, ofs) if got[0] >> 4 == 4 else slice(8, ofs)
        sizes, proto = (slice(2, 4), 9) if got[0] >> 4 == 4 else (slice(4, 6), 6)
        assert (got[0] >> 4, got[sizes], got[proto], got[ends]) == (want[0] >> 4, want[sizes], want[proto], want[ends])


def _encapsulate(provider: str, sa: SecurityAssociation, seq: int, plain: bytes, iv: bytes) -> bytes:
    sad = SAD(capacity=1, provider=provider)
    batch = PacketBatch.from_packets([plain], headroom=128, tailroom=128)
    rows = np.frombuffer(iv, np.uint8).reshape(1, -1)
    result = encapsulate(batch, sad, sad.add(sa, direction="outbound", seq=seq), iv=rows)
    assert result.status.tolist() == [OK] and int(result.seq[0]) == seq + 1
    return batch.to_packets()[0]


def _assert_ah4_tunnel(sa: SecurityAssociation, got: bytes, want: bytes, seq_hi: int) -> None:
    """All as wanted but the ICV: it covers the outer identification, which is the sender's choice."""
    assert sa.icv_len is not None
    icv = slice(32, 32 + sa.icv_len)
    assert (got[20:32], got[icv.stop :]) == (want[20:32], want[icv.stop :])
    covered = got[:1] + b"\0" + got[2:6] + bytes(3) + got[9:10] + bytes(2) + got[12:32] + bytes(sa.icv_len)
    assert got[icv] == by_hand.ah_icv(sa, covered + got[icv.stop :], seq_hi)


@pytest.mark.parametrize("some", files("packet", least=2, wanted=inbound))
def test_packets_in_one_batch(some: list[Vector], provider: str) -> None:
    """The same verdicts in one shuffled batch, each packet between canaries and without room to grow."""
    some = list({(v["sa"]["spi"], v["sa"]["dst"]): v for v in _served(some, provider)}.values())
    random.Random(4303).shuffle(some)
    sad = SAD(capacity=2 * len(some), provider=provider)
    handles = []
    for v in some:
        outermost, *_ = [sad.add(sa, direction="inbound", seq=seq) for sa, seq in layers(v)]
        handles.append(outermost)

    packets, canary = [H(v["protected"]) for v in some], b"\xa5" * 32
    memory = bytearray(canary + b"".join(packet + canary for packet in packets))
    lengths = np.array([len(packet) for packet in packets], np.int32)
    starts = len(canary) + np.cumsum(np.concatenate(([0], lengths[:-1] + len(canary))))
    batch = PacketBatch(memory, starts, lengths)
    result = decapsulate(batch, sad)

    found = batch.to_packets()
    for i, v in enumerate(some):
        status = result.status[i]
        good = v["expect"] == "ok"
        assert (status == OK) == good, f"{v['id']}: {PacketStatus(status).name}"
        if good:
            assert (found[i], int(result.handle[i])) == (H(v["plain"]), handles[i]), v["id"]
            assert int(result.seq[i]) & 0xFFFFFFFF == v["seq"], v["id"]
        else:
            assert status in REJECTIONS[v["expect"]], v["id"]
            _assert_refused(v, packets[i], found[i])
    assert result.ok == sum(v["expect"] == "ok" for v in some)
    for end in (starts + lengths).tolist():
        assert memory[end : end + len(canary)] == canary


# ---------------------------------------------------------------- replay


@pytest.mark.parametrize("some", files("replay"))
def test_replay_windows(some: list[Vector], provider: str) -> None:
    """The window by itself: the core's, and the reference's own one."""
    window = ModelWindow if provider == "reference" else ReplayWindow
    _assert_each_holds(some, lambda v: _check_window(v, window))


def _check_window(v: Vector, window_class: type[ReplayWindow] | type[ModelWindow]) -> None:
    window = window_class(v["window_size"], esn=v["esn"], top=v["initial_top"])
    for seq in v["initial_seen"]:
        window.mark(seq)
    for seq, verdict in v["packets"]:
        acceptable, seq64 = window.check(seq & 0xFFFFFFFF)
        if verdict == "ok":
            assert (acceptable, seq64) == (True, seq)
            window.mark(seq64)
        elif verdict == "replayed":
            assert not acceptable or (v["esn"] and seq64 != seq), seq
        elif verdict == "auth_failed":
            assert not acceptable or seq64 != seq, seq


@pytest.mark.parametrize("some", files("replay"))
def test_replay_of_packets(some: list[Vector], provider: str) -> None:
    """The same verdicts on whole packets, in one batch and one by one."""

    def check(v: Vector) -> None:
        _check_replay(v, provider, len(v["packets"]))
        _check_replay(v, provider, 1)

    _assert_each_holds(some, check)


def _check_replay(v: Vector, provider: str, at_a_time: int) -> None:
    sa = keyed("NULL", "HMAC-SHA1-96", mode="transport", esn=v["esn"], replay_window=v["window_size"])
    sad = SAD(capacity=1, provider=provider)
    handle = sad.add(sa, direction="inbound", seq=v["initial_top"])
    if v["esn"]:
        sad.update(handle, seq_hi=v["initial_top"] >> 32)  # so that the number it was added with counts as not seen
    packets = [(seq, "ok") for seq in v["initial_seen"]] + v["packets"]
    statuses: list[int] = []
    for i in range(0, len(packets), at_a_time):
        sealed = [_numbered(sa, seq, verdict) for seq, verdict in packets[i : i + at_a_time]]
        statuses += decapsulate(PacketBatch.from_packets(sealed), sad).status.tolist()

    wanted = {"ok": [OK], "replayed": [REPLAYED], "auth_failed": [AUTH_FAILED], "bad_icv": [AUTH_FAILED, REPLAYED]}
    if not v["strict"]:
        wanted["replayed"] = wanted["auth_failed"] = [REPLAYED, AUTH_FAILED]
    for (seq, verdict), status in zip(packets, statuses, strict=True):
        assert status in wanted[verdict], f"{seq}: {PacketStatus(status).name}, wanted {verdict}"


def _numbered(sa: SecurityAssociation, seq: int, verdict: str) -> bytes:
    packet = ipv4(by_hand.esp(sa, b"\x01\x02\x02\xfd", seq), proto=50)
    return patched(packet, len(packet) - 1, packet[-1] ^ (verdict == "bad_icv"))
