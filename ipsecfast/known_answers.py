"""Published results of every algorithm, all hex: what a provider must give before it serves.

Sources: NIST CAVP (DES, 3DES, AES-CBC, AES-GMAC, AES-CCM with nonces of 11 bytes), RFC 3686 (AES-CTR), NIST CAVP and
Project Wycheproof (AES-GCM, AES-CCM), RFC 8439 and Project Wycheproof (ChaCha20-Poly1305), RFC 2202 and RFC 4231
(HMAC), RFC 3566 (AES-XCBC), RFC 4493 and Project Wycheproof (AES-CMAC).
"""

from __future__ import annotations

from typing import NamedTuple


class CipherAnswer(NamedTuple):
    """One known answer of a cipher."""

    key: str
    nonce: str
    aad: str
    plaintext: str
    ciphertext: str
    tag: str = ""


class MacAnswer(NamedTuple):
    """One known answer of a separate integrity algorithm, the digest whole."""

    key: str
    data: str
    digest: str


CIPHERS = {
    "DES-CBC": (
        CipherAnswer(
            "989dd9341aec9efd",
            "1dad342c0fb3c9b1",
            "",
            "aafe7854d34e6730899599c879dcc28ea0397361b2a19d01",
            "69ceb8567acbac1b47d91802a235c4e9e4d0af894c533759",
        ),
        CipherAnswer(
            "df152f1f43e508f1",
            "fe69e85b9eb1d28d",
            "",
            "68267e519e3072823d934c993882af50598f61dcaec4c0b2805e175e2f26658903087de244a676627eeb292e9153798f"
            "7a32be39589e8f5e",
            "7180d83233797aec67f111657d6da4dfbce7cfcfd716003ec2f0e76fc36e27c2cc8f52d8089f14f8b4b9aeb1308ba6c1"
            "5659bd360a4422d3",
        ),
    ),
    "3DES-CBC": (
        CipherAnswer(
            "1a5d4c0825072a15a8ad9dfdaeda8c048adffb85bc4fced0",
            "7fcfa736f7548b6f",
            "",
            "983c3edacd939406010e1bc6ff9e12320ac5008117fa8f84",
            "d84fa24f38cf451ca2c9adc960120bd8ff9871584fe31cee",
        ),
        CipherAnswer(
            "625bc19b19df83abfb2f5bec9d4f2062017525a75bc26e70",
            "bd0cff364ff69a91",
            "",
            "8152d2ab876c3c8201403a5a406d3feaf27319dbea6ad01e24f4d18203704b86de70da6bbb6d638e5aba3ff576b79b28",
            "706fe7a973fac40e25b2b4499ce527078944c70e976d017b6af86a3a7a6b52943a72ba18a58000d2b61fdc3bfef2bc4a",
        ),
    ),
    "AES-CBC-128": (
        CipherAnswer(
            "1f8e4973953f3fb0bd6b16662e9a3c17",
            "2fe2b333ceda8f98f4a99b40d2cd34a8",
            "",
            "45cf12964fc824ab76616ae2f4bf0822",
            "0f61c4d44c5147c03c195ad7e2cc12b2",
        ),
        CipherAnswer(
            "fd6e0b954ae2e3b723d6c9fcae6ab09b",
            "f08b65c9f4dd950039941da2e8058c4e",
            "",
            "a206385945b21f812a9475f47fddbb7fbdda958a8d14c0dbcdaec36e8b28f1f6ececa1ceae4ce17721d162c1d42a66c1",
            "e29e3114c8000eb484395b256b1b3267894f290d3999819ff35da03e6463c186c4d7ebb964941f1986a2d69572fcaba8",
        ),
    ),
    "AES-CBC-192": (
        CipherAnswer(
            "ba75f4d1d9d7cf7f551445d56cc1a8ab2a078e15e049dc2c",
            "531ce78176401666aa30db94ec4a30eb",
            "",
            "c51fc276774dad94bcdc1d2891ec8668",
            "70dd95a14ee975e239df36ff4aee1d5d",
        ),
        CipherAnswer(
            "3915d786c786731cfe35abe39fac714f5fa32c7ef3c6681b",
            "a2d326a8226576e32e48f62b3da96c40",
            "",
            "4a7a4dca5c555d3f0358be7db4af14f1322a8861a3cb977f029fdcbd8ee4a8d451f32d7865e6a2376edf67e4d1092e15",
            "a9968021d6df78ff2c4c236bdd9a55bc727b0dc506f44958b2041f0948860a3444588242ffbdcf2726001e2f6b5bd5fb",
        ),
    ),
    "AES-CBC-256": (
        CipherAnswer(
            "6ed76d2d97c69fd1339589523931f2a6cff554b15f738f21ec72dd97a7330907",
            "851e8764776e6796aab722dbb644ace8",
            "",
            "6282b8c05c5c1530b97d4816ca434762",
            "6acc04142e100a65f51b97adf5172c41",
        ),
        CipherAnswer(
            "fe8901fecd3ccd2ec5fdc7c7a0b50519c245b42d611a5ef9e90268d59f3edf33",
            "bd416cb3b9892228d8f1df575692e4d0",
            "",
            "8d3aa196ec3d7c9b5bb122e7fe77fb1295a6da75abe5d3a510194d3a8a4157d5c89d40619716619859da3ec9b247ced9",
            "608e82c7ab04007adb22e389a44797fed7de090c8c03ca8a2c5acd9e84df37fbc58ce8edb293e98f02b640d6d1d72464",
        ),
    ),
    "AES-CTR-128": (
        CipherAnswer(
            "ae6852f8121067cc4bf7a5765577f39e",
            "00000030000000000000000000000001",
            "",
            "53696e676c6520626c6f636b206d7367",
            "e4095d4fb7a7b3792d6175a3261311b8",
        ),
        CipherAnswer(
            "7691be035e5020a8ac6e618529f9a0dc",
            "00e0017b27777f3f4a1786f000000001",
            "",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
            "c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f",
        ),
    ),
    "AES-CTR-192": (
        CipherAnswer(
            "16af5b145fc9f579c175f93e3bfb0eed863d06ccfdb78515",
            "0000004836733c147d6d93cb00000001",
            "",
            "53696e676c6520626c6f636b206d7367",
            "4b55384fe259c9c84e7935a003cbe928",
        ),
        CipherAnswer(
            "02bf391ee8ecb159b959617b0965279bf59b60a786d3e0fe",
            "0007bdfd5cbd60278dcc091200000001",
            "",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
            "96893fc55e5c722f540b7dd1ddf7e758d288bc95c69165884536c811662f2188abee0935",
        ),
    ),
    "AES-CTR-256": (
        CipherAnswer(
            "776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c104",
            "00000060db5672c97aa8f0b200000001",
            "",
            "53696e676c6520626c6f636b206d7367",
            "145ad01dbf824ec7560863dc71e3e0c0",
        ),
        CipherAnswer(
            "ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d",
            "001cc5b751a51d70a1c1114800000001",
            "",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
            "eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8",
        ),
    ),
    "AES-GCM-128": (
        CipherAnswer(
            "28ff3def08179311e2734c6d1c4e2871",
            "32bcb9b569e3b852d37c766a",
            "c3",
            "dfc61a20df8505b53e3cd59f25770d5018add3d6",
            "f58d453212c2c8a436e9283672f579f119122978",
            "5901131d0760c8715901d881fdfd3bc0",
        ),
        CipherAnswer(
            "b61553bb854895b929751cd0c5f80384",
            "8863f999ae64e55d0bbd7457",
            "d914b5f2d1b08ce53ea59cb310587245",
            "9b1b113217d0c4ea7943cf123c69c6ad2e3c97368c51c9754145d155dde1ee8640c8cafff17a5c9737d26a137eee4bf369096d",
            "acfab4632b8a25805112f13d85e082bc89dc49bd92164fa8a2dad242c3a1b2f2696f2fdff579025f3f146ea97da3e47dc34b65",
            "5d9b5f4a9868c1c69cbd6fd851f01340",
        ),
    ),
    "AES-GCM-192": (
        CipherAnswer(
            "969fed5068541d65418c2c1de8fe1f845e036030496e1272",
            "817fe51c31f2879141a34335",
            "cb",
            "3d8233191a2823bf767e99167b1d4af4f4848458",
            "0d2c3a3c0cc4b40e70ed45e188e356a0e1533b31",
            "92909a80e90540e1878ab59ef300072b",
        ),
        CipherAnswer(
            "9900227ae0fccbb0d35ecf954629c969f36e539399f32ebe",
            "1398992bfbd63149c14ba2a2",
            "788b6885feff23fc27bf9c462877b642ba1aa68d",
            "9d4227eed28b9738f21541c4755a923a43ba20d6f3d6a6b7e31e56f1502f5e93ed4c00511c6a7daeb0281ab947e91756638154",
            "7b6ee7dd98eda9b20edb414711d9710de402b01950a6712e5809f608f7c0aa0fba4098f145fea6886d7baf51fcd182c8febf49",
            "f22c7c21f5ece2de684821092194f26c",
        ),
    ),
    "AES-GCM-256": (
        CipherAnswer(
            "cdccfe3f46d782ef47df4e72f0c02d9c7f774def970d23486f11a57f54247f17",
            "376187894605a8d45e30de51",
            "956846a209e087ed",
            "e28e0e9f9d22463ac0e42639b530f42102fded75",
            "feca44952447015b5df1f456df8ca4bb4eee2ce2",
            "082e91924deeb77880e1b1c84f9b8d30",
        ),
        CipherAnswer(
            "885a9b124137e40bd0f697771317e401ce36327e61a8f9d0b80f4798f30a731d",
            "beebc2f5a26fd2cab1e9c395",
            "2e8bdde32258a5fcd8cd21037d0545eb",
            "427ec568ad8367c202f5d9999240f9994cc113500154f7f49e9ca27cc8154143b855238bca5c7bd6d9852b4eebd41e4eb98f16",
            "a1d83aab6864db463d9d7c22419462bde0740355c1147c62b4c4f23ceeaf65b16b873b1cc7e698dff6e3d19cf9da33e8cbcba7",
            "4fdbfd5210afa3556ec0fdc48b98e1eb",
        ),
    ),
    "AES-GMAC-128": (
        CipherAnswer(
            "7680c5d3ca6154758e510f4d25b98820",
            "f8f105f9c3df4965780321f8",
            "c94c410194c765e3dcc7964379758ed3",
            "",
            "",
            "94dca8edfcf90bb74b153c8d48a17930",
        ),
        CipherAnswer(
            "99e3e8793e686e571d8285c564f75e2b",
            "c2dd0ab868da6aa8ad9c0d23",
            "b668e42d4e444ca8b23cfdd95a9fedd5178aa521144890b093733cf5cf22526c5917ee476541809ac6867a8c399309fc",
            "",
            "",
            "3f4fba100eaf1f34b0baadaae9995d85",
        ),
    ),
    "AES-GMAC-192": (
        CipherAnswer(
            "41c5da8667ef725220ffe39ae0ac590ac9fca729ab60ada0",
            "05ad13a5e2c2ab667e1a6fbc",
            "8b5c124bef6e2f0fe4d8c95cd5fa4cf1",
            "",
            "",
            "204bdb1bd62154bf08922aaa54eed705",
        ),
        CipherAnswer(
            "a83ac82554d5c3475d03514a9421c409ccad9bc44a5f8307",
            "38aa26f7b68dc674cae90b84",
            "0397a714939f55c18da013271348bd231e14d07f397ca0db20d3a77c42f3f41c25c64fd93bd3bd9fcd355a0bde4f1961",
            "",
            "",
            "e48b36dc683f32dbae3b13c3adb1b789",
        ),
    ),
    "AES-GMAC-256": (
        CipherAnswer(
            "78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223",
            "d79cf22d504cc793c3fb6c8a",
            "b96baa8c1c75a671bfb2d08d06be5f36",
            "",
            "",
            "3e5d486aa2e30b22e040b85723a06e76",
        ),
        CipherAnswer(
            "f4069bb739d07d0cafdcbc609ca01597f985c43db63bbaaa0debbb04d384e49c",
            "d25ff30fdc3d464fe173e805",
            "3e1449c4837f0892f9d55127c75c4b25d69be334baf5f19394d2d8bb460cbf2120e14736d0f634aa792feca20e455f11",
            "",
            "",
            "805ec2931c2181e5bfb74fa0a975f0cf",
        ),
    ),
    "CHACHA20-POLY1305": (
        CipherAnswer(
            "e05777ef3d989ace7d2abfba452bfded54801dbd5c66e91c0c2ef00479d85572",
            "b7f526e3fd71cf5720961aec",
            "15d93a96d0e6c5a9",
            "17bfda03",
            "f4710e51",
            "b957c6a37b6a4c94996c002186d63b2b",
        ),
        CipherAnswer(
            "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
            "070000004041424344454647",
            "50515253c0c1c2c3c4c5c6c7",
            "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a20496620492063"
            "6f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73"
            "637265656e20776f756c642062652069742e",
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b"
            "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
            "3ff4def08e4b7a9de576d26586cec64b6116",
            "1ae10b594f09e26a7e902ecbd0600691",
        ),
    ),
    "AES-CCM-128": (
        CipherAnswer(
            "e6ab9e70a4fb51b01c2e262233e64c0d",
            "74e689eb5af9441dd690a6",
            "42f6518ee0fbe42f28e13b4bb2eb60517b37c9744394d9143393a879c3e107c7",
            "ba15916733550d7aa82b2f6b117cd3f54c83ddc16cd0288a",
            "dcc151443288f35d39ed8fae6f0ce1d1eb656f4f7fd65c0b",
            "16f322ce85d7c54e71ac560fd4da9651",
        ),
        CipherAnswer(
            "1d286e525ec2864d9ea6e7adfbdc4970",
            "1ad44879f1947abd503dce",
            "1db0eaaaa1e2c848",
            "7b40e6c987692d0202cb6f44b423c267dd",
            "84f91f9d35b998598e50feb34dcaa0d260",
            "ae4e38cc4b730944bc459df85a536f4e",
        ),
    ),
    "AES-CCM-192": (
        CipherAnswer(
            "af84c6f302c59aeee6d5728ed5da2e3c64a5a781c52c4d1b",
            "df990c42a268950677c433",
            "a6ab5d78427f297a4b7e21f1091ff3a5b20caa3fe1cbcb09459d9df596a6c8e1",
            "6db41aeb5f7c24df8929dbc30483b3c7934b3bd1cdce5bb9",
            "8c9328258bf71970d33e23a3ff81cc1c9cbe196a1294264b",
            "fd6a7255e4801963bb30a63de3fc5b82",
        ),
        CipherAnswer(
            "ffe5d2ad71d432d6cd5f1072ec2acb7d7cde9c5c615d0eb9",
            "ea2198307402a106ea4293",
            "f93db4f4aec8afe8",
            "c9db4d10d42340ac736271edf9f6581ce8",
            "bd960c7f60392e8d0afb28ba16ea63afd3",
            "f2ca88d549dff207d979756d13e865d9",
        ),
    ),
    "AES-CCM-256": (
        CipherAnswer(
            "97bc7482a87ba005475dfa3448f59d4b3f9c4c969d08b39b1b21ef965c0f5125",
            "0bcf78103ec52d6df28887",
            "049c10f0cb37ae08eae2d0766563b7c5a8454f841c2061a4f71a0a2158ae6ce5",
            "b99bf4dc781795fc4d3a8467b06e1665d4e543657f23129f",
            "0d3891fa0caac1f7ebe41b480920ffd34d4155064c24f3b1",
            "7a483163dd8f228d1f20cd4f86cf38fd",
        ),
        CipherAnswer(
            "b3a06e00100ffc42dbdd5317f43d2b48f8c11e4bd6e9e3edab58e9944c559278",
            "f3d24b362bf12b84b8a66a",
            "0242b5e804a79188",
            "03b03b45f6f320b99d8158ff8b00f0ad92",
            "d127fd42b2ca4beca9f9ac86b63a1622ef",
            "8a499aab9e8f4096da603c6ccfb9ac4a",
        ),
    ),
}

