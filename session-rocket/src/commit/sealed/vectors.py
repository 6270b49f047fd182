"""Makes vectors.json: sealed cookies computed without the library's code or its dependencies.

    python3 vectors.py        # needs the package `cryptography`

HMAC and SHA-256 are Python's, ChaCha20-Poly1305 is OpenSSL's; HKDF (RFC 5869), HChaCha20
(draft-irtf-cfrg-xchacha-03) and the LZ4 block are written out.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import struct

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305


def hkdf(key, purpose, length):
    extracted = hmac.new(b"session-rocket", key, hashlib.sha256).digest()
    block, output, count = b"", b"", 1
    while len(output) < length:
        block = hmac.new(extracted, block + purpose + bytes([count]), hashlib.sha256).digest()
        output += block
        count += 1
    return output[:length]


def quarter_round(s, a, b, c, d):
    def rotate(x, n):
        return ((x << n) | (x >> (32 - n))) & 0xFFFFFFFF

    for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & 0xFFFFFFFF
        s[z] = rotate(s[z] ^ s[x], n)


def hchacha20(key, nonce):
    s = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key) + struct.unpack("<4I", nonce))
    for _ in range(10):
        for column in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter_round(s, *column)
        for diagonal in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter_round(s, *diagonal)
    return struct.pack("<8I", *(s[:4] + s[12:]))


# The draft's own vector, 2.2.1.
assert hchacha20(bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927")).hex() == (
    "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
)


def lz4_block(literals, offset, match_length, last_literals):
    """One match of 19 to 273 bytes between two short runs of literals."""
    assert len(literals) < 15 and len(last_literals) < 15 and 19 <= match_length < 274
    token = bytes([len(literals) << 4 | 15])
    return b"".join(
        (token, literals, struct.pack("<HB", offset, match_length - 19), bytes([len(last_literals) << 4]), last_literals)
    )


def seal(kind, key, scope, name, moments, body, nonce):
    header = bytes([kind]) + hkdf(key, b"sealed cookie: key id", 4)
    context = b"session-rocket sealed cookie"
    for part in (scope.encode(), name.encode()):
        context += struct.pack(">Q", len(part)) + part
    plain = struct.pack(">qqq", *moments) + body
    if kind == 1:
        signed = header + plain
        mac = hmac.new(hkdf(key, b"sealed cookie: signing", 64), context + signed, hashlib.sha256)
        sealed = signed + mac.digest()
    else:
        subkey = hchacha20(hkdf(key, b"sealed cookie: encryption", 32), nonce[:16])
        cipher = ChaCha20Poly1305(subkey)
        sealed = header + nonce + cipher.encrypt(bytes(4) + nonce[16:], plain, context + header)
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


SHORT = b'j{"num_visits":3}'
LONG = b'j{"name":"' + b"a" * 100 + b'"}'
BODIES = (
    ("plain", SHORT, b"\0" + SHORT),
    ("compressed", LONG, b"\1" + struct.pack(">I", len(LONG)) + lz4_block(b'j{"name":"a', 1, 94, b'aaaaa"}')),
)
MOMENTS = (1_700_000_000_123, 1_690_000_000_000, 1_701_209_600_123)

vectors = []
for kind, kind_name in ((1, "signed"), (2, "encrypted")):
    for number, key in enumerate((bytes(range(32)), bytes(range(200, 248)))):
        nonce = bytes((7 * number + n) & 255 for n in range(24)) if kind == 2 else b""
        for form, payload, body in BODIES:
            vectors.append(
                {
                    "kind": kind_name,
                    "form": form,
                    "key": key.hex(),
                    "scope": "session",
                    "cookie_name": "sessionid",
                    "nonce": nonce.hex(),
                    "issued_at": MOMENTS[0],
                    "created_at": MOMENTS[1],
                    "expires_at": MOMENTS[2],
                    "payload": payload.decode(),
                    "cookie": seal(kind, key, "session", "sessionid", MOMENTS, body, nonce),
                }
            )
target = pathlib.Path(__file__).with_name("vectors.json")
target.write_text(json.dumps(vectors, indent=2) + "\n")
