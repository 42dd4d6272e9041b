"""Every PacketStatus is reached, by the core and by the reference, with the number that the enum gives it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from differential import PROVIDER_NAMES

import ipsecfast
from ipsecfast import SAD, PacketBatch, PacketStatus
from ipsecfast.reference import ip
from ipsecfast.testing import strategies as gen

SA = gen.make_sa(gen.Suite("AES-CBC-128", "HMAC-SHA1-96"))
INNER = gen.plain_packet(4, bytes(20))
GOOD = gen.protect(SA, INNER, 1)

INBOUND = {
    PacketStatus.OK: GOOD,
    PacketStatus.NOT_IPSEC: INNER,
    PacketStatus.NO_SA: gen.protect(gen.make_sa(gen.Suite("NULL", "HMAC-MD5-96"), spi=9), INNER, 1),
    PacketStatus.AUTH_FAILED: GOOD[:-1] + bytes((GOOD[-1] ^ 1,)),
    PacketStatus.REPLAYED: gen.protect(SA, INNER, 100 - 64),
    PacketStatus.MALFORMED: GOOD[:-1],
    PacketStatus.FRAGMENT: ip.put16(GOOD, 6, 0x2000),
    PacketStatus.DUMMY: gen.reseal_esp(SA, GOOD, 1, bytes(14) + bytes((0, ip.PROTO_NONE))),
    PacketStatus.ECN: ip.with_traffic_class(GOOD, 3),
}
OUTBOUND = {PacketStatus.SEQ_EXHAUSTED: (1 << 32) - 1, PacketStatus.NO_ROOM: 0}


@pytest.mark.parametrize("status", INBOUND, ids=lambda s: s.name)
@pytest.mark.parametrize("provider", [*PROVIDER_NAMES, "reference"])
def test_inbound(provider: str, status: PacketStatus) -> None:
    sad = SAD(provider=provider)
    handle = sad.add(SA, direction="inbound", seq=100 if status is PacketStatus.REPLAYED else 0)
    result = ipsecfast.decapsulate(PacketBatch.from_packets([INBOUND[status]]), sad)
    assert result.status.tolist() == [int(status)]
    counted = 0 if status in (PacketStatus.NOT_IPSEC, PacketStatus.NO_SA) or not result.handle[0] else 1
    assert sad.statistics(handle).statuses[status] == counted


@pytest.mark.parametrize("status", OUTBOUND, ids=lambda s: s.name)
@pytest.mark.parametrize("provider", [*PROVIDER_NAMES, "reference"])
def test_outbound(provider: str, status: PacketStatus) -> None:
    sad = SAD(provider=provider)
    handle = sad.add(SA, direction="outbound", seq=OUTBOUND[status])
    rooms = (0, 0) if status is PacketStatus.NO_ROOM else (128, 64)
    result = ipsecfast.encapsulate(PacketBatch(bytearray(sum(rooms) + 40), *_placed(rooms)), sad, handle)
    assert result.status.tolist() == [int(PacketStatus.MALFORMED)], "40 zeros are no packet"
    data = bytearray(rooms[0]) + INNER + bytearray(rooms[1])
    result = ipsecfast.encapsulate(PacketBatch(data, *_placed(rooms)), sad, handle)
    assert result.status.tolist() == [int(status)]
    assert sad.statistics(handle).statuses[status] == 1


def _placed(rooms: tuple[int, int]) -> tuple[list[int], ...]:
    """offset, length, slot_offset, slot_length of one packet of INNER's size."""
    return [rooms[0]], [len(INNER)], [0], [sum(rooms) + len(INNER)]


def test_every_status_has_a_test_and_a_text() -> None:
    """CRYPTO_FAILED: below, with a library that fails when told to."""
    assert {*INBOUND, *OUTBOUND, PacketStatus.CRYPTO_FAILED} == set(PacketStatus)
    assert [int(s) for s in PacketStatus] == list(range(len(PacketStatus)))
    texts = [s.text for s in PacketStatus]
    assert all(texts) and len(set(texts)) == len(texts)


# --- a libcrypto that fails -------------------------------------------------------------------------------------------

SHIM = r"""
#include <dlfcn.h>
#include <stdlib.h>
int shim_refuses = 0;
int EVP_CipherUpdate(void *ctx, unsigned char *out, int *n, const unsigned char *in, int size)
{
    static int (*real)(void *, unsigned char *, int *, const unsigned char *, int);
    int done;
    if (!real) *(void **) &real = dlsym(dlopen(REAL, RTLD_NOW), "EVP_CipherUpdate");
    if (shim_refuses) return 0;
    done = real(ctx, out, n, in, size);
    if (getenv("SHIM_IS_WRONG") && out && *n) out[0] ^= 1;
    return done;
}
"""

