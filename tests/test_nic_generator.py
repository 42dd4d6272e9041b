"""A generator of IVs must not call the card that it makes them for; other cards it may, and other threads wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import ipv4
from nic_cards import CBC, GCM, INNER, esp_frame
from nic_host import FAILURE, SUCCESS, esp4, frame, lists
from nic_large import STREAM, V2, large, tcp_offset
from nic_oids import add, card, delete, encapsulation, parameters, small

from ipsecfast.ndis import Datapath, DatapathCapabilities, DatapathOptions, Miniport, NblBatch

CALLS = "iv_generator: it calls the card"


class Generator:
    """Zeros that count up; ``call`` is made in the middle of the next draw."""

    def __init__(self) -> None:
        self.call: Callable[[], Any] | None = None
        self.caught: list[BaseException] = []
        self.swallow = False
        self.n = 0

    def __call__(self, n: int) -> bytes:
        self.n += 1
        call, self.call = self.call, None
        if call is not None:
            try:
                call()
            except RuntimeError as error:
                self.caught.append(error)
                if not self.swallow:
                    raise
        return bytes((self.n + i) & 0xFF for i in range(n))


DATAPATH_CALLS: dict[str, Callable[[Datapath, int], Any]] = {
    "send": lambda nic, handle: nic.send(lists([[esp_frame(CBC, seq=9)]], ipsec=handle)),
    "receive": lambda nic, handle: nic.receive(NblBatch.from_frames([esp4(GCM)])),
    "add_bundle": lambda nic, handle: nic.add_bundle("outbound", [GCM]),
    "add again": lambda nic, handle: nic.add_bundle("outbound", [CBC]),
    "delete": lambda nic, handle: nic.delete(handle),
    "clear": lambda nic, handle: nic.clear(),
    "update": lambda nic, handle: nic.update(handle, "esp", CBC.spi, 1),
    "configure": lambda nic, handle: nic.configure(DatapathCapabilities(esp=False)),
    "request_deletion": lambda nic, handle: nic.request_deletion(handle),
    "statistics": lambda nic, handle: nic.statistics(handle),
}


@pytest.mark.parametrize("swallow", [False, True])
@pytest.mark.parametrize("name", DATAPATH_CALLS)
def test_iv_generator_that_calls_its_card(name: str, swallow: bool) -> None:
    """Both calls raise, nothing of the inner one is done, and the card works on."""
    generator = Generator()
    nic = Datapath(DatapathOptions(iv_generator=generator), capacity=4)
    handle = nic.add_bundle("outbound", [CBC])
    generator.swallow = swallow
    generator.call = lambda: DATAPATH_CALLS[name](nic, handle)
    with pytest.raises(RuntimeError, match=CALLS):
        nic.send(lists([[esp_frame(CBC)]], ipsec=handle))
    (error,) = generator.caught
    assert CALLS in str(error)
    assert len(nic) == 1 and nic.capabilities.esp
    assert nic.send(lists([[esp_frame(CBC, seq=9)]], ipsec=handle)).status.tolist() == [SUCCESS]


def test_iv_generator_that_calls_its_card_in_an_add() -> None:
    generator = Generator()
    nic = Datapath(DatapathOptions(iv_generator=generator), capacity=4)
    generator.call = lambda: nic.add_bundle("outbound", [GCM])
    with pytest.raises(RuntimeError, match=CALLS):
        nic.add_bundle("outbound", [CBC])
    assert len(nic) == 0
    assert nic.add_bundle("outbound", [CBC]) and nic.add_bundle("outbound", [GCM])


def test_iv_generator_that_calls_its_card_in_a_large_send() -> None:
    generator = Generator()
    nic = Datapath(DatapathOptions(iv_generator=generator), capacity=4)
    handle = nic.add_bundle("outbound", [INNER])
    generator.call = lambda: nic.clear()
    batch = lists([[large(4, INNER, STREAM[:5000])]], ipsec=handle, header=6)
    batch.large_send[:] = 1400 | tcp_offset(4, INNER) << 20 | V2
    with pytest.raises(RuntimeError, match=CALLS):
        nic.send(batch)
    assert len(nic) == 1


CARD_CALLS: dict[str, Callable[[Miniport], Any]] = {
    "send": lambda made: made.send(NblBatch.from_frames([frame(ipv4())])),
    "receive": lambda made: made.receive(NblBatch.from_frames([frame(ipv4())])),
    "pause": lambda made: made.pause(),
    "reset": lambda made: made.reset(),
    "standby": lambda made: made.standby(),
    "surprise_removal": lambda made: made.surprise_removal(),
    "parameters": lambda made: parameters(made, IPsecV2=1),
    "encapsulation": lambda made: encapsulation(made, 2, 2),
    "add": lambda made: add(made, GCM),
    "delete": lambda made: delete(made, 1),
    "change_hardware": lambda made: made.change_hardware(small(4, esn=False)),
}


@pytest.mark.parametrize("name", CARD_CALLS)
def test_iv_generator_that_calls_its_adapter(name: str) -> None:
    """No state is waited for that can't come, and no half of a configuration taken over."""
    generator = Generator()
    made = card(hardware=small(4), datapath_options=DatapathOptions(iv_generator=generator))
    handle = add(made, CBC, inbound=False)
    state, before = made.state, made.configuration.state
    generator.call = lambda: CARD_CALLS[name](made)
    with pytest.raises(RuntimeError, match=CALLS):
        made.send(lists([[esp_frame(CBC)]], ipsec=handle))
    assert made.state is state and made.configuration.state is before and len(made.datapath) == 1
    assert made.send(lists([[esp_frame(CBC, seq=2)]], ipsec=handle)).status.tolist() == [SUCCESS]
    made.pause()
    made.halt()
    made.initialize()  # another life, the same guard
    made.restart()
    handle = add(made, CBC, inbound=False)
    generator.call = lambda: CARD_CALLS[name](made)
    with pytest.raises(RuntimeError, match=CALLS):
        made.send(lists([[esp_frame(CBC)] for _ in range(600)], ipsec=handle))


