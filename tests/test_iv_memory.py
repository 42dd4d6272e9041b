"""An IV that another thread overwrites while `encapsulate` or the NIC is at work is not what the cipher goes by.

Else whoever can write to a batch could have two packets sealed under one nonce.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from Crypto.Cipher import AES
from helpers import ipv4, keyed, served
from nic_cards import esp_frame, outbound, sender

from ipsecfast import SAD, PacketBatch, SecurityAssociation, encapsulate
from ipsecfast.ndis.nbl import NblBatch

N, ROUNDS = 256, 60
DATA = bytes(range(160))
WRITTEN = bytes.fromhex("f0f10000f4f5f6f7f8f9fafbfcfdfeff")  # an IPv4 header that it falls on stays no fragment's
SUITES = [
    ("AES-CBC-128", "HMAC-SHA1-96", False),
    ("AES-CTR-128", "HMAC-SHA1-96", False),
    ("AES-CCM-128", "NONE", False),
    ("AES-GCM-128", "NONE", True),  # with ESN: it takes the long way
    ("AES-GCM-128", "NONE", False),
]
SERVED = [param for param in served(SUITES) if param.values[-1] != "reference"]
COUNTER_MODES = [param for param in SERVED if "CBC" not in param.values[0]]


def first_block(sa: SecurityAssociation, iv: bytes, data: bytes) -> bytes:
    """What the first 16 bytes of data become under an IV."""
    nonce = sa.salt + iv[: sa.enc_alg.iv_len]
    cipher: Any
    if "CBC" in sa.encryption:
        cipher = AES.new(sa.enc_key, AES.MODE_CBC, iv=iv)
    elif "CTR" in sa.encryption:
        cipher = AES.new(sa.enc_key, AES.MODE_CTR, nonce=nonce, initial_value=1)
    else:
        cipher = AES.new(sa.enc_key, AES.MODE_CCM if "CCM" in sa.encryption else AES.MODE_GCM, nonce=nonce)
    return bytes(cipher.encrypt(data[:16]))


@contextmanager
def overwritten(batch: PacketBatch, at: int, n: int) -> Iterator[None]:
    """All the time, n bytes of each slot from `at` on are WRITTEN."""
    slots = np.asarray(batch.data).reshape(N, -1)[:, at : at + n]
    new = np.frombuffer(WRITTEN[:n], np.uint8)
    ready, done = threading.Event(), threading.Event()

    def write() -> None:
        while not done.is_set():
            slots[:] = new
            ready.set()

    writer = threading.Thread(target=write)
    writer.start()
    ready.wait()
    try:
        yield
    finally:
        done.set()
        writer.join()


def sealed_under(batch: PacketBatch, text: int, block: bytes) -> int:
    slots = np.asarray(batch.data).reshape(N, -1)[:, text : text + 16]
    return int((slots == np.frombuffer(block, np.uint8)).all(axis=1).sum())


@pytest.mark.parametrize("mode", ["tunnel", "transport"])  # the latter has short ways of its own
@pytest.mark.parametrize(("encryption", "authentication", "esn", "provider"), SERVED)
def test_of_encapsulate(encryption: str, authentication: str, esn: bool, provider: str, mode: str) -> None:
    sa = keyed(encryption, authentication, esn=esn, mode=mode)
    sad = SAD(provider=provider)
    handle = sad.add(sa, direction="outbound")
    packet = ipv4(DATA)
    front = 0 if mode == "tunnel" else 20
    block, n = first_block(sa, WRITTEN, packet[front:]), sa.enc_alg.iv_len
    for _ in range(ROUNDS):
        batch = PacketBatch.from_packets([packet] * N, headroom=128)
        text = int(batch.offset[0]) + front
        with overwritten(batch, text - n, n):
            assert encapsulate(batch, sad, handle).ok == N
        assert sealed_under(batch, text, block) == 0


def taken_by_the_nic(sa: SecurityAssociation, provider: str, options: dict[str, Any]) -> int:
    """How many frames the NIC sealed under the written IV."""
    made = sender(options, provider)
    handle = outbound(made, sa)
    block, n, taken = first_block(sa, WRITTEN, DATA), sa.enc_alg.iv_len, 0
    for i in range(ROUNDS // 2):
        batch = NblBatch.from_frames([esp_frame(sa, DATA, seq=i * N + k + 1) for k in range(N)])
        batch.ipsec[:] = handle
        text = int(batch.frames.offset[0]) + 14 + 20 + 8 + n
        with overwritten(batch.frames, text - n, n):
            made.send(batch)
        taken += sealed_under(batch.frames, text, block)
    return taken


@pytest.mark.parametrize(("encryption", "authentication", "esn", "provider"), SERVED)
def test_of_the_nic(encryption: str, authentication: str, esn: bool, provider: str) -> None:
    sa = keyed(encryption, authentication, esn=esn, mode="transport")
    assert taken_by_the_nic(sa, provider, {}) == 0


@pytest.mark.parametrize(("encryption", "authentication", "esn", "provider"), COUNTER_MODES)
def test_of_the_nic_with_ivs_of_the_host(encryption: str, authentication: str, esn: bool, provider: str) -> None:
    """One frame may have it, as any other IV; a second would repeat the nonce."""
    sa = keyed(encryption, authentication, esn=esn, mode="transport")
    assert taken_by_the_nic(sa, provider, {"iv": "host"}) <= 1
