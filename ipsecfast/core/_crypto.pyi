from collections.abc import Sequence
from typing import Final

from _typeshed import ReadableBuffer as Buffer

class Provider:
    name: Final[str]
    version: Final[str]
    cpu_path: Final[str]
    def has_cipher(self, code: int) -> bool: ...
    def has_mac(self, code: int) -> bool: ...
    def cipher(
        self,
        code: int,
        key: Buffer,
        encrypt: bool,
        nonce: Buffer,
        aad: Buffer,
        text: Buffer,
        tag: Buffer = b"",
        tag_len: int = 0,
    ) -> tuple[bytes, bytes] | None: ...
    def ciphers(
        self, code: int, encrypt: bool, operations: Sequence[tuple[Buffer, Buffer, Buffer, Buffer, Buffer | int]]
    ) -> list[tuple[bytes, bytes] | None]: ...
    def mac(self, code: int, key: Buffer, text: Buffer, length: int) -> bytes | None: ...
    def macs(self, code: int, operations: Sequence[tuple[Buffer, Buffer, int]]) -> list[bytes | None]: ...
