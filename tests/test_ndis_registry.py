"""Registry keywords: the table, the files that they are read from, and ``ipsecfast caps``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from differential import examples
from hypothesis import given
from hypothesis import strategies as st

from ipsecfast.cli import main
from ipsecfast.ndis import KEYWORDS, Options, Registry, RegistryError, TransportSwitches, load_registry, read_keywords

ADAPTER = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Class\{4d36e972-e325-11ce-bfc1-08002be10318}"
REG = rf"""Windows Registry Editor Version 5.00

[{ADAPTER}\0007]
"DriverDesc"="A card; with \"IPsec\""
@="default"
"*IPsecOffloadV2"="2"
"*LsoV1IPv4"=dword:00000000
"*IPsecOffloadV1IPv4"="3"
"*IPsecOffloadV1IPv4"=-
"Component"=hex(7):61,00,\
  00,00

; what the user interface shows
[{ADAPTER}\0007\Ndi\params\*IPsecOffloadV2]
"ParamDesc"="IPsec Offload"
"default"="3"

[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\TCPIP\Parameters]
"DisableTaskOffload"=dword:00000001
[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\Ipsec]
"EnabledOffload"=dword:00000000
"""
INF = r"""; a card
[Version]
Signature = "$Windows NT$"
[card.reg]
HKR, Ndi\params\*IPsecOffloadV2,       ParamDesc, 0, "%IPsec%"
HKR, Ndi\params\*IPsecOffloadV2,       default,   0, "3" ; both
HKR, Ndi\params\*IPsecOffloadV2,       type,      0, "enum"
HKR, Ndi\params\*IPsecOffloadV2\enum,  "0",       0, "%Off%"
HKR, Ndi\params\*IPsecOffloadV2\enum,  "3",       0, "AH; and ESP"
hkr, ndi\Params\*IPsecOffloadV2IPv4,   Default,   ,  "1"
HKR,, *LsoV2IPv6, 0x00010001, \
  0
