"""Crypto providers: which are here, whether they answer the known answers, and who serves what."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from . import selftest
from .alg import AUTHENTICATION, ENCRYPTION, Authentication, Encryption
from .core._crypto import Provider
from .errors import ProviderError

NAMES = ("ipsec-mb", "libcrypto", "reference")
_MODULES = {"ipsec-mb": "_ipsec_mb", "libcrypto": "_libcrypto"}

# Groups of fewer packets than this go to libcrypto, which has no lanes to fill; all larger ones are faster on
# ipsec-mb (docs/performance.md).  Encrypting, decrypting; then the integrity algorithms.
# A single packet of AES-CCM or AES-XCBC-96 takes at most a quarter longer on ipsec-mb, of AES-CMAC-96 no longer; the
# two MACs are keyed twice only for AH packets that are too long for ipsec-mb's jobs.
_FEW_CIPHERS = {
    "DES-CBC": (2, 2),
    "3DES-CBC": (6, 6),
    "AES-CBC-128": (2, 0),
    "AES-CBC-192": (2, 0),
    "AES-CBC-256": (2, 0),
}
_FEW_MACS = {"HMAC-MD5-96": 2, "HMAC-SHA384-192": 2, "HMAC-SHA512-256": 2, "AES-XCBC-96": 1, "AES-CMAC-96": 1}


@dataclass(frozen=True)
class ProviderInfo:
    """A provider as a user sees it.

    ``algorithms`` are names of :mod:`ipsecfast.alg`, each once: AES-GMAC's are for ESP and for AH.  ``message`` says
    why an unavailable provider does not serve, or what the known answers came to.
    """

    name: str
    version: str
    algorithms: tuple[str, ...]
    cpu_path: str
    available: bool
    message: str


_opened: dict[str, Provider | str] = {}
_opening = threading.Lock()


def _open(name: str) -> Provider | str:
    """The provider, loaded and tested once; or why it does not serve."""
    with _opening:
        if name not in _opened:
            _opened[name] = _load(name)
        return _opened[name]


def _load(name: str) -> Provider | str:
    try:
        module = importlib.import_module(f".core.{_MODULES[name]}", __package__)
    except ImportError as error:
        if name == "ipsec-mb" and isinstance(error, ModuleNotFoundError):
            return "not built: intel-ipsec-mb 1.3 or newer was not there when ipsecfast was installed"
        return f"could not be loaded: {error}"
    try:
        provider: Provider = module.load()
    except OSError as error:
        return str(error)
    wrong = selftest.failures(provider)
    return f"refused: known answers failed for {', '.join(wrong)}" if wrong else provider


def _native() -> list[Provider]:
    """Native providers that serve, fastest first."""
    return [p for p in (_open("ipsec-mb"), _open("libcrypto")) if isinstance(p, Provider)]


def wanted(name: str | None) -> str | None:
    """The provider a user asked for by argument or ``IPSECFAST_PROVIDER``; None: the fastest.

    Raises ValueError for a name that is none, ProviderError for one that does not serve.
    """
    name = name or os.environ.get("IPSECFAST_PROVIDER") or None
    if name is None:
        return None if _native() else "reference"
    if name not in NAMES:
        raise ValueError(f"provider: got {name!r}, wanted one of {', '.join(NAMES)}")
    if name != "reference" and isinstance(problem := _open(name), str):
        raise ProviderError(f"provider {name}: {problem}")
    return name


def native(name: str) -> Provider:
    """A native provider that serves; raises ProviderError."""
    provider = _open(name)
    if isinstance(provider, str):
        raise ProviderError(f"provider {name}: {provider}")
    return provider


def find(algorithm: Encryption | Authentication, name: str | None) -> Provider:
    """The native provider for one algorithm: the one named, or the fastest that has it.

    Raises ProviderError where there is none.
    """
    candidates = _native() if name is None else [native(name)]
    for provider in candidates:
        if isinstance(algorithm, Encryption):
            has = provider.has_cipher(algorithm.code)
        else:
            has = provider.has_mac(algorithm.code)
        if has:
            return provider
    where = f"provider {name}" if name else "any provider here"
    raise ProviderError(f"{algorithm.name} is not in {where}; see `ipsecfast info`")


class Choice(NamedTuple):
    """Who serves an SA's two algorithms, and who serves them for groups of few packets."""

    cipher: Provider | None
    mac: Provider | None
    few: Provider | None = None
    few_encrypt: int = 0  # packets; smaller groups go to ``few``
    few_decrypt: int = 0
    few_macs: int = 0


def chooser(name: str | None) -> Callable[[Encryption, Authentication], Choice]:
    """What binds an SA's two algorithms to providers when it is added."""

    def choose(enc: Encryption, auth: Authentication) -> Choice:
        cipher = find(enc, name) if enc.code else None
        mac = find(auth, name) if auth.code else None
        single = _open("libcrypto")
        if name is not None or isinstance(single, str):
            return Choice(cipher, mac)
        encrypt = decrypt = macs = 0
        if cipher is not None and cipher.name == "ipsec-mb" and single.has_cipher(enc.code):
            encrypt, decrypt = _FEW_CIPHERS.get(enc.name, (0, 0))
        if mac is not None and mac.name == "ipsec-mb" and single.has_mac(auth.code):
            macs = _FEW_MACS.get(auth.name, 0)
        few = single if encrypt or decrypt or macs else None
        return Choice(cipher, mac, few, encrypt, decrypt, macs)

    return choose


def random_source() -> Provider | None:
    """The provider with a random generator, if there is one."""
    provider = _open("libcrypto")
    return provider if isinstance(provider, Provider) else None


def _describe(name: str) -> ProviderInfo:
    if name == "reference":
        import Crypto

        names = tuple(dict.fromkeys(a for a in (*ENCRYPTION, *AUTHENTICATION) if a != "NONE"))
        return ProviderInfo(
            name, f"pycryptodome {Crypto.__version__}", names, "pure Python", True, "slow: one packet at a time"
        )
    provider = _open(name)
    if isinstance(provider, str):
        return ProviderInfo(name, "", (), "", False, provider)
    names = (
        *(e.name for e in ENCRYPTION.values() if provider.has_cipher(e.code) or not e.code),
        *(a.name for a in AUTHENTICATION.values() if provider.has_mac(a.code)),
    )
    return ProviderInfo(name, provider.version, names, provider.cpu_path, True, "known answers hold")


def providers() -> list[ProviderInfo]:
    """All providers, also those that can't serve here: name, version, algorithms, CPU path, message."""
    return [_describe(name) for name in NAMES]
