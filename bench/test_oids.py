"""SA OIDs on the direct path: ADD_SA and DELETE_SA in pairs, one at a time and in lists of a thousand.

What is timed is the card's work, from the request's structures in memory to its answer there; the host's making of
them is not.  CPU time, best of the rounds: ``pytest bench/test_oids.py --benchmark-enable``.  Wanted: 20,000 single
pairs a second, 100,000 in lists.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ipsecfast import SecurityAssociation
from ipsecfast.ndis import (
    IPSEC_OFFLOAD_V2_ADD_SA,
    IPSEC_OFFLOAD_V2_ADD_SA_EX,
    IPSEC_OFFLOAD_V2_DELETE_SA,
    Miniport,
    Oid,
    OidRequest,
    profile,
    request_for,
    write_list,
)

LIST = 1000
ROUNDS = 15
DELETE = Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_DELETE_SA
SUITES = {
    "AES-GCM-128": {"encryption": "AES-GCM-128", "enc_key": bytes(16), "salt": bytes(4)},
    "AES-CBC-128+SHA1": {
        "encryption": "AES-CBC-128",
        "enc_key": bytes(16),
        "authentication": "HMAC-SHA1-96",
        "auth_key": bytes(20),
    },
}


def card(ndis: str) -> Miniport:
    made = Miniport(profile("full"), ndis=ndis)
    made.initialize()
    made.restart()
    return made


def sas(suite: str, n: int) -> list[SecurityAssociation]:
    ends: dict[str, Any] = {"mode": "transport", "src": "192.0.2.1", "dst": "192.0.2.2"}
    return [SecurityAssociation(spi=0x1000 + i, **ends, **SUITES[suite]) for i in range(n)]  # type: ignore[arg-type]


def singles(suite: str, ndis: str) -> tuple[Callable[[], float], int]:
    """Seconds of a round of pairs, each with requests of its own, as flat NDIS_OID_REQUESTs."""
    made = card(ndis)
    memory = made.memory
    adds, deletes, nodes = [], [], []
    ex = ndis == "6.30"
    cls: Any = IPSEC_OFFLOAD_V2_ADD_SA_EX if ex else IPSEC_OFFLOAD_V2_ADD_SA
    oid = Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA_EX if ex else Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA
    for sa in sas(suite, LIST):
        request = request_for("inbound", [sa])
        octets = (request.to_add_sa_ex() if ex else request.to_add_sa()).to_bytes()
        at = memory.allocate(octets)
        adds.append((OidRequest(oid, at, len(octets)).write(memory), at))
        (node,) = write_list(memory, [IPSEC_OFFLOAD_V2_DELETE_SA()])
        nodes.append(node)
        deletes.append(OidRequest(DELETE, node, 24).write(memory))
    serve = made.direct_oid_request

    def lap() -> float:
        spent = 0.0
        for (add, at), node, delete in zip(adds, nodes, deletes, strict=True):
            start = time.process_time()
            status = serve(add)
            spent += time.process_time() - start
            memory.store(node, IPSEC_OFFLOAD_V2_DELETE_SA.OffloadHandle, memory.load(at, cls.OffloadHandle))
            start = time.process_time()
            assert status == 0 == serve(delete)
            spent += time.process_time() - start
        assert not len(made.datapath) and not made.sa_table.unknown_deletes
        return spent

    return lap, LIST


def lists(suite: str, ndis: str) -> tuple[Callable[[], float], int]:
    """Seconds of one list of ADD_SA and one of DELETE_SA."""
    made = card(ndis)
    memory = made.memory
    nodes = write_list(memory, [request_for("inbound", [sa]).to_add_sa() for sa in sas(suite, LIST)])
    gone = write_list(memory, [IPSEC_OFFLOAD_V2_DELETE_SA() for _ in nodes])
    add = OidRequest(Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA, nodes[0], 200).write(memory)
    delete = OidRequest(DELETE, gone[0], 24).write(memory)

    def lap() -> float:
        start = time.process_time()
        assert made.direct_oid_request(add) == 0
        spent = time.process_time() - start
        for node, other in zip(nodes, gone, strict=True):
            handle = memory.load(node, IPSEC_OFFLOAD_V2_ADD_SA.OffloadHandle)
            memory.store(other, IPSEC_OFFLOAD_V2_DELETE_SA.OffloadHandle, handle)
        start = time.process_time()
        assert made.direct_oid_request(delete) == 0
        spent += time.process_time() - start
        assert not len(made.datapath) and not made.sa_table.unknown_deletes
        return spent

    return lap, LIST


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(
    ("make", "ndis"), [(singles, "6.20"), (singles, "6.30"), (lists, "6.20")], ids=["single", "single-ex", "list"]
)
def test_pairs_per_second(benchmark: Any, make: Any, ndis: str, suite: str) -> None:
    lap, n = make(suite, ndis)
    spent = []
    benchmark.pedantic(lambda: spent.append(lap()), rounds=ROUNDS if benchmark.enabled else 1)
    rate = n / min(spent)
    benchmark.extra_info.update(pairs_per_second=round(rate), microseconds=round(1e6 / rate, 2))
    print(f"\n{make.__name__} {ndis} {suite}: {rate:,.0f} pairs/s of CPU time, {1e6 / rate:.2f} us")
