"""The card's state machine but for packets: configuration, OIDs, states, against a model of the contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from nic_model import (
    AT_ONCE,
    CAPACITY,
    FILLED,
    MAX_LARGE,
    NAMES,
    OTHER_KEY,
    PAUSED,
    RUNNING,
    SAS,
    SELDOM,
    WHO,
    Bundle,
    version_of,
)
from nic_oids import (
    ABORTED,
    ADD,
    DELETE,
    EX,
    HANDLE,
    HANDLE_EX,
    INVALID_DATA,
    INVALID_PARAMETER,
    NOT_ACCEPTED,
    NOT_SUPPORTED,
    PENDING,
    RESOURCES,
    SUCCESS,
    UPDATE,
    encapsulation,
    parameters,
    small,
    wanted,
)

from ipsecfast import SecurityAssociation
from ipsecfast.ndis import (
    IPSEC_OFFLOAD_V2_DELETE_SA,
    IPSEC_OFFLOAD_V2_UPDATE_SA,
    NDIS_OFFLOAD,
    AdapterState,
    Lso,
    Miniport,
    NdisStatus,
    Oid,
    OidRequest,
    Options,
    Registry,
    SaRequest,
    StatusIndication,
    read_keywords,
    write_list,
)
from ipsecfast.testing.strategies import ndis as gen


class CardMachine(RuleBasedStateMachine):
    """The contract, from above and from the wire."""

    @initialize(
        keywords=st.one_of(st.just({}), st.just({}), gen.keyword_values()),
        ndis=st.sampled_from(("6.1", "6.20", "6.30", "6.89")),
        pending=st.sampled_from((False, False, True)),
        abi=st.sampled_from(("x64", "x86")),
        filled=FILLED,
        transport=st.sampled_from((True,) * 6 + (False,)),
    )
    def start(
        self, keywords: dict[str, Any], ndis: str, pending: bool, abi: str, filled: bool, transport: bool
    ) -> None:
        self.registry = Registry(keywords)
        options = Options(direct_oids="pending") if pending else Options()
        self.pending = pending
        self.transport = transport
        hardware = small(CAPACITY, transport=transport, transport_tunnel=transport)
        hardware = replace(hardware, lso_v2_ipv4=Lso(max_size=MAX_LARGE))
        self.card = Miniport(hardware, self.registry, ndis, abi=abi, options=options)
        self.ex = ndis in ("6.30", "6.89")
        self.numbers = dict.fromkeys(SAS, 0)
        self.handles: dict[int, Bundle] = {}
        self.dead: list[int] = []
        self.queue: list[tuple[OidRequest, Any]] = []
        self.told: list[StatusIndication] = []
        self.state = "halted"
        self.begin(filled)

    def begin(self, filled: bool) -> None:
        self.card.initialize()
        self.card.bind(self.told.append)
        self.state = PAUSED
        keywords = read_keywords(self.registry)
        self.k, self.settings = keywords.values["*IPsecOffloadV2"], keywords.settings()
        self.v4 = self.v6 = 0  # as NDIS_OFFLOAD_ENCAPSULATION has it; 0 is never set
        self.card.restart()
        self.state = RUNNING
        if filled:
            self.fill()

    def fill(self) -> None:
        """Let there be something to work with."""
        self.set_encapsulation(1, 1, 2)
        for way in ("inbound", "outbound"):
            self.add("esn", way, False, 1)
        self.card.poll()

    # ------------------------------------------------------------ the model

    def on(self) -> bool:
        return self.k != 0 and (self.v4, self.v6) != (2, 2)

    def enabled(self, sa: SecurityAssociation) -> bool:
        bit = 1 if sa.protocol == "ah" else 2
        return self.on() and bool(self.k & bit) and (sa.spi != 0x104 or self.v6 != 2)

    def family(self, sa: SecurityAssociation) -> int:
        """Enabled of its family, as last set."""
        return self.v6 if sa.spi == 0x104 else self.v4

    def sums(self, sa: SecurityAssociation, good: bool, damage: str, tunnelled: bool) -> int:
        """Slot 0 of a received packet: IPv4's headers, and the datagram in it if its IPsec layers are good."""
        version, word = version_of(sa), 0
        inside = 4 if tunnelled else version
        seen = {version, inside} if good else {version}
        if self.family(sa) != 1:
            return 0
        if 4 in seen and self.v4 == 1 and self.settings["IPv4Checksum"] & 2:
            word = 4 if damage == "dst" else 32
        transmit = [self.settings[f"UDPIPv{v}Checksum"] & 1 and on != 2 for v, on in ((4, self.v4), (6, self.v6))]
        on = (self.v4 if inside == 4 else self.v6) == 1 and self.settings[f"UDPIPv{inside}Checksum"] & 2
        if good and self.ex and any(transmit) and on:
            word |= 2 if damage == "sum" else 16
        return word

    def live(self, name: str, way: str, index: int) -> str:
        """One of the bundles in the table most of the time."""
        names = sorted({b.name for b in self.handles.values() if b.way == way})
        return names[index % len(names)] if names and index % 4 else name

    def bundle(self, name: str, way: str) -> Bundle | None:
        return next((b for b in self.handles.values() if (b.name, b.way) == (name, way)), None)

    def expected_add(self, name: str, way: str, other_key: bool) -> int:
        if not self.enabled(SAS[name]):
            return NOT_SUPPORTED
        if other_key and self.bundle(name, way):
            return INVALID_PARAMETER
        return RESOURCES if len(self.handles) == CAPACITY else SUCCESS

    def added(self, name: str, way: str, handle: int, hi: int) -> None:
        assert handle and handle not in self.handles and handle not in self.dead
        bundle = self.bundle(name, way) or Bundle(name, way, hi)
        bundle.hi = hi
        bundle.handles.add(handle)
        self.handles[handle] = bundle

    def removed(self, handle: int) -> None:
        bundle = self.handles.pop(handle, None)
        if bundle is not None:
            bundle.handles.discard(handle)
            self.dead = [*self.dead[-8:], handle]

    # ------------------------------------------------------------ OIDs

    def issue(self, request: OidRequest, effect: Any) -> None:
        """Issue a direct request; ``effect`` judges its status when it is done, and updates the model."""
        status = self.card.direct_oid_request(request, lambda asked, status: self.complete(asked, status))
        if self.state not in (RUNNING, PAUSED):
            refused = ABORTED if self.state == "resetting" and request.oid != DELETE else NOT_ACCEPTED
            assert status == request.status == refused
        elif self.pending:
            assert status == PENDING
            self.queue.append((request, effect))
        else:
            assert status == request.status
            effect(status)

    def complete(self, request: OidRequest, status: int) -> None:
        at = next(i for i, (queued, _) in enumerate(self.queue) if queued is request)
        _, effect = self.queue.pop(at)
        if status != ABORTED:
            effect(status)

    def node(self, request: SaRequest) -> Any:
        return request.to_add_sa(self.card.abi) if not self.ex else request.to_add_sa_ex(self.card.abi)

    @rule(name=NAMES, way=WHO, other_key=st.sampled_from((False, False, False, True)), hi=st.integers(0, 2))
    def add(self, name: str, way: str, other_key: bool, hi: int) -> None:
        sa = OTHER_KEY[name] if other_key else SAS[name]
        known = self.bundle(name, way)
        hi = (known.hi if known else hi) if sa.esn else 0
        request = wanted(sa, inbound=way == "inbound", seq_hi=[hi])
        memory = self.card.memory
        if self.ex:
            asked = OidRequest.set(memory, EX, self.node(request).to_bytes(), request_id=len(name))
        else:
            asked = OidRequest(ADD, write_list(memory, [self.node(request)])[0], 200, request_id=len(name))
        member: Any = HANDLE_EX if self.ex else HANDLE
        memory.store(asked.address, member, 0xDEAD)

        def effect(status: int) -> None:
            assert status == self.expected_add(name, way, other_key)
            handle = memory.load(asked.address, member)
            assert bool(handle) == (status == SUCCESS)
            if status == SUCCESS and other_key:
                self.card.datapath.delete(handle)  # the model has no packets with this key
            elif status == SUCCESS:
                self.added(name, way, handle, hi)

        self.issue(asked, effect)

    @precondition(lambda self: not self.ex)
    @rule(names=st.lists(NAMES, min_size=1, max_size=6, unique=True), way=WHO)
    def add_list(self, names: list[str], way: str) -> None:
        memory = self.card.memory
        his = [b.hi if (b := self.bundle(n, way)) else 0 for n in names]
        requests = [wanted(SAS[n], inbound=way == "inbound", seq_hi=[hi]) for n, hi in zip(names, his, strict=True)]
        nodes = write_list(memory, [r.to_add_sa(self.card.abi) for r in requests])

        def effect(status: int) -> None:
            statuses = []
            for name, node, hi in zip(names, nodes, his, strict=True):
                statuses.append(self.expected_add(name, way, False))
                handle = memory.load(node, HANDLE)
                assert bool(handle) == (statuses[-1] == SUCCESS)
                if handle:
                    self.added(name, way, handle, hi)
            assert status == (SUCCESS if SUCCESS in statuses else statuses[0])

        self.issue(OidRequest(ADD, nodes[0], 200), effect)

    @rule(request=gen.sa_requests(), data=st.data())
    def add_damaged(self, request: SaRequest, data: Any) -> None:
        """Whatever is wrong with a buffer: a status, and nothing stays behind."""
        memory = self.card.memory
        octets = data.draw(gen.damaged_buffers(self.node(request).to_bytes()))
        if not octets:
            return
        at = memory.allocate(octets)
        length = data.draw(st.sampled_from((len(octets), len(octets), 200, 0, 0xFFFFFFFF)))

        def effect(status: int) -> None:
            assert status in (*AT_ONCE, SUCCESS)
            if status == SUCCESS:
                self.card.datapath.delete(memory.load(at, HANDLE_EX if self.ex else HANDLE))

        self.issue(OidRequest(EX if self.ex else ADD, at, length), effect)

    @rule(index=st.integers(0, 9), unknown=st.booleans())
    def delete(self, index: int, unknown: bool) -> None:
        live = sorted(self.handles)
        handles = [live[index % len(live)]] if live else []
        handles += [(self.dead or [0x7777777])[-1]] if unknown or not handles else []
        nodes = [IPSEC_OFFLOAD_V2_DELETE_SA(self.card.abi, OffloadHandle=h) for h in handles]
        at = write_list(self.card.memory, nodes)[0]

        def effect(status: int) -> None:
            assert status == SUCCESS
            for handle in handles:
                self.removed(handle)

        self.issue(OidRequest(DELETE, at, 100), effect)

    @rule(data=st.data())
    def delete_damaged(self, data: Any) -> None:
        whole = IPSEC_OFFLOAD_V2_DELETE_SA(self.card.abi, OffloadHandle=0x5555).to_bytes()
        octets = data.draw(gen.damaged_buffers(whole)) or b"\0"

        def effect(status: int) -> None:
            assert status in (*AT_ONCE, SUCCESS)

        at = self.card.memory.allocate(octets)
        live = {h.to_bytes(self.card.abi.pointer_len, "little") for h in self.handles}
        if not any(one in octets for one in live):
            self.issue(OidRequest(DELETE, at, len(octets)), effect)

    @rule(index=st.integers(0, 9), wrong=st.integers(0, 3))
    def update(self, index: int, wrong: int) -> None:
        live = sorted(self.handles)
        handle = live[index % len(live)] if live else 0x99
        bundle = self.handles.get(handle)
        sa = SAS[bundle.name] if bundle else SAS["esn"]
        hi = bundle.hi + 1 if bundle else 1
        buffer = IPSEC_OFFLOAD_V2_UPDATE_SA(
            self.card.abi,
            OffloadHandle=handle,
            Operation=1 if (sa.protocol == "ah") != (wrong == 1) else 2,
            Spi=sa.spi + (wrong == 2),
            SequenceNumberHighOrder=hi,
        )

        def effect(status: int) -> None:
            right = handle in self.handles and sa.esn and wrong not in (1, 2) and self.on()
            assert status == (SUCCESS if right else INVALID_PARAMETER)
            if right:
                self.handles[handle].hi = hi

        self.issue(OidRequest.set(self.card.memory, UPDATE, buffer.to_bytes()), effect)

    @rule(n=st.integers(0, 3))
    def poll(self, n: int) -> None:
        self.card.poll(n or None)

    @rule(request_id=st.integers(0, 5))
    def cancel(self, request_id: int) -> None:
        hit = [asked for asked, _ in self.queue if asked.request_id == request_id]
        assert self.card.cancel_direct_oid_request(request_id) == len(hit)
        assert all(asked.status == ABORTED for asked in hit)

    @rule(v4=st.sampled_from((0, 1, 1, 2)), v6=st.sampled_from((0, 1, 1, 2)), kind=st.sampled_from((2, 2, 2, 4)))
    def set_encapsulation(self, v4: int, v6: int, kind: int) -> None:
        before = len(self.told)
        status = encapsulation(self.card, v4, v6, kind)
        if self.state not in (RUNNING, PAUSED):
            assert status == (ABORTED if self.state == "resetting" else NOT_ACCEPTED)
        elif kind == 4 and 1 in (v4, v6):
            assert status == INVALID_PARAMETER and len(self.told) == before
        else:
            assert status == SUCCESS and len(self.told) == before + 1
            self.v4, self.v6 = v4 or self.v4, v6 or self.v6
            self.check_indication()

    @rule(value=st.sampled_from((0, 1, 2, 3, 4, 4, 4, 5)), flags=st.sampled_from((0, 0, 0, 1, 2)))
    def set_parameters(self, value: int, flags: int) -> None:
        before, key = len(self.told), self.registry.get("*IPsecOffloadV2")
        status = parameters(self.card, IPsecV2=value, Flags=flags)
        if self.state not in (RUNNING, PAUSED):
            assert status == (ABORTED if self.state == "resetting" else NOT_ACCEPTED)
        elif value > 4 or flags == 2:
            assert status == INVALID_DATA and len(self.told) == before
        else:
            assert status == SUCCESS and len(self.told) == before + 1
            self.k = value - 1 if value else self.k
            if flags or not value:
                assert self.registry.get("*IPsecOffloadV2") == key
            else:
                now = self.registry.get("*IPsecOffloadV2")
                assert now is not None and now.data == str(value - 1)
            self.check_indication()

    def check_indication(self) -> None:
        assert self.told[-1].status == NdisStatus.NDIS_STATUS_TASK_OFFLOAD_CURRENT_CONFIG
        v2 = NDIS_OFFLOAD.from_bytes(self.told[-1].buffer, self.card.abi).IPsecV2
        assert (v2.Ah, v2.Esp) == (self.on() and bool(self.k & 1), self.on() and bool(self.k & 2))
        assert v2.Tunnel == self.on() and bool(v2.SaOffloadCapacity) == self.on()

    @rule(octets=st.binary(max_size=40), oid=st.sampled_from(list(Oid)))
    def junk(self, octets: bytes, oid: Oid) -> None:
        """Any OID with any bytes on the ordinary path: a status, and a change only where it is SUCCESS."""
        before = self.card.configuration.state
        status = self.card.oid_request(OidRequest.set(self.card.memory, oid, octets))
        assert status != SUCCESS and self.card.configuration.state is before

    # ------------------------------------------------------------ states

    @rule(really=SELDOM)
    def pause_and_restart(self, really: bool) -> None:
        if self.state == RUNNING and really:
            self.card.pause()
            self.state = PAUSED
        elif self.state == PAUSED:
            self.card.restart()
            self.state = RUNNING

    @precondition(lambda self: self.state in (RUNNING, PAUSED))
    @rule(really=SELDOM, reset=st.booleans())
    def go_down(self, really: bool, reset: bool) -> None:
        if really:
            self.back = self.state
            self.end = self.card.begin_reset() if reset else self.card.standby()
            self.state = "resetting" if reset else "standby"

    @precondition(lambda self: self.state in ("resetting", "standby"))
    @rule()
    def come_back(self) -> None:
        was, self.state = self.state, self.back
        self.end()
        assert was == "standby" or not self.queue  # aborted, before it or after it

    @rule(really=SELDOM, surprise=st.booleans(), filled=FILLED)
    def halt_and_begin(self, really: bool, surprise: bool, filled: bool) -> None:
        if not really:
            return
        if surprise or self.state in ("resetting", "standby"):
            self.card.surprise_removal()
            self.state = "removed"
            assert not self.queue
        elif self.state == RUNNING:
            self.card.pause()
        self.state = "halted"
        self.card.halt()
        assert not self.queue and not len(self.card.datapath) and self.card.state is AdapterState.HALTED
        self.handles.clear()
        self.dead.clear()
        self.begin(filled)

    # ------------------------------------------------------------ always

    @invariant()
    def same_table(self) -> None:
        if hasattr(self, "card"):
            assert len(self.card.datapath) == len(self.handles) <= CAPACITY
            assert self.card.pending == len(self.queue)