REFUSING = """
import ctypes, os
from ipsecfast.testing import strategies as gen
import test_status as t
from ipsecfast import SAD, PacketBatch, PacketStatus, crypto, decapsulate, encapsulate
from ipsecfast.errors import ProviderError
refuses = ctypes.c_int.in_dll(ctypes.CDLL(os.environ["IPSECFAST_LIBCRYPTO"]), "shim_refuses")
failed = int(PacketStatus.CRYPTO_FAILED)

sad = SAD(provider="libcrypto")
rx = sad.add(t.SA, direction="inbound")
refuses.value = 1
batch = PacketBatch.from_packets([t.GOOD])
assert decapsulate(batch, sad).status.tolist() == [failed]
assert batch.to_packets() == [t.GOOD[:20] + bytes(len(t.GOOD) - 20)], "nothing of a half decrypted packet stays"
assert sad.statistics(rx).statuses[PacketStatus.CRYPTO_FAILED] == 1

for name in (
    "AES-GCM-128", "AES-GMAC-256", "AES-CCM-192", "CHACHA20-POLY1305", "AES-CTR-192", "AES-CBC-128", "3DES-CBC",
    "DES-CBC", "NULL",
):
    auth = "AES-XCBC-96" if name == "NULL" else "HMAC-SHA256-128" if "CBC" in name or "CTR" in name else "NONE"
    tx = sad.add(gen.make_sa(gen.Suite(name, auth), spi=len(sad) + 5), direction="outbound")
    refuses.value = 1
    batch = PacketBatch.from_packets([t.INNER, t.INNER])
    result = encapsulate(batch, sad, tx)
    assert result.status.tolist() == [failed, failed] and result.ok == 0, (name, result.status)
    assert bytes(batch.data) == bytes(batch.data.nbytes), "no clear text under a protected header"
    assert sad.statistics(tx).statuses[PacketStatus.CRYPTO_FAILED] == 2
    sent = sad.statistics(tx).seq
    refuses.value = 0
    batch = PacketBatch.from_packets([t.INNER])
    result = encapsulate(batch, sad, tx)
    assert result.ok == 1 and result.seq[0] > sent, "the SA works on, with a new number"

refuses.value = 1
try:
    crypto.cbc_encrypt("AES-CBC-128", bytes(16), bytes(16), bytes(16), provider="libcrypto")
except (ProviderError, RuntimeError):
    print("held")
"""

WRONG = """
import ipsecfast
(info,) = [p for p in ipsecfast.providers() if p.name == "libcrypto"]
assert not info.available and "known answers failed" in info.message and not info.algorithms, info
for use in (lambda: ipsecfast.SAD(provider="libcrypto"),
            lambda: ipsecfast.crypto.cbc_encrypt("AES-CBC-128", bytes(16), bytes(16), bytes(16), provider="libcrypto")):
    try:
        use()
    except ipsecfast.ProviderError as error:
        assert "known answers failed for" in str(error), error
    else:
        raise AssertionError("a provider that gives wrong answers served")
assert "libcrypto" not in [p.name for p in ipsecfast.providers() if p.available]
print("held")
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: Any) -> Path:
    """A library that hands everything to the real libcrypto but can fail."""
    compiler = shutil.which("cc")
    if compiler is None or "libcrypto" not in PROVIDER_NAMES or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler, Linux and libcrypto")
    mapped = {line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines()}
    real = Path(next(path for path in sorted(mapped) if Path(path).name.startswith("libcrypto")))
    source, library = (tmp_path_factory.mktemp("shim") / name for name in ("shim.c", "libshim.so"))
    source.write_text(SHIM)
    flags = ["-shared", "-fPIC", f'-DREAL="{real}"', "-Wl,--no-as-needed", f"-Wl,-rpath,{real.parent}"]
    subprocess.run([compiler, *flags, "-o", str(library), str(source), str(real), "-ldl"], check=True)
    return library


def run_with(shim: Path, script: str, **environment: str) -> None:
    paths = os.pathsep.join((str(Path(ipsecfast.__file__).parents[1]), str(Path(__file__).parent)))
    env = os.environ | {"PYTHONPATH": paths, "IPSECFAST_LIBCRYPTO": str(shim), **environment}
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, env=env)
    assert done.stdout == "held\n", f"{done.stdout}{done.stderr}"


def test_crypto_failed(shim: Path) -> None:
    """A library that refuses: a status, nothing half done left behind, and the SA works on afterwards."""
    run_with(shim, REFUSING)


def test_wrong_known_answers(shim: Path) -> None:
    """A library that computes wrongly is not used at all."""
    run_with(shim, WRONG, SHIM_IS_WRONG="1")
