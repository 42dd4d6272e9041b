"""The known answers themselves, and that they catch libraries whose lanes get mixed up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from differential import PROVIDER_NAMES

from ipsecfast import known_answers, provider, selftest
from ipsecfast.alg import AUTHENTICATION, ENCRYPTION
from ipsecfast.reference import primitives

T = TypeVar("T")
pytestmark = pytest.mark.parametrize("name", PROVIDER_NAMES)


class Broken:
    """A provider that does everything by another one, but changes what goes into a call or comes out of it."""

    def __init__(self, name: str, before: Callable[[list[Any]], None], after: Callable[[list[Any]], None]) -> None:
        self.real: Any = provider.native(name)
        self.before, self.after = before, after
        self.has_cipher, self.has_mac = self.real.has_cipher, self.real.has_mac

    def ciphers(self, code: int, encrypt: bool, operations: Sequence[Any]) -> list[Any]:
        return self._call(lambda them: self.real.ciphers(code, encrypt, them), operations)

    def macs(self, code: int, operations: Sequence[Any]) -> list[Any]:
        return self._call(lambda them: self.real.macs(code, them), operations)

    def _call(self, call: Callable[[list[Any]], list[Any]], operations: Sequence[Any]) -> list[Any]:
        given = list(operations)
        self.before(given)
        results = call(given)
        self.after(results)
        return results


def nothing(_: list[Any]) -> None:
    pass


def swap(a: int, b: int) -> Callable[[list[Any]], None]:
    """The results of two lanes change places."""

    def do(them: list[Any]) -> None:
        if len(them) > max(a, b):
            them[a], them[b] = them[b], them[a]

    return do


def first_key(operations: list[Any]) -> None:
    """All lanes take the first one's key."""
    operations[:] = [(operations[0][0], *operation[1:]) for operation in operations]


def last_result(results: list[Any]) -> None:
    """The last lane's result is another call's."""
    if len(results) > 1:
        results[-1] = results[0]


def algorithms(name: str) -> list[str]:
    """What a provider has; AES-GMAC as authentication is its cipher."""
    serving: Any = provider.native(name)
    ciphers = [row.name for row in ENCRYPTION.values() if serving.has_cipher(row.code)]
    return ciphers + [row.name for row in AUTHENTICATION.values() if serving.has_mac(row.code)]


def test_right_answers_hold(name: str) -> None:
    assert selftest.failures(Broken(name, nothing, nothing)) == []


@pytest.mark.parametrize("a", range(17))
def test_two_lanes_swapped(name: str, a: int) -> None:
    """Whichever two: every algorithm is found."""
    for b in range(a):
        assert selftest.failures(Broken(name, nothing, swap(a, b))) == algorithms(name), b


@pytest.mark.parametrize("before", [first_key, swap(0, 1), swap(3, 16)])
def test_wrong_operations(name: str, before: Callable[[list[Any]], None]) -> None:
    assert set(selftest.failures(Broken(name, before, nothing))) == set(algorithms(name))


def test_a_lane_that_repeats_another(name: str) -> None:
    assert selftest.failures(Broken(name, nothing, last_result)) == algorithms(name)


def test_only_the_wrong_algorithm_is_named(name: str) -> None:
    class OneWrong(Broken):
        def ciphers(self, code: int, encrypt: bool, operations: Sequence[Any]) -> list[Any]:
            wrong = code == ENCRYPTION["AES-CBC-192"].code
            self.after = swap(0, 1) if wrong else nothing
            return super().ciphers(code, encrypt, operations)

    assert selftest.failures(OneWrong(name, nothing, nothing)) == ["AES-CBC-192"]


def test_wrong_tags_that_pass_are_found(name: str) -> None:
    """Opening without looking at the tag."""

    class Trusting(Broken):
        def ciphers(self, code: int, encrypt: bool, operations: Sequence[Any]) -> list[Any]:
            results = super().ciphers(code, encrypt, operations)
            return results if encrypt else [(b"", b"") if r is None else r for r in results]

    combined = [row.name for row in ENCRYPTION.values() if row.combined and row.name in algorithms(name)]
    assert selftest.failures(Trusting(name, nothing, nothing)) == combined


def test_a_provider_that_refuses_is_not_taken(name: str) -> None:
    def none(results: list[Any]) -> None:
        results[:] = [None] * len(results)

    assert selftest.failures(Broken(name, nothing, none)) == algorithms(name)


def test_the_answers_are_right(name: str) -> None:
    """pycryptodome, which has no part in it, gives the same."""
    for algorithm, answers in known_answers.CIPHERS.items():
        for answer in answers:
            key, nonce, aad, plaintext, ciphertext, tag = map(bytes.fromhex, answer)
            if tag:
                sealed = primitives.aead_seal(algorithm, key, nonce, aad, plaintext, len(tag))
                assert sealed == (ciphertext, tag), algorithm
            else:
                assert primitives.crypt(algorithm, key, nonce, plaintext, True) == ciphertext, algorithm
    for algorithm, macs in known_answers.MACS.items():
        for mac in macs:
            key, data, digest = map(bytes.fromhex, mac)
            assert primitives.digest(AUTHENTICATION[algorithm], key, data) == digest, algorithm
    assert {*known_answers.CIPHERS} == {*ENCRYPTION} - {"NULL"}
    assert {*known_answers.MACS} == {row.name for row in AUTHENTICATION.values() if row.code and not row.ah_only}
