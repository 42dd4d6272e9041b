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
        copies: int = 1,
    ) -> tuple[bytes, bytes] | None: ...
    def mac(self, code: int, key: Buffer, text: Buffer, length: int, copies: int = 1) -> bytes | None: ...
