"""Transcripts: everything that went into a card and came out of it, in a file that can be played again.

A transcript is a text file of JSON objects, one a line.  The first says what the card is; each further one is a call
with what it was given and what came back: OID requests with every piece of memory that the card read and wrote,
sends and receives with frames and words, indications, changes of state.  Random bytes that the card drew are in it as
well, so that a replay gives the same IVs; one that gives anything else than what was recorded raises ReplayError.

**A transcript holds keys and plaintext: handle it as a secret.**  :func:`redact` writes a copy without both, to be read
but not to be played.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from ..core._batch import PacketBatch
from ..errors import IpsecError
from .adapter import Miniport, OnComplete, OnReceive, ProtocolBinding
from .completion import Completion
from .config import StatusIndication
from .constants import NdisStatus
from .datapath import DatapathOptions, ReceiveResult, SendResult
from .errors import MemoryFault
from .faults import Faults
from .hardware import Checksum, HardwareProfile, IPsecV1, IPsecV2, Lso
from .memory import Memory
from .nbl import NblBatch
from .oid import OidRequest
from .options import Options
from .registry import Registry
from .structs import NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES, Abi

__all__ = ["Recorder", "ReplayError", "Replayed", "redact", "replay"]

FORMAT = "ipsecfast NDIS transcript 1"
Json = dict[str, Any]
_PARTS = {"ipsec_v1": IPsecV1, "ipsec_v2": IPsecV2, "lso_v1": Lso, "lso_v2_ipv4": Lso, "lso_v2_ipv6": Lso}
_STATES = ("restart", "pause", "halt", "surprise_removal", "reset")  # a whole reset is in older transcripts
_ENDS = {"begin_reset": "end_reset", "standby": "resume"}  # what begins, and what ends it


class ReplayError(IpsecError):
    """A transcript that can't be read or played, or a replay that differs; one line."""


class Replayed(NamedTuple):
    """How many calls of a transcript were played, with the same results."""

    calls: int
    oids: int
    sends: int
    receives: int


class _TracingMemory(Memory):
    """Memory that notes what is read and written in it while there is a list for that: while the card is at work."""

    def __init__(self, abi: str) -> None:
        super().__init__(abi)
        self.entries: list[Json] | None = None

    def read(self, address: int, length: int | None = None) -> bytes:
        entry: Json = {"read": address, "length": length}
        if self.entries is not None:
            self.entries.append(entry)
        try:
            octets = super().read(address, length)
        except MemoryFault as fault:
            entry["fault"] = int(fault.status)
            raise
        entry["got"] = _text(octets)
        return octets

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        entry: Json = {"write": address, "data": _text(bytes(data))}
        if self.entries is not None:
            self.entries.append(entry)
        try:
            super().write(address, data)
        except MemoryFault as fault:
            entry["fault"] = int(fault.status)
            raise


class _ScriptedMemory(Memory):
    """Memory that gives a card what it read when it was recorded, and wants it to write what it wrote."""

    def __init__(self, abi: str) -> None:
        super().__init__(abi)
        self.script: deque[Json] = deque()

    def read(self, address: int, length: int | None = None) -> bytes:
        entry = self._recorded({"read": address, "length": length})
        octets: bytes = _octets(entry["got"])
        return octets

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self._recorded({"write": address, "data": _text(bytes(data))})

    def _recorded(self, wanted: Json) -> Json:
        entry = self.script.popleft() if self.script else {}
        if {k: v for k, v in entry.items() if k not in ("got", "fault")} != wanted:
            raise ReplayError(f"memory: the card does {_shown(wanted)}, recorded was {_shown(entry)}")
        if "fault" in entry:
            raise MemoryFault(NdisStatus(entry["fault"]), "as recorded")
        return entry