HKR,, *LsoV1IPv4, %REG_SZ%, "%Zero%"
HKR,, BusType, 0, "5"
[Strings]
IPsec = "IPsec Offload"
Off = "Disabled"
Zero = "0"
REG_SZ = 0x00000000
"""


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    return path


def values(registry: Registry) -> dict[str, object]:
    return {v.name: v.data for v in registry if v.name.startswith("*")}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_reg_export(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path / "card.reg", REG, encoding)
    registry = load_registry(path)
    assert values(registry) == {"*IPsecOffloadV2": "2", "*LsoV1IPv4": 0}
    assert registry.get("driverdesc").data == 'A card; with "IPsec"'  # type: ignore[union-attr]
    assert registry.get("*ipsecoffloadV2").origin == f"{path}:6"  # type: ignore[union-attr]
    assert registry.get("Component").data is None  # type: ignore[union-attr]
    assert registry.transport == TransportSwitches(disable_task_offload=True, ipsec_offload=False)
    assert load_registry(written(tmp_path / "old.reg", "REGEDIT4\n")).transport == TransportSwitches()


def test_reg_export_of_several_adapters(tmp_path: Path) -> None:
    text = REG + rf"""[{ADAPTER}\0008]{chr(10)}"*IPsecOffloadV2"="1"{chr(10)}"""
    path = written(tmp_path / "cards.reg", text)
    with pytest.raises(RegistryError, match=r"cards\.reg: has 2 keys with keywords, wanted one adapter's key"):
        load_registry(path)
    assert values(load_registry(path, "0008")) == {"*IPsecOffloadV2": "1"}
    assert values(load_registry(path, r"{4D36E972-e325-11ce-bfc1-08002be10318}\0007"))["*IPsecOffloadV2"] == "2"
    with pytest.raises(RegistryError, match="no key ending in '0009'"):
        load_registry(path, "0009")
    gone = written(tmp_path / "gone.reg", text + rf"[-{ADAPTER}\0007]")
    assert values(load_registry(gone)) == {"*IPsecOffloadV2": "1"}


def test_inf(tmp_path: Path) -> None:
    path = written(tmp_path / "card.inf", INF, "utf-16")
    registry = load_registry(path)
    wanted = {"*IPsecOffloadV2": "3", "*IPsecOffloadV2IPv4": "1", "*LsoV2IPv6": 0, "*LsoV1IPv4": "0"}
    assert values(registry) == wanted
    assert registry.get("*LsoV2IPv6").origin == f"{path}:11"  # type: ignore[union-attr]
    more = INF.replace("[Strings]", '[other]\nHKR,,*IPsecOffloadV2,,"2"\nHKR,,*LsoV1IPv4,,"1"\n[Strings]')
    with pytest.raises(RegistryError, match=r"card2\.inf:17: \*lsov1ipv4 differs from line 13"):
        load_registry(written(tmp_path / "card2.inf", more))
    assert values(load_registry(tmp_path / "card2.inf", "OTHER")) == {"*IPsecOffloadV2": "2", "*LsoV1IPv4": "1"}
    bare = written(tmp_path / "part.inf", 'HKR,,*IPsecOffloadV2,,"2"\n')
    assert values(load_registry(bare)) == {"*IPsecOffloadV2": "2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: is neither a .reg export nor an INF file"),
        ("hello", ":1: is neither a .reg export nor an INF file"),
        ('REGEDIT4\n"a"="b"', ":2: a value stands before the first key"),
        ("REGEDIT4\n[HKEY", ":2: the key's name does not end in ]"),
        ('REGEDIT4\n[k]\n"*X"=3', ":3: the value is neither a string, dword:, hex: nor -"),
        ('REGEDIT4\n[k]\n"*X"="3', ":3: the value is neither a string, dword:, hex: nor -"),
        ('REGEDIT4\n[k]\n"*X"=dword:123456789', ":3: the value is neither"),
        ("REGEDIT4\n[k]\nhello", ":3: is neither a [key] nor"),
        ("[Version]\n[x", ":2: the section's name does not end in ]"),
        ('[Version]\nHKR,,*X,0,"3', ":2: a quote is not closed"),
        ("[Version]\nHKR,,*X,many,3", ":2: flags: got 'many', wanted an integer"),
        ("[Version]\nHKR,,*X,0x10001,three", ":2: *X: got 'three', wanted an integer"),
        ("[Version]\n[Strings]\nhello", ":3: is no token = string"),
        (
            '[Version]\n[r]\nHKR,Ndi\\params\\*X,default,0,"2"\nHKR,Ndi\\params\\*X\\enum,"0",0,"Off"',
            ":3: *x: default: got '2', wanted one of its enum: 0",
        ),
    ],
)
def test_files_that_are_not_well_formed(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "bad.reg", text)
    with pytest.raises(RegistryError) as caught:
        load_registry(path)
    assert str(caught.value).startswith(f"{path}{message}") and "\n" not in str(caught.value)


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="can't be read"):
        load_registry(tmp_path / "nothing.reg")
    (tmp_path / "binary.reg").write_bytes(b"REGEDIT4\n\xff\xfe\n")
    with pytest.raises(RegistryError, match=r"binary\.reg:2: is no UTF-8 text"):
        load_registry(tmp_path / "binary.reg")


@examples(100)
@given(st.text(alphabet='[]"\\=;,-%\n *XaHKR03dwordhex:', max_size=120), st.sampled_from(["REGEDIT4\n", "[Version]\n"]))
def test_random_files_raise_nothing_but_the_documented_error(
    tmp_path_factory: pytest.TempPathFactory, text: str, start: str
) -> None:
    path = tmp_path_factory.mktemp("random") / "random.reg"
    path.write_text(start + text)
    try:
        load_registry(path)
    except RegistryError as error:
        assert "\n" not in str(error)


def test_every_keyword_has_its_default() -> None:
    found = read_keywords(Registry())
    assert found.values == {k.name: k.default for k in KEYWORDS} and not found.origins and not found.notices
    assert {k.name: k.default for k in KEYWORDS if k.highest == 1} == {
        "*LsoV1IPv4": 1,
        "*LsoV2IPv4": 1,
        "*LsoV2IPv6": 1,
    }
    assert all(k.default == 3 for k in KEYWORDS if k.highest == 3) and len(KEYWORDS) == 13


@pytest.mark.parametrize("data", ["4", 4, "-1", "", "x", "0x3", "3 3", 2**32 - 1, "99999999999"])
def test_option_out_of_range_keyword(data: str | int, caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry({"*IPsecOffloadV2": data})
    found = read_keywords(registry)
    assert found.values["*IPsecOffloadV2"] == 3 and "*IPsecOffloadV2" not in found.origins
    (notice,) = found.notices
    assert notice == f"mapping: *IPsecOffloadV2: got {data!r}, wanted 0 to 3; 3, the default, is used"
    assert caplog.messages == [notice]
    with pytest.raises(RegistryError, match=r"\*IPsecOffloadV2: got .*, wanted 0 to 3$"):
        read_keywords(registry, Options(out_of_range_keyword="refuse"))


def test_option_numeric_keywords() -> None:
    registry = Registry({"*IPsecOffloadV2": 1, "*LsoV1IPv4": "0"})
    assert read_keywords(registry).values["*IPsecOffloadV2"] == 1
    strict = read_keywords(registry, Options(numeric_keywords=False))
    assert strict.values["*IPsecOffloadV2"] == 3 and strict.values["*LsoV1IPv4"] == 0 and len(strict.notices) == 1


def test_grouped_and_granular_checksum_keywords_must_both_allow() -> None:
    found = read_keywords(Registry({"*TCPUDPChecksumOffloadIPv4": "1", "*UDPChecksumOffloadIPv4": "2"})).settings()
    assert (found["IPv4Checksum"], found["TCPIPv4Checksum"], found["UDPIPv4Checksum"]) == (1, 1, 0)
    assert (found["TCPIPv6Checksum"], found["UDPIPv6Checksum"]) == (3, 3)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="header_size: got 'big', wanted 'macro' or 'sizeof'"):
        Options(header_size="big")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="numeric_keywords: got 1, wanted a value of type bool"):
        Options(numeric_keywords=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_list_nodes: got 0"):
        Options(max_list_nodes=0)


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    status = main(["caps", *map(str, args)])
    out, err = capsys.readouterr()
    return status, out, err


def test_caps_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "card.reg", REG.replace('"2"', '"9"'), "utf-16")
    status, out, err = run(capsys, "--registry", path, "--profile", "full", "--json")
    said = json.loads(out)
    assert status == 0 and (said["profile"], said["ndis"], said["abi"]) == ("full", "6.30", "x64")
    assert said["keywords"]["*LsoV1IPv4"] == {"value": 0, "origin": f"{path}:7"}
    assert said["keywords"]["*IPsecOffloadV2"] == {"value": 3, "origin": None}
    assert said["notices"] == [f"{path}:6: *IPsecOffloadV2: got '9', wanted 0 to 3; 3, the default, is used"]
    assert err == f"ipsecfast: warning: {said['notices'][0]}\n"
    assert said["hardware"]["Header"] == said["default"]["Header"] == {"Type": 0xA7, "Revision": 3, "Size": 156}
    assert (
        said["hardware"]["LsoV1"]["IPv4"]["MaxOffLoadSize"] and not said["default"]["LsoV1"]["IPv4"]["MaxOffLoadSize"]
    )
    assert said["default"]["IPsecV2"]["Tunnel"] is True
    assert list(said["default"])[-1] == "EncapsulatedPacketTaskOffloadGre"


def test_caps_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "card.reg", REG)
    status, out, err = run(
        capsys, "--registry", path, "--profile", "windows-certified", "--ndis", "6.1", "--abi", "x86"
    )
    assert status == 0 and not err and out.startswith("windows-certified, NDIS 6.1, x86: ")
    lines = {tuple(line.split()) for line in out.splitlines()}
    assert ("*IPsecOffloadV2", "2", f"{path}:6") in lines and ("*LsoV2IPv4", "1", "default") in lines
    assert ("Header.Size", "144", "144") in lines and ("IPsecV2.Ah", "no", "no") in lines
    assert ("LsoV1.IPv4.Encapsulation", "0xE", "0x0") in lines
    assert not any(line[:1] == ("Rsc.IPv4.Enabled",) for line in lines)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--profile", "none"], "--profile: got 'none', wanted one of windows-certified, full, ipv4-only, ixgbe, mlx5"),
        (["--ndis", "6.2"], "--ndis: got '6.2', wanted one of 6.0, 6.1, 6.20, 6.30"),
        (["--registry", "nothing.reg"], "nothing.reg: can't be read"),
        (["--key", "7"], "--key: wanted with --registry only"),
        (["--abi", "arm"], "argument --abi: invalid choice: 'arm'"),
    ],
)
def test_caps_refuses_in_one_line(capsys: pytest.CaptureFixture[str], args: list[str], message: str) -> None:
    status, out, err = run(capsys, *args)
    assert status == 2 and not out and err.startswith(f"ipsecfast: {message}") and err.count("\n") == 1
