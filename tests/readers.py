"""Others that open protected packets: tshark (ESP), scapy (ESP and AH).  Keys as in key files' ``sa`` objects."""

from __future__ import annotations

import functools
import importlib
import itertools
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from test_interop import SCAPY_AUTHENTICATION, SCAPY_ENCRYPTION

Json = dict[str, Any]

_TSHARK_ENCRYPTION = {
    "NULL": "NULL",
    "DES-CBC": "DES-CBC [RFC2405]",
    "3DES-CBC": "TripleDES-CBC [RFC2451]",
    "AES-CBC": "AES-CBC [RFC3602]",
    "AES-CTR": "AES-CTR [RFC3686]",
    "AES-GCM": "AES-GCM with {icv_len} octet ICV [RFC4106]",
}
_TSHARK_AUTHENTICATION = {
    "NONE": "NULL",
    "HMAC-MD5-96": "HMAC-MD5-96 [RFC2403]",
    "HMAC-SHA1-96": "HMAC-SHA-1-96 [RFC2404]",
    "HMAC-SHA256-128": "HMAC-SHA-256-128 [RFC4868]",
    "HMAC-SHA384-192": "HMAC-SHA-384-192 [RFC4868]",
    "HMAC-SHA512-256": "HMAC-SHA-512-256 [RFC4868]",
}
_ICV_LENS = {"HMAC-MD5-96": 12, "HMAC-SHA1-96": 12, "HMAC-SHA256-128": 16, "HMAC-SHA384-192": 24, "HMAC-SHA512-256": 32}


class Opened(NamedTuple):
    """What tshark says of an ESP packet."""

    icv_good: bool
    data: bytes  # what was encrypted, without trailer


def _family(key: Json) -> str:
    name = key["encryption"]
    return name if name in SCAPY_ENCRYPTION else name.rpartition("-")[0]


def esp_sa_line(key: Json) -> str | None:
    """The SA as a line of Wireshark's table; None if tshark 4.0 can't do it or not check its ICV."""
    usual = key["authentication"] == "NONE" or key["icv_len"] == _ICV_LENS.get(key["authentication"])
    if key["protocol"] != "esp" or key["esn"] or _family(key) not in _TSHARK_ENCRYPTION or not usual:
        return None
    version = "IPv6" if ":" in key["src"] else "IPv4"
    encryption = _TSHARK_ENCRYPTION[_family(key)].format_map(key)
    columns = [version, key["src"], key["dst"], f"0x{key['spi']:08x}", encryption, f"0x{key['enc_key']}{key['salt']}"]
    return ",".join(f'"{c}"' for c in (*columns, _TSHARK_AUTHENTICATION[key["authentication"]], f"0x{key['auth_key']}"))


def tshark(capture: Path, keys: Sequence[Json]) -> dict[int, Opened]:
    """What tshark opens of the ESP packets of a capture, by number of frame (from 0); skips where there is none."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    # CPFI takes UDP port 5001 for its own and stumbles over what is in it.
    command = ["tshark", "-n", "-r", str(capture), "-Y", "esp", "--disable-protocol", "cpfi"]
    for name in ("esp.enable_encryption_decode", "esp.enable_authentication_check"):
        command += ["-o", f"{name}:TRUE"]
    for key in keys:
        command += ["-o", f"uat:esp_sa:{esp_sa_line(key)}"]
    fields = _output(command, "-T", "fields", "-e", "frame.number", "-e", "esp.icv_good")
    dumps = re.split(r"^Frame \(.*\):$", _output(command, "-x"), flags=re.MULTILINE)[1:]
    rows = [line.split("\t") for line in fields.splitlines()]
    # A packet that was not opened has one dump without a name, and the numbers do not fit together any more.
    assert len(rows) == len(dumps)
    return {
        int(number) - 1: Opened(good in ("1", "True"), _octets(dump))
        for (number, good), dump in zip(rows, dumps, strict=True)
    }


def _output(command: list[str], *more: str) -> str:
    done = subprocess.run([*command, *more], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _octets(dump: str) -> bytes:
    lines = dump.partition("Decrypted Data (")[2].splitlines()[1:]
    octets = itertools.takewhile(lambda line: re.match("[0-9a-f]{4}  ", line), lines)
    return b"".join(bytes.fromhex(line[6:54]) for line in octets)


@functools.cache
def scapy_ipsec() -> Any:
    """scapy's IPsec module; skips where there is none."""
    pytest.importorskip("scapy", reason="scapy is not installed")
    ipsec = importlib.import_module("scapy.layers.ipsec")
    if not ipsec.conf.crypto_valid:
        pytest.skip("scapy has no cryptography")
    return ipsec


def scapy_has(key: Json) -> bool:
    """Does scapy have the SA's algorithms and length of ICV?"""
    known = _family(key) in SCAPY_ENCRYPTION and key["authentication"] in SCAPY_AUTHENTICATION
    return known and key["icv_len"] == _ICV_LENS.get(key["authentication"], 16)


def scapy_sa(key: Json) -> Any:
    """scapy's SA, of one that it has."""
    ipsec = scapy_ipsec()
    family, auth = _family(key), key["authentication"]
    protocol = ipsec.ESP if key["protocol"] == "esp" else ipsec.AH
    tunnel = None
    if key["mode"] == "tunnel":
        tunnel = (ipsec.IPv6 if ":" in key["src"] else ipsec.IP)(src=key["src"], dst=key["dst"])
    ciphers = {}
    if key["protocol"] == "esp":
        ciphers = {
            "crypt_algo": SCAPY_ENCRYPTION[family],
            "crypt_key": bytes.fromhex(key["enc_key"] + key["salt"]),
        }
    return ipsec.SecurityAssociation(
        protocol,
        spi=key["spi"],
        auth_algo=SCAPY_AUTHENTICATION[auth],
        auth_key=bytes.fromhex(key["auth_key"]),
        tunnel_header=tunnel,
        nat_t_header=ipsec.UDP(**key["udp_encap"]) if key.get("udp_encap") else None,
        esn_en=key["esn"],
        esn=key["seq"] >> 32,
        **ciphers,
    )


def scapy_opens(sas: dict[int, Any], packet: bytes) -> bytes:
    """Take off one layer after another while scapy's SAs (by SPI) match; raises what scapy raises."""
    ipsec = scapy_ipsec()
    while True:
        theirs = (ipsec.IP if packet[0] >> 4 == 4 else ipsec.IPv6)(packet)
        layer = theirs.getlayer(ipsec.ESP) or theirs.getlayer(ipsec.AH)
        if layer is None or layer.spi not in sas:
            return packet
        packet = bytes(sas[layer.spi].decrypt(theirs))
