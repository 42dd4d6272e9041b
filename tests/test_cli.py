"""The command line on real captures: what it writes, counts, refuses, and how it ends."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import capture_model as model
import pytest

from ipsecfast.capture import ChunkBuffer
from ipsecfast.cli import main
from ipsecfast.cli.decryption import Decryption
from ipsecfast.cli.job import convert
from ipsecfast.cli.options import Options
from ipsecfast.cli.terminal import Interrupted, ended_by_signals

CAPTURE = model.DEMO / "demo.pcap"
KEYS = model.DEMO / "demo.keys.json"
SAS = json.loads(KEYS.read_text())
HEADERS_AND_PACKETS = model.read_pcap(CAPTURE.read_bytes())[1]
PATIENCE = 60  # seconds in which a command must have got somewhere, also on a machine with much else to do


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *args: object) -> tuple[int, str, str]:
    status = main([str(a) for a in args])
    out, err = capsys.readouterr()
    return status, out, err


def decrypt(capsys, *args: object, keys: object = KEYS) -> tuple[int, str, str]:
    return run(capsys, "decrypt", *args, "--keys", keys)


def only_line(err: str) -> str:
    assert err.startswith("ipsecfast: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


def demo_frames() -> list[model.Frame]:
    return [model.Frame(data[:14], data[14:], seconds=s, nanos=us * 1000) for s, us, data, _ in HEADERS_AND_PACKETS]


def test_decrypt_the_demo_capture(capsys, folder):
    status, out, err = decrypt(capsys, CAPTURE, "-o", "out.pcap", "--json")
    said = json.loads(out)
    assert status == 0 and os.listdir(folder) == ["out.pcap"]
    assert said["packets"] == len(HEADERS_AND_PACKETS) and said["decrypted"] == said["statuses"]["OK"] == 80
    assert [sa["spi"] for sa in said["sas"]] == [sa["spi"] for sa in SAS]
    assert [sa["src"] for sa in said["sas"]] == [sa["src"] for sa in SAS]
    assert all(sa["packets"] == sa["statuses"]["OK"] == 10 for sa in said["sas"])
    assert err.count("OK 10") == 8 and "80 packets, 80 decrypted" in err
    before = CAPTURE.read_bytes()
    after = Path("out.pcap").read_bytes()
    assert after[:24] == before[:24]
    link_type, frames = model.read_pcap(after)
    assert link_type == 1 and len(frames) == len(HEADERS_AND_PACKETS)
    for (s0, f0, old, _), (s1, f1, new, wire) in zip(HEADERS_AND_PACKETS, frames, strict=True):
        assert (s0, f0, old[:14]) == (s1, f1, new[:14]) and wire == len(new) < len(old)
        assert new[14 + 9] == 17 and len(new) - 14 == int.from_bytes(new[16:18], "big")  # UDP, nothing behind it


def test_demo_command(capsys, folder):
    status, out, err = run(capsys, "demo")
    assert status == 0 and not out
    assert "80 packets, 80 decrypted" in err and "ipsecfast-demo.pcap" in err
    decrypt(capsys, CAPTURE, "-o", "out.pcap")
    assert Path("ipsecfast-demo.pcap").read_bytes() == Path("out.pcap").read_bytes()


def test_info_command(capsys):
    status, out, _ = run(capsys, "info")
    assert status == 0 and out.startswith("ipsecfast ")
    assert all(name in out for name in ("ipsec-mb", "libcrypto", "reference", "AES-GCM-128", "CPU path"))


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["decrypt", "--help"], ["demo", "--help"], ["info", "--help"]]
)
def test_help(capsys, args):
    status, out, err = run(capsys, *args)
    assert status == 0 and out and not err


def test_decrypt_loads_only_what_it_needs():
    code = "import sys; from ipsecfast.cli import main; main(sys.argv[1:]); print(*sys.modules, sep='\\n')"
    args = ["decrypt", str(CAPTURE), "--keys", str(KEYS), "-q", "-o", "out.pcap"]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "ipsecfast.cli.decryption" in loaded
    assert not {"ipsecfast.ndis", "ipsecfast.reference", "Crypto", "numpy.ma"}.intersection(loaded)


def test_every_file_type_gives_the_same_packets(capsys):
    frames = demo_frames()
    decrypt(capsys, CAPTURE, "-o", "want.pcap")
    want = [r[2] for r in model.read_pcap(Path("want.pcap").read_bytes())[1]]
    for big in (False, True):
        for nanos in (False, True):
            Path("in").write_bytes(model.pcap(frames, big, nanos))
            assert decrypt(capsys, "in", "-o", "out")[0] == 0
            got = Path("out").read_bytes()
            assert [r[2] for r in model.read_pcap(got)[1]] == want and got[:24] == Path("in").read_bytes()[:24]
        head = model.section(big) + model.interface(1, big)
        Path("in").write_bytes(gzip.compress(head + b"".join(model.packet_block(f, big=big) for f in frames)))
        assert decrypt(capsys, "in", "-o", "out")[0] == 0
        new = [model.Frame(w[:14], w[14:], seconds=f.seconds, nanos=f.nanos) for f, w in zip(frames, want, strict=True)]
        assert Path("out").read_bytes() == head + b"".join(model.packet_block(f, big=big) for f in new)


def test_link_types_and_padding(capsys):
    frames = demo_frames()
    decrypt(capsys, CAPTURE, "-o", "want.pcap")
    want = [r[2][14:] for r in model.read_pcap(Path("want.pcap").read_bytes())[1]]
    links = {
        1: bytes(12) + b"\x81\0\0\x05\x88\xa8\0\x06\x08\0",
        101: b"",
        113: bytes(14) + b"\x08\0",
        276: b"\x08\0" + bytes(18),
        0: b"\2\0\0\0",
        108: b"\0\0\0\2",
        228: b"",
    }
    for link_type, link in links.items():
        packets = [model.Frame(link, f.packet, trailer=bytes(7)) for f in frames]
        Path("in").write_bytes(model.pcap(packets, link_type=link_type))
        assert decrypt(capsys, "in", "-o", "out")[0] == 0
        assert Path("out").read_bytes() == model.pcap([model.Frame(link, w) for w in want], link_type=link_type)


def test_what_does_not_decrypt_is_copied(capsys):
    data = bytearray(CAPTURE.read_bytes())
    first = 24 + 16
    data[24 + 16 + len(HEADERS_AND_PACKETS[0][2]) - 1] ^= 1  # the last byte of the first packet's ICV
    Path("in").write_bytes(data)
    keys = SAS[:7]
    Path("keys.json").write_text(json.dumps(keys))
    arp = model.pcap_record(model.Frame(bytes(12) + b"\x08\x06", bytes(28)))
    Path("in").write_bytes(bytes(data) + model.pcap_record(demo_frames()[1]) + arp)
    status, out, err = decrypt(capsys, "in", "-o", "out", "--json", keys="keys.json")
    said = json.loads(out)
    assert status == 0
    assert said["statuses"] == {"OK": 69, "NOT_IPSEC": 1, "NO_SA": 10, "AUTH_FAILED": 1, "REPLAYED": 1}
    assert said["packets"] == 82 and said["decrypted"] == 69
    assert said["unknown_spis"] == [{"spi": SAS[7]["spi"], "packets": 10}]
    assert f"no SA for SPI 0x{SAS[7]['spi']:08x} (10)" in err
    after, before = model.read_pcap(Path("out").read_bytes())[1], model.read_pcap(Path("in").read_bytes())[1]
    assert bytes(data[first : first + 60]) == before[0][2][:60] == after[0][2][:60]
    same = [a[2] == b[2] for a, b in zip(after, before, strict=True)]
    assert same.count(True) == 13 and same[0] and same[-1] and same[-2]


def test_strict(capsys):
    assert decrypt(capsys, CAPTURE, "-o", "out", "--strict")[0] == 0
    Path("keys.json").write_text(json.dumps(SAS[1:]))
    assert decrypt(capsys, CAPTURE, "-o", "out", "--strict", keys="keys.json")[0] == 1
    assert decrypt(capsys, CAPTURE, "-o", "out", keys="keys.json")[0] == 0
    Path("in").write_bytes(model.pcap([model.Frame(bytes(12) + b"\x08\x06", bytes(28))]))
    assert decrypt(capsys, "in", "-o", "out", "--strict")[0] == 0


def test_quiet(capsys):
    assert decrypt(capsys, CAPTURE, "-o", "out", "-q") == (0, "", "")


def test_an_sa_without_packets_is_listed(capsys):
    Path("in").write_bytes(model.pcap([]))
    status, out, _ = decrypt(capsys, "in", "-o", "out", "--json")
    said = json.loads(out)
    assert status == 0 and said["packets"] == said["decrypted"] == said["statuses"]["OK"] == 0
    assert len(said["sas"]) == 8 and all(sa["packets"] == 0 for sa in said["sas"])


@pytest.mark.parametrize("provider", ["ipsec-mb", "libcrypto", "reference"])
def test_providers(capsys, provider):
    from ipsecfast import providers

    info = next(p for p in providers() if p.name == provider)
    if not info.available:
        pytest.skip(f"provider {provider}: {info.message}")
    assert "80 decrypted" in decrypt(capsys, CAPTURE, "-o", "out", "--provider", provider)[2]


def test_a_cut_capture_keeps_what_was_read(capsys):
    whole = CAPTURE.read_bytes()
    for cut in (24 + 5, 5000, len(whole) - 1):
        Path("in").write_bytes(whole[:cut])
        status, out, err = decrypt(capsys, "in", "-o", "out", "--json")
        assert status == 2 and "ends in the middle of a packet" in only_line(err.splitlines(True)[-1])
        got = model.read_pcap(Path("out").read_bytes())[1]
        assert len(got) == json.loads(out)["packets"] == json.loads(out)["decrypted"]
    assert len(got) == 79


def test_several_captures_share_the_windows(capsys):
    whole = CAPTURE.read_bytes()
    first = next(k for k in range(24, len(whole)) if len(_whole_records(whole[:k])) == 40)
    Path("one").write_bytes(whole[:first])
    Path("two").write_bytes(whole[:24] + whole[first:])
    decrypt(capsys, CAPTURE, "-o", "want")
    status, _, _ = decrypt(capsys, "one", "two", "-o", "out")
    assert status == 0 and Path("out").read_bytes() == Path("want").read_bytes()
    _, out, _ = decrypt(capsys, "one", "two", "one", "-o", "out", "--json")
    assert json.loads(out)["statuses"] == {"OK": 80, "REPLAYED": 40}


@pytest.mark.parametrize("name", ["out.pcap", "out.pcap.gz"])
def test_jobs_change_nothing(capsys, folder, name):
    """A capture of many chunks, so that writing is behind."""
    Path("many").write_bytes(model.pcap(demo_frames() * 600))
    results = []
    for jobs in (1, 2, 4):
        done = decrypt(capsys, "many", "-o", name, "--json", "--jobs", jobs)
        data = Path(name).read_bytes()
        results.append((done[0], done[1], gzip.decompress(data) if name.endswith("gz") else data))
    assert results[0] == results[1] == results[2]
    assert sorted(os.listdir()) == sorted(["many", name])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_while_writing_behind(capsys, folder, monkeypatch):
    """The error comes with a later chunk, as one line, and nothing is left."""
    Path("many").write_bytes(model.pcap(demo_frames() * 600))
    full = os.open("/dev/full", os.O_WRONLY)
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, data: write(full, data))
        status, out, err = decrypt(capsys, "many", "-o", "out", "--jobs", "2")
    os.close(full)
    assert (status, out) == (2, "") and "can't be written: No space left" in only_line(err)
    assert os.listdir() == ["many"]


def _whole_records(data: bytes) -> list[int]:
    at, out = 24, []
    while at + 16 <= len(data):
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
        if at <= len(data):
            out.append(at)
    return out


def test_key_files_with_the_same_sas(capsys):
    Path("again.json").write_text(json.dumps(SAS))
    status, out, _ = run(capsys, "decrypt", CAPTURE, "--keys", KEYS, "again.json", "-o", "out", "--json")
    assert status == 0 and len(json.loads(out)["sas"]) == 8
    Path("again.json").write_text(json.dumps([{**SAS[0], "replay_window": 0}, *SAS[1:]]))
    assert run(capsys, "decrypt", CAPTURE, "--keys", "again.json", "--keys", KEYS, "-o", "out")[0] == 0
    Path("again.json").write_text(json.dumps([{**SAS[0], "enc_key": "00" * 16}]))
    status, _, err = run(capsys, "decrypt", CAPTURE, "--keys", KEYS, "again.json", "-o", "out2")
    assert status == 2 and "another SA" in only_line(err) and "again.json" in err and KEYS.name in err
    assert SAS[0]["enc_key"] not in err and not Path("out2").exists()
    status, _, err = run(capsys, "decrypt", CAPTURE, "--keys", KEYS, "again.json", "-o", "out2", "--skip-bad-keys")
    assert status == 0 and "warning" in err and "80 decrypted" in err


def test_bad_keys(capsys):
    Path("keys.json").write_text(json.dumps([*SAS[:7], {**SAS[7], "auth_key": "c0ffee"}]))
    status, _, err = decrypt(capsys, CAPTURE, "-o", "out", keys="keys.json")
    assert status == 2 and "keys.json" in only_line(err) and "c0ffee" not in err
    status, _, err = decrypt(capsys, CAPTURE, "-o", "out", "--skip-bad-keys", keys="keys.json")
    assert status == 0 and "70 decrypted" in err


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nonsense"],
        ["decrypt"],
        ["decrypt", CAPTURE, "-o", "out"],
        ["decrypt", CAPTURE, "--keys", KEYS],
        ["decrypt", CAPTURE, "--keys", KEYS, "-o", "out", "--jobs", "0"],
        ["decrypt", CAPTURE, "--keys", KEYS, "-o", "out", "--jobs", "66"],
        ["decrypt", CAPTURE, "--keys", KEYS, "-o", "out", "--jobs", "many"],
        ["decrypt", CAPTURE, "--keys", KEYS, "-o", "out", "--provider", "nobody"],
        ["decrypt", CAPTURE, "--keys", KEYS, "-o", "out", "--wrong"],
        ["decrypt", CAPTURE, "--keys", "missing", "-o", "out"],
        ["decrypt", CAPTURE, "--keys", CAPTURE, "-o", "out"],
        ["decrypt", CAPTURE, "--keys", KEYS, "-o", KEYS],
        ["decrypt", CAPTURE, "--keys", KEYS, "-o", "no/folder/out"],
        ["decrypt", CAPTURE, "--keys", KEYS, "-o", "."],
        ["decrypt", CAPTURE, "--keys", KEYS, "-o", ""],
        ["decrypt", CAPTURE, "--keys", KEYS, "-o", "-", "--json"],
        ["decrypt", CAPTURE, "--keys", KEYS, "-o", "/dev/stdout", "--json"],
        ["decrypt", CAPTURE, "--keys", KEYS, "-o", "/dev/full"],
        ["decrypt", "missing", "--keys", KEYS, "-o", "out"],
        ["decrypt", "missing\nline", "--keys", KEYS, "-o", "out"],
        ["decrypt", ".", "--keys", KEYS, "-o", "out"],
        ["decrypt", "/dev/null", "--keys", KEYS, "-o", "out"],
        ["decrypt", KEYS, "--keys", KEYS, "-o", "out"],
        ["decrypt", CAPTURE, "empty", "--keys", KEYS, "-o", "out"],
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(capsys, folder, args):
    Path("empty").touch()
    before = KEYS.read_bytes()
    status, out, err = run(capsys, *args)
    assert status == 2 and not out
    only_line(err)
    assert os.listdir(folder) == ["empty"] and KEYS.read_bytes() == before


def test_captures_of_different_link_types(capsys, folder):
    frames = demo_frames()
    raw = [model.Frame(b"", f.packet, seconds=f.seconds, nanos=f.nanos) for f in frames[40:]]
    Path("raw.pcap").write_bytes(model.pcap(raw, link_type=101))
    Path("ether.pcap").write_bytes(model.pcap(frames[:40]))
    status, _, err = decrypt(capsys, "ether.pcap", "raw.pcap", "-o", "out")
    assert status == 2 and "pcapng" in only_line(err) and not Path("out").exists()
    head = model.section() + model.interface()
    Path("ether.pcapng").write_bytes(head + b"".join(map(model.packet_block, frames[:40])))
    status, _, err = decrypt(capsys, "ether.pcapng", "raw.pcap", "-o", "out")
    assert status == 0 and "80 decrypted" in err
    kinds = [kind for _, kind, _ in model.blocks(Path("out").read_bytes())]
    assert kinds.count(model.EPB) == 80 and kinds.count(model.SHB) == 2


def test_output_over_the_input(capsys, folder):
    Path("capture").write_bytes(CAPTURE.read_bytes())
    decrypt(capsys, CAPTURE, "-o", "want")
    assert decrypt(capsys, "capture", "-o", "capture")[0] == 0
    assert Path("capture").read_bytes() == Path("want").read_bytes()
    assert sorted(os.listdir(folder)) == ["capture", "want"]


def test_output_to_the_null_device(capsys):
    assert decrypt(capsys, CAPTURE, "-o", "/dev/null")[0] == 0
    assert not Path("/dev/null").is_file()


def command(*args: object, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "ipsecfast", *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
    )


def wait_for_output(process: subprocess.Popen[bytes]) -> None:
    """Until the command is at work: the file that it writes to, in the working directory, is there."""
    deadline = time.monotonic() + PATIENCE
    while not any(f.endswith(".part") for f in os.listdir()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_standard_input_and_output(capsys, name):
    decrypt(capsys, CAPTURE, "-o", "want")
    process = command("decrypt", "-", "--keys", KEYS, "-o", name)
    out, err = process.communicate(CAPTURE.read_bytes())
    assert process.returncode == 0 and b"80 decrypted" in err
    assert out == Path("want").read_bytes()


def test_fifo_output(capsys):
    decrypt(capsys, CAPTURE, "-o", "want")
    os.mkfifo("fifo")
    fd = os.open("fifo", os.O_RDWR)  # so that nobody waits for somebody to open the other end
    process = command("decrypt", CAPTURE, "--keys", KEYS, "-o", "fifo")
    process.communicate()
    assert process.returncode == 0 and Path("fifo").is_fifo()
    os.set_blocking(fd, False)
    got = os.read(fd, 1 << 16)
    os.close(fd)
    assert got == Path("want").read_bytes()


def test_reader_of_the_output_goes_away():
    big = CAPTURE.read_bytes() + CAPTURE.read_bytes()[24:] * 500
    Path("big").write_bytes(big)
    with command("decrypt", "big", "--keys", KEYS, "-o", "-") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        only_line(process.stderr.read().decode())
    assert process.returncode == 2


def test_reader_of_the_json_is_gone():
    reader, writer = os.pipe()
    os.close(reader)
    process = command("decrypt", CAPTURE, "--keys", KEYS, "-o", "out", "--json", "-q", stdout=writer)
    os.close(writer)
    assert process.communicate() == (None, b"")
    assert process.returncode == 2 and Path("out").exists()


def test_progress_bar_on_a_terminal():
    data = CAPTURE.read_bytes()
    terminal, inner = pty.openpty()
    process = command("decrypt", "-", "--keys", KEYS, "-o", "out", stderr=inner)
    os.close(inner)
    assert process.stdin is not None
    shown, deadline = b"", time.monotonic() + PATIENCE
    with process:
        process.stdin.write(data)
        while b"MB/s" not in shown:  # it shows what was done at the end of a chunk
            assert time.monotonic() < deadline
            process.stdin.write(data[24 : _whole_records(data)[0]])
            process.stdin.flush()
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 1 << 16)
        process.stdin.close()
        with contextlib.suppress(OSError):  # the other end is closed
            while True:
                shown += os.read(terminal, 1 << 16)
    os.close(terminal)
    assert process.returncode == 0 and b"80 decrypted" in shown


@pytest.fixture
def heeded(signum):
    """It may be ignored where this was started, as by a shell in the background, and so by the command."""
    before = signal.signal(signum, signal.default_int_handler)
    yield
    signal.signal(signum, before)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("signum,status", [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_signals_leave_nothing_behind(folder, signum, status, jobs):
    process = command("decrypt", "-", "--keys", KEYS, "-o", "out", "--jobs", jobs)
    assert process.stdin is not None
    process.stdin.write(CAPTURE.read_bytes()[:5000])
    process.stdin.flush()
    wait_for_output(process)
    process.send_signal(signum)
    _, err = process.communicate()
    assert process.returncode == status and b"Traceback" not in err
    assert os.listdir(folder) == []


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signals_whose_exception_gets_lost(folder, monkeypatch, signum):
    def transform(self: Decryption, chunk: ChunkBuffer) -> memoryview:
        with contextlib.suppress(BaseException):  # as NumPy does where it looks for an object's attributes
            signal.raise_signal(signum)
        return chunk.unchanged()

    monkeypatch.setattr(Decryption, "transform", transform)
    handler = signal.getsignal(signum)
    assert main(["decrypt", str(CAPTURE), "--keys", str(KEYS), "-o", "out"]) == 128 + signum
    assert os.listdir(folder) == [] and signal.getsignal(signum) is handler


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("signum", [signal.SIGINT])
def test_signals_while_handlers_are_put_back(monkeypatch, signum):
    ours = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before, put = [signal.getsignal(s) for s in ours], signal.signal

    def interrupted(*args: object) -> object:
        signal.raise_signal(signum)
        return put(*args)

    with monkeypatch.context() as patched, pytest.raises(Interrupted), ended_by_signals():
        patched.setattr(signal, "signal", interrupted)
    assert [signal.getsignal(s) for s in ours] == before


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("signum", [signal.SIGINT])
def test_a_second_signal_does_not_end_the_clean_up(signum):
    cleaned = False
    with pytest.raises(Interrupted), ended_by_signals():
        try:
            signal.raise_signal(signum)
        finally:
            signal.raise_signal(signum)
            cleaned = True
    assert cleaned


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("signum", [signal.SIGINT])
def test_a_second_signal_is_heard_if_the_first_was_lost(signum):
    with pytest.raises(Interrupted), ended_by_signals():
        for _ in range(2):
            with pytest.raises(Interrupted):
                signal.raise_signal(signum)


class Stop(BaseException):
    pass


def stopped_at(step: int, jobs: int) -> bool:
    """Decrypt to out, but raise Stop at that instruction, as a signal's handler would; False: there are fewer."""

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., object] | None:
        nonlocal step
        if frame.f_code is not convert.__code__ and not frame.f_code.co_filename.endswith("capture/output.py"):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event in ("call", "opcode"):
            step -= 1
            if step == 0:
                raise Stop
        return trace

    options = Options(captures=[str(CAPTURE)], keys=[str(KEYS)], output="out", jobs=jobs, quiet=True)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        convert(options, Decryption)
    except Stop:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_output_stopped_anywhere_is_whole_or_not_there(capsys, folder, jobs):
    decrypt(capsys, CAPTURE, "-o", "want")
    want = Path("want").read_bytes()
    Path("want").unlink()
    steps = 0
    while stopped_at(steps + 1, jobs):
        steps += 1
        assert os.listdir(folder) in ([], ["out"]), steps
        if os.listdir(folder):
            assert Path("out").read_bytes() == want, steps
            Path("out").unlink()
    assert steps > 100 and Path("out").read_bytes() == want


def test_scenarios_of_the_kernel(capsys):
    expected = [p for p in sorted(model.SHARED.glob("esp*/expected.json"))]
    if not expected:
        pytest.skip("no further captures here")
    for path in expected:
        keys = json.loads((path.parent / "keys.json").read_text())
        if any(sa["encryption"].startswith("AES-CCM") or sa["authentication"].startswith("AES") for sa in keys):
            continue
        status, _, _ = decrypt(capsys, path.parent / "wire.pcap", "-o", "out", "-q", keys=path.parent / "keys.json")
        assert status == 0
        got = model.read_pcap(Path("out").read_bytes())[1]
        plain = model.read_pcap((path.parent / "plain.pcap").read_bytes())[1]
        for packet in json.loads(path.read_text())["packets"]:
            exact = packet["plain"] is not None and packet["plain_equal"] == "exact"
            if exact and len(packet.get("frames") or [0]) == 1:
                assert got[packet["frame"]][2][14:] == plain[packet["plain"]][2], (
                    f"{path.parent.name} {packet['frame']}"
                )