class Recorder(Miniport):
    """A card whose calls are written to a transcript; in all else it is a :class:`Miniport`.

    Parameters
    ----------
    path : the file to write; it is readable for its owner alone, for it holds keys.
    profile, registry, ndis, **fields : as of :class:`Miniport`.  ``iv_generator`` may be given; without it the
        operating system's generator serves.

    Calls are recorded one after the other: a second thread waits.  Raises FileExistsError for a file that is there.
    """

    def __init__(
        self,
        path: str | Path,
        profile: HardwareProfile,
        registry: Registry | None = None,
        ndis: str = "6.30",
        *,
        abi: str = Abi.X64,
        datapath_options: DatapathOptions | None = None,
        **fields_: Any,
    ) -> None:
        given = datapath_options or DatapathOptions()
        self._draw = given.iv_generator or os.urandom
        self._told: list[Json] = []
        self._drawn: list[str] = []
        self._entries: list[Json | None] = []
        self._calls = threading.RLock()
        self._trace = _TracingMemory(abi)
        super().__init__(
            profile,
            registry,
            ndis,
            abi=abi,
            datapath_options=replace(given, iv_generator=self._random),
            memory=self._trace,
            **fields_,
        )
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: TextIO = os.fdopen(fd, "w", encoding="utf-8")
        self._write(
            {
                "format": FORMAT,
                "profile": asdict(profile),
                "registry": [[v.name, v.data] for v in self.registry if v.data is not None],
                "ndis": str(self.ndis),
                "abi": str(abi),
                "options": {**asdict(self.options), "salt": _text(self.options.salt)},
                "datapath_options": {f.name: getattr(given, f.name) for f in fields(given) if f.name != "iv_generator"},
                "provider": self.provider,
                "faults": {f.name: getattr(self.faults, f.name) for f in fields(Faults) if f.compare},
            }
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _random(self, n: int) -> bytes:
        octets = self._draw(n)
        self._drawn.append(_text(octets))
        return octets

    def _write(self, entry: Json) -> None:
        self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")

    def _record(self, entry: Json, do: Callable[[], Any], result: Callable[[Any], Json]) -> Any:
        """Do a call and write its entry; calls that its callbacks make come behind it, where a replay does them."""
        with self._calls:
            outer = self._drawn, self._told, self._trace.entries
            self._drawn, self._told, self._trace.entries = [], [], []
            at = len(self._entries)
            self._entries.append(None)
            try:
                got = do()
                noted = {"memory": self._trace.entries, "random": self._drawn, "indications": self._told}
                self._entries[at] = {**entry, **result(got), **noted}
            finally:
                self._drawn, self._told, self._trace.entries = outer
                if not at:
                    for done in self._entries:
                        if done is not None:
                            self._write(done)
                    self._entries.clear()
            return got

    def _outside(self, callback: Callable[..., None] | None) -> Callable[..., None] | None:
        """A callback in which the card is not at work."""
        if callback is None:
            return None

        def call(*given: Any) -> None:
            entries, self._trace.entries = self._trace.entries, None
            try:
                callback(*given)
            finally:
                self._trace.entries = entries

        return call

    def _plain(self, call: str, do: Callable[[], Any]) -> Any:
        return self._record({"call": call}, do, lambda _: {})

    def bind(
        self,
        status: Callable[[StatusIndication], None] | None = None,
        receive: OnReceive | None = None,
        **members: Any,
    ) -> ProtocolBinding:
        return super().bind(self._outside(status), self._outside(receive), **members)

    def initialize(self) -> NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES:
        made: NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES = self._plain("initialize", self._initialize)
        return made

    def _initialize(self) -> NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES:
        attributes = super().initialize()
        super().bind(lambda indication: self._told.append(_indication(indication)))
        return attributes

    def restart(self) -> None:
        self._plain("restart", super().restart)

    def pause(self) -> None:
        self._plain("pause", super().pause)

    def halt(self) -> None:
        self._plain("halt", super().halt)

    def reset(self) -> None:
        self.begin_reset()()

    def surprise_removal(self) -> None:
        self._plain("surprise_removal", super().surprise_removal)

    def begin_reset(self) -> Callable[[], None]:
        end: Callable[[], None] = self._plain("begin_reset", super().begin_reset)
        return lambda: self._plain("end_reset", end)

    def standby(self) -> Callable[[], None]:
        resume: Callable[[], None] = self._plain("standby", super().standby)
        return lambda: self._plain("resume", resume)

    def change_hardware(self, profile: HardwareProfile) -> None:
        entry, do = {"call": "change_hardware", "profile": asdict(profile)}, super().change_hardware
        self._record(entry, lambda: do(profile), lambda _: {})

    def oid_request(self, request: OidRequest | int) -> int:
        entry = {"call": "oid_request", "request": _asked(request)}
        status: int = self._record(entry, lambda: super(Recorder, self).oid_request(request), _status)
        return status

    def direct_oid_request(self, request: OidRequest | int, on_complete: OnComplete | None = None) -> int:
        entry = {"call": "direct_oid_request", "request": _asked(request)}
        do = super().direct_oid_request
        status: int = self._record(entry, lambda: do(request, self._outside(on_complete)), _status)
        return status

    def poll(self, n: int | None = None) -> int:
        do = super().poll
        done: int = self._record({"call": "poll", "n": n}, lambda: do(n), _status)
        return done

    def cancel_direct_oid_request(self, request_id: int) -> int:
        entry: Json = {"call": "cancel_direct_oid_request", "request_id": request_id}
        do = super().cancel_direct_oid_request
        done: int = self._record(entry, lambda: do(request_id), _status)
        return done

    def send(self, nbls: NblBatch) -> SendResult | Completion:
        entry, do = {"call": "send", "in": _batch(nbls)}, super().send
        sent: SendResult | Completion = self._record(entry, lambda: do(nbls), lambda r: _sent(r, nbls))
        return sent

    def receive(self, nbls: NblBatch) -> ReceiveResult | None:
        entry, do = {"call": "receive", "in": _batch(nbls)}, super().receive
        got: ReceiveResult | None = self._record(entry, lambda: do(nbls), lambda r: _got(r, nbls))
        return got


def replay(path: str | Path, provider: str | None = None) -> Replayed:
    """Make the recorded card anew, do every call again, and compare everything that comes back.

    ``provider``: another crypto library than the one recorded.
    Raises ReplayError: for the first difference, for a damaged or a redacted transcript.
    """
    lines = _lines(path)
    first = next(lines)
    if first.get("redacted"):
        raise ReplayError(f"{path}:1: is redacted: without keys it can't be played")
    drawn: deque[bytes] = deque()
    told: list[Json] = []
    memory = _ScriptedMemory(first["abi"])
    given = DatapathOptions(**first["datapath_options"])
    card = Miniport(
        _profile(first["profile"]),
        Registry(dict(first["registry"])),
        first["ndis"],
        abi=first["abi"],
        options=Options(**{**first["options"], "salt": _octets(first["options"]["salt"])}),
        datapath_options=replace(given, iv_generator=lambda n: drawn.popleft() if drawn else bytes(n)),
        provider=provider or first["provider"],
        memory=memory,
        faults=Faults(**first["faults"]),
    )
    ends: dict[str, Callable[[], None]] = {}
    counts = {"oid_request": 0, "direct_oid_request": 0, "send": 0, "receive": 0}
    n = 0
    for n, entry in enumerate(lines, 1):
        drawn.extend(_octets(text) for text in entry["random"])
        memory.script.extend(entry["memory"])
        told.clear()
        try:
            result = _play(card, entry, told, ends)
        except ReplayError as error:
            raise ReplayError(f"{path}:{n + 1}: {entry['call']}: {error}") from None
        except (KeyError, TypeError, ValueError, RuntimeError) as error:  # damaged, or a call that is refused now
            raise ReplayError(f"{path}:{n + 1}: {entry['call']} can't be played: {type(error).__name__}") from None
        recorded = {key: entry[key] for key in result}
        recorded["indications"] = entry["indications"]
        if {**result, "indications": told} != recorded or memory.script or drawn:
            raise ReplayError(f"{path}:{n + 1}: {entry['call']} gives something else than what was recorded")
        if entry["call"] in counts:
            counts[entry["call"]] += 1
    return Replayed(n, counts["oid_request"] + counts["direct_oid_request"], counts["send"], counts["receive"])


def _play(card: Miniport, entry: Json, told: list[Json], ends: dict[str, Callable[[], None]]) -> Json:
    """Do a call again; ``ends``: what ends a reset or a standby that has begun, by its name."""
    call = entry["call"]
    if call in _STATES:
        getattr(card, call)()
        return {}
    if call in _ENDS:
        ends[_ENDS[call]] = getattr(card, call)()
        return {}
    if call in ends:
        ends.pop(call)()
        return {}
    if call == "change_hardware":
        card.change_hardware(_profile(entry["profile"]))
        return {}
    if call == "initialize":
        card.initialize()
        card.bind(lambda indication: told.append(_indication(indication)))
        return {}
    if call in ("oid_request", "direct_oid_request"):
        request = entry["request"] if isinstance(entry["request"], int) else OidRequest(**entry["request"])
        return _status(getattr(card, call)(request))
    if call == "poll":
        return _status(card.poll(entry["n"]))
    if call == "cancel_direct_oid_request":
        return _status(card.cancel_direct_oid_request(entry["request_id"]))
    if call not in ("send", "receive"):
        raise ReplayError("no such call, or not at this place")
    nbls = _made(entry["in"])
    return _sent(card.send(nbls), nbls) if call == "send" else _got(card.receive(nbls), nbls)


def redact(source: str | Path, target: str | Path) -> int:
    """Copy a transcript without keys, random bytes and frames: what is left are calls, statuses, words and lengths.

    Returns the number of calls.  Raises ReplayError for a damaged transcript, FileExistsError.
    """
    n = 0
    with open(target, "x", encoding="utf-8") as out:
        for n, entry in enumerate(_lines(source)):
            kept = {key: value for key, value in entry.items() if key not in ("random", "memory")}
            if not n:
                kept |= {"redacted": True}
                kept["options"] = {**kept["options"], "salt": ""}
            for key in ("in", "out"):
                if key in kept:
                    kept[key] = {**kept[key], "frames": [len(_octets(frame)) for frame in kept[key]["frames"]]}
            out.write(json.dumps(kept, separators=(",", ":")) + "\n")
    return n


def _lines(path: str | Path) -> Iterator[Json]:
    with open(path, encoding="utf-8") as file:
        for n, line in enumerate(file, 1):
            try:
                entry = json.loads(line)
            except ValueError:
                raise ReplayError(f"{path}:{n}: is no line of a transcript") from None
            if (
                not isinstance(entry, dict)
                or (n == 1 and entry.get("format") != FORMAT)
                or (n > 1 and "call" not in entry)
            ):
                raise ReplayError(f"{path}:{n}: is no line of a transcript")
            yield entry
        if not os.fstat(file.fileno()).st_size:
            raise ReplayError(f"{path}:1: is no line of a transcript")


def _profile(stated: Json) -> HardwareProfile:
    made = dict(stated)
    for name, value in stated.items():
        if isinstance(value, dict):
            made[name] = _PARTS.get(name, Checksum)(**value)
    return HardwareProfile(**made)


def _asked(request: OidRequest | int) -> Json | int:
    if isinstance(request, int):
        return request
    return {name: int(getattr(request, name)) for name in ("oid", "address", "length", "type", "request_id", "source")}


def _indication(indication: StatusIndication) -> Json:
    return {"status": int(indication.status), "buffer": _text(indication.buffer)}


def _status(got: int) -> Json:
    return {"result": int(got)}


def _batch(nbls: NblBatch) -> Json:
    return {
        "frames": [_text(frame) for frame in nbls.frames.to_packets()],
        "first": None if nbls.first is None else nbls.first.tolist(),
        "medium": nbls.medium,
        "oob": nbls.oob.tolist(),
    }


def _made(stated: Json) -> NblBatch:
    frames = PacketBatch.from_packets([_octets(frame) for frame in stated["frames"]], 0, 16)
    nbls = NblBatch(frames, stated["first"], stated["medium"])
    nbls.oob[:] = np.array(stated["oob"], np.uint64).reshape(nbls.oob.shape)
    return nbls


def _sent(result: SendResult | Completion, nbls: NblBatch) -> Json:
    frames = [_text(frame) for frame in result.transmitted.to_packets()]
    words = nbls.large_send.tolist()
    return {"out": {"frames": frames, "nbl": result.nbl.tolist(), "status": result.status.tolist(), "words": words}}


def _got(result: ReceiveResult | None, nbls: NblBatch) -> Json:
    if result is None:
        return {"out": {"frames": [], "oob": None}}
    return {"out": {"frames": [_text(f) for f in nbls.frames.to_packets()], "oob": nbls.oob.tolist()}}


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _octets(text: str) -> bytes:
    return base64.b64decode(text)


def _shown(entry: Json) -> str:
    """An entry without its bytes, which may be keys."""
    return str({key: value for key, value in entry.items() if key not in ("data", "got")})