def test_iv_generator_that_calls_its_adapter_in_add_sa() -> None:
    generator = Generator()
    made = card(hardware=small(4), datapath_options=DatapathOptions(iv_generator=generator))
    generator.call = lambda: encapsulation(made, 2, 2)
    with pytest.raises(RuntimeError, match=CALLS):
        add(made, CBC, inbound=False)
    assert not len(made.datapath) and add(made, CBC, inbound=False)


def test_iv_generator_may_call_another_card() -> None:
    inner = Datapath(capacity=4)
    other = inner.add_bundle("outbound", [GCM])
    generator = Generator()
    nic = Datapath(DatapathOptions(iv_generator=generator), capacity=4)
    handle = nic.add_bundle("outbound", [CBC])
    generator.call = lambda: inner.send(lists([[esp_frame(GCM)]], ipsec=other))
    assert nic.send(lists([[esp_frame(CBC)]], ipsec=handle)).status.tolist() == [SUCCESS]
    assert not generator.caught and inner.statistics(other)[0].packets == 1


def test_an_error_of_the_generators_own_still_fails_the_send() -> None:
    def fails(n: int) -> bytes:
        if n > 8:
            raise RuntimeError("no more entropy")
        return bytes(n)

    nic = Datapath(DatapathOptions(iv_generator=fails), capacity=4)
    handle = nic.add_bundle("outbound", [CBC])
    assert nic.send(lists([[esp_frame(CBC)]], ipsec=handle)).status.tolist() == [FAILURE]


def test_another_thread_waits_while_the_generator_runs() -> None:
    """It has nothing to do with it, as far as can be seen: it is served when the card is free, and does not fail."""
    generator = Generator()
    nic = Datapath(DatapathOptions(iv_generator=generator), capacity=4)
    handle = nic.add_bundle("outbound", [CBC])
    served: list[int] = []
    other = threading.Thread(target=lambda: served.append(nic.statistics(handle)[0].packets))

    def call() -> None:
        other.start()
        other.join(0.2)
        assert other.is_alive() and not served

    generator.call = call
    assert nic.send(lists([[esp_frame(CBC)]], ipsec=handle)).status.tolist() == [SUCCESS]
    other.join()
    assert served == [1] and not generator.caught