MACS = {
    "HMAC-MD5-96": (
        MacAnswer(
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "4869205468657265",
            "9294727a3638bb1c13f48ef8158bfc9d",
        ),
        MacAnswer(
            "0102030405060708090a0b0c0d0e0f10111213141516171819",
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
            "697eaf0aca3a3aea3a75164746ffaa79",
        ),
    ),
    "HMAC-SHA1-96": (
        MacAnswer(
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "4869205468657265",
            "b617318655057264e28bc0b6fb378c8ef146be00",
        ),
        MacAnswer(
            "0102030405060708090a0b0c0d0e0f10111213141516171819",
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
            "4c9007f4026250c6bc8414f9bf50c86c2d7235da",
        ),
    ),
    "HMAC-SHA256-128": (
        MacAnswer(
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "4869205468657265",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        MacAnswer(
            "0102030405060708090a0b0c0d0e0f10111213141516171819",
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
    ),
    "HMAC-SHA384-192": (
        MacAnswer(
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "4869205468657265",
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
        ),
        MacAnswer(
            "0102030405060708090a0b0c0d0e0f10111213141516171819",
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
            "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7d679ccf8a386c674cffb",
        ),
    ),
    "HMAC-SHA512-256": (
        MacAnswer(
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "4869205468657265",
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4"
            "be9d914eeb61f1702e696c203a126854",
        ),
        MacAnswer(
            "0102030405060708090a0b0c0d0e0f10111213141516171819",
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
            "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063"
            "a5f19741120c4f2de2adebeb10a298dd",
        ),
    ),
    "AES-XCBC-96": (
        MacAnswer(
            "000102030405060708090a0b0c0d0e0f",
            "000102030405060708090a0b0c0d0e0f10111213",
            "47f51b4564966215b8985c63055ed308",
        ),
        MacAnswer(
            "000102030405060708090a0b0c0d0e0f",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "f54f0ec8d2b9f3d36807734bd5283fd4",
        ),
    ),
    "AES-CMAC-96": (
        MacAnswer(
            "2b7e151628aed2a6abf7158809cf4f3c",
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
            "dfa66747de9ae63030ca32611497c827",
        ),
        MacAnswer(
            "9bd3902ed0996c869b572272e76f3889",
            "a7ba19d49ee1ea02f098aa8e30c740d893a4456ccc294040484ed8a00a55f93e",
            "45082218c2d05eef32247feb1133d0a3",
        ),
    ),
}
