#!/usr/bin/env python3
"""Writes every test vector below this directory.

    python3 spec/vectors/generate.py           write the files
    python3 spec/vectors/generate.py --check   exit 1 if a file differs, is missing or is extra

This is a second implementation of the formats, written from the pages in `spec/` and from the C2SP
specifications, without the project's Rust code. It needs Python 3.9 and the package `cryptography`.
Output is deterministic: keys have known seeds, times are constants, Ed25519 has no randomness.
"""

import base64
import hashlib
import sys
from pathlib import Path
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = Path(__file__).resolve().parent
FILES = {}  # path below this directory -> bytes

# ---------------------------------------------------------------- bytes, base64, hashes


def b64(data):
    return base64.b64encode(data).decode()


def sha256(data):
    return hashlib.sha256(data).digest()


def flip_bit(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# ---------------------------------------------------------------- Ed25519 by hand
# Only for signatures and keys that a correct library refuses to make (RFC 8032, section 5.1).

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def point_add(a, b):
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2
    x3 = (x1 * y2 + x2 * y1) * pow(1 + k, P - 2, P)
    y3 = (y1 * y2 + x1 * x2) * pow(1 - k, P - 2, P)
    return x3 % P, y3 % P


def point_mul(scalar, point):
    result = (0, 1)
    while scalar:
        if scalar & 1:
            result = point_add(result, point)
        point = point_add(point, point)
        scalar >>= 1
    return result


def recover_x(y, sign):
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - xx) % P:
        return None
    return P - x if x % 2 != sign else x


def encode_point(point):
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = (recover_x(BASE_Y, 0), BASE_Y)
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


def decode_point(data):
    y = int.from_bytes(data, "little")
    return recover_x(y & ((1 << 255) - 1), y >> 255), y & ((1 << 255) - 1)


def secret_scalar(seed):
    a = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return a & ((1 << 254) - 8) | 1 << 254


def sign_with_r(key, message, r, r_point):
    """A signature whose R is any point: S = r + H(R, A, M) a."""
    big_r = encode_point(r_point)
    k = int.from_bytes(hashlib.sha512(big_r + key.public + message).digest(), "little") % L
    s = (r + k * secret_scalar(key.seed)) % L
    # A verifier that multiplies by the cofactor accepts it.
    right = point_mul(8, point_add(r_point, point_mul(k, decode_point(key.public))))
    assert point_mul(8 * s, BASE) == right
    return big_r + s.to_bytes(32, "little")


# ---------------------------------------------------------------- keys (spec/notes.md)

NOTE, COSIGNATURE = 0x01, 0x04


class Key:
    def __init__(self, name, kind, byte):
        self.name, self.kind, self.seed = name, kind, bytes([byte]) * 32
        self.secret = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public = self.secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = key_id(name, kind, self.public)
        self.vkey = vkey(name, kind, self.public)

    def sign(self, message):
        return self.secret.sign(message)


def key_id(name, kind, public):
    return sha256(name.encode() + b"\n" + bytes([kind]) + public)[:4]


def vkey(name, kind, public, identifier=None):
    identifier = identifier or key_id(name, kind, public)
    return f"{name}+{identifier.hex()}+{b64(bytes([kind]) + public)}"


LOG = Key("example.org/log", NOTE, 1)
PUBLISHER = Key("publisher", NOTE, 2)
ALICE = Key("alice", COSIGNATURE, 3)
BELA = Key("bela", COSIGNATURE, 4)
PUBLISHER_B = Key("publisher-b", NOTE, 5)
PUBLISHER_C = Key("publisher-c", NOTE, 6)
STRANGER = Key("stranger.example", NOTE, 7)
WITNESS = Key("witness.example", COSIGNATURE, 8)
IMPOSTOR = Key("example.org/log", NOTE, 9)
C2SP_FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
GO_SUMDB = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

# ---------------------------------------------------------------- notes (spec/notes.md)


def line(name, identifier, signature):
    return f"— {name} {b64(identifier + signature)}\n"


def signature_line(key, text):
    return line(key.name, key.id, key.sign(text.encode()))


def note(text, *keys):
    return text + "\n" + "".join(signature_line(key, text) for key in keys)


# ---------------------------------------------------------------- tree (RFC 6962, section 2.1)


def leaf_hash(data):
    return sha256(b"\x00" + data)


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


def split_point(n):
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def root(leaves):
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = split_point(len(leaves))
    return node_hash(root(leaves[:k]), root(leaves[k:]))


def inclusion(index, leaves):
    """PATH(m, D[n]): from the leaf's sibling up."""
    if len(leaves) <= 1:
        return []
    k = split_point(len(leaves))
    if index < k:
        return inclusion(index, leaves[:k]) + [root(leaves[k:])]
    return inclusion(index - k, leaves[k:]) + [root(leaves[:k])]


def consistency(old, leaves, whole=True):
    """PROOF(m, D[n]). With whole=False the first subtree's root is always in it, as in evidence."""
    if old == len(leaves):
        return [] if whole else [root(leaves)]
    k = split_point(len(leaves))
    if old <= k:
        return consistency(old, leaves[:k], whole) + [root(leaves[k:])]
    return consistency(old - k, leaves[k:], False) + [root(leaves[:k])]


def roots_of_path(old, new, path, whole=True):
    """Both roots that a path of consistency(old, new, False) hashes to, for sizes of any magnitude."""
    path = list(path)

    def descend(old, new):
        if old == new:
            first = path.pop(0)
            return first, first
        k = split_point(new)
        if old <= k:
            smaller, larger = descend(old, k)
            return smaller, node_hash(larger, path.pop(0))
        smaller, larger = descend(old - k, new - k)
        left = path.pop(0)
        return node_hash(left, smaller), node_hash(left, larger)

    result = descend(old, new)
    assert not path
    return result


def path_length(old, new):
    if old == new:
        return 1
    k = split_point(new)
    return 1 + (path_length(old, k) if old <= k else path_length(old - k, new - k))


def hash_lines(hashes):
    return "".join(b64(h) + "\n" for h in hashes)


def entries(count):
    return [leaf_hash(f"entry {i}".encode()) for i in range(count)]


def forked(leaves, at):
    """Another history with the same first `at` entries."""
    return leaves[:at] + [leaf_hash(b"forked " + leaf) for leaf in leaves[at:]]


# ---------------------------------------------------------------- checkpoints (spec/checkpoints.md)

ORIGIN = "example.org/log"
NOW = 1790000000
EMPTY_ROOT = sha256(b"")


def checkpoint_text(size, tree_root, origin=ORIGIN, extensions=()):
    return f"{origin}\n{size}\n{b64(tree_root)}\n" + "".join(e + "\n" for e in extensions)


def checkpoint_of(leaves, size=None, **more):
    size = len(leaves) if size is None else size
    return checkpoint_text(size, root(leaves[:size]), **more)


def cosign_message(text, seconds, header="cosignature/v1"):
    return f"{header}\ntime {seconds}\n{text}".encode()


def cosign_line(key, text, seconds, message=None, order="big"):
    signature = key.sign(cosign_message(text, seconds) if message is None else message)
    return line(key.name, key.id, seconds.to_bytes(8, order) + signature)


def cosigned(text, *cosigners, log=LOG):
    return note(text, log) + "".join(cosign_line(key, text, at) for key, at in cosigners)


# ---------------------------------------------------------------- the files


class Format:
    def __init__(self, directory, extension, title, intro):
        self.directory, self.extension = directory, extension
        self.title, self.intro, self.rows = title, intro, []

    def add(self, kind, name, claim, answer, data):
        data = data.encode() if isinstance(data, str) else data
        path = f"{self.directory}/{kind}/{name}.{self.extension}"
        assert path not in FILES, path
        assert not any(FILES[p] == data for p in FILES if p.startswith(self.directory + "/")), path
        assert answer.startswith(("refuse", "skip")) == (kind == "invalid"), path
        FILES[path] = data
        self.rows.append((kind, name, claim, answer))

    def valid(self, name, claim, data, answer):
        self.add("valid", name, claim, answer, data)

    def invalid(self, name, claim, data, answer="refuse"):
        self.add("invalid", name, claim, answer, data)

    def write_index(self):
        text = f"# {self.title}\n\n{self.intro.strip()}\n\n"
        text += "`generate.py` writes this page and the files. [answers.tsv](answers.tsv) has the last column again.\n"
        for kind in ("valid", "invalid"):
            text += f"\n## {kind}\n\nFiles `{kind}/FILE.{self.extension}`.\n\n"
            text += "| file | claim | a verifier must answer |\n|---|---|---|\n"
            for row in self.rows:
                if row[0] == kind:
                    text += "| `{}` | {} | {} |\n".format(*row[1:])
        FILES[f"{self.directory}/README.md"] = text.encode()
        answers = "".join(f"{kind}/{name}\t{answer}\n" for kind, name, _, answer in self.rows)
        FILES[f"{self.directory}/answers.tsv"] = answers.encode()


def write_notes():
    f = Format("notes", "note", "Vectors: signed notes", """
The page is [notes.md](../../notes.md). The verifier knows three keys, and accepts a note that at least
one of them signed: `publisher` and `publisher-b` of [keys.md](../keys.md), and the key of the example
in the C2SP signed-note specification,
`example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k`.
""")
    text = "first line\nsecond line\n"
    good = note(text, PUBLISHER)
    lines = signature_line(PUBLISHER, text)
    blob = PUBLISHER.id + PUBLISHER.sign(text.encode())

    def with_lines(*all_lines, text=text):
        return text + "\n" + "".join(all_lines)

    def valid(name, claim, data, text=text, signers="publisher"):
        f.valid(name, claim, data, f"text of {len(text.encode())} bytes, signed by {signers}")

    valid("one-signature", "A text and one signature line.", good)
    valid("two-signatures", "Two known keys signed.", note(text, PUBLISHER, PUBLISHER_B),
          signers="publisher and publisher-b")
    c2sp_text = "This is an example message.\n"
    valid("c2sp-example", "The example of the C2SP specification.",
          c2sp_text + "\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONnc"
          "AlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n", c2sp_text, "example.com/foo")
    valid("line-of-an-unknown-key-is-ignored", "A line of an unknown key is ignored.",
          note(text, STRANGER, PUBLISHER))
    valid("false-line-of-an-unknown-key-is-ignored", "It is not verified either.",
          with_lines(line(STRANGER.name, STRANGER.id, bytes(64)), lines))
    valid("line-of-2420-bytes-is-ignored", "An ML-DSA-44 signature is ignored.",
          with_lines(line("pq.example", bytes([6] * 4), bytes([6] * 2420)), lines))
    valid("known-name-with-another-id-is-ignored", "Another key id is an unknown key.",
          with_lines(line("publisher-b", flip_bit(PUBLISHER_B.id, 3), bytes(64)), lines))
    valid("known-id-with-another-name-is-ignored", "Another name is an unknown key.",
          with_lines(line("publisher-z", PUBLISHER_B.id, bytes(64)), lines))
    valid("repeated-line-counts-once", "The same line twice is one signer.", with_lines(lines, lines))
    for name, claim, its_text in [
        ("text-with-empty-lines", "The text ends at the last empty line.", "one\n\n\ntwo\n\n"),
        ("text-of-one-newline", "The shortest text is one newline.", "\n"),
        ("text-not-ascii", "The text is UTF-8.", "ed è subito sera — 漢字\n"),
        ("text-with-u007f", "U+007F and the C1 controls are allowed in a text.",
         "delete \u007f, next line \u0085.\n"),
    ]:
        valid(name, claim, note(its_text, PUBLISHER), its_text)
    valid("text-that-is-a-note", "The text may itself be a note.", note(good, PUBLISHER_B), good, "publisher-b")
    strangers = [Key(f"stranger-{i}.example", NOTE, 100 + i) for i in range(63)]
    valid("sixty-four-lines", "64 signature lines are read.", note(text, *strangers, PUBLISHER))

    f.invalid("sixty-five-lines", "65 signature lines are refused.",
              note(text, *strangers, Key("stranger-63.example", NOTE, 163), PUBLISHER))
    f.invalid("empty-file", "Zero bytes are not a note.", "")
    f.invalid("text-alone", "There is no empty line and no signature.", text)
    f.invalid("no-signature-line", "There is no line after the empty line.", text + "\n")
    f.invalid("no-empty-line-before-signatures", "The signature line follows the text directly.",
              text + lines)
    f.invalid("text-without-final-newline", "The signature covers the text without its final newline.",
              with_lines(line(PUBLISHER.name, PUBLISHER.id, PUBLISHER.sign(text[:-1].encode()))))
    f.invalid("signature-covers-the-empty-line", "The signature covers the separating empty line too.",
              with_lines(line(PUBLISHER.name, PUBLISHER.id, PUBLISHER.sign((text + "\n").encode()))))
    f.invalid("last-line-without-newline", "The last signature line has no newline.", good[:-1])
    f.invalid("empty-line-at-the-end", "An empty line follows the signature lines.", good + "\n")
    f.invalid("carriage-returns", "Lines end with CR LF.", good.replace("\n", "\r\n"))
    f.invalid("tab-in-text", "The text has a tab.", note("first\tline\n", PUBLISHER))
    f.invalid("nul-in-text", "The text has a NUL byte.", note("first\0line\n", PUBLISHER))
    bad = b"first \xff line\n"
    f.invalid("text-not-utf-8", "The text is not UTF-8.",
              bad + b"\n" + line(PUBLISHER.name, PUBLISHER.id, PUBLISHER.sign(bad)).encode())
    f.invalid("byte-order-mark", "A byte order mark precedes the text.", "\ufeff" + good)
    f.invalid("hyphen-for-em-dash", "A signature line begins with a hyphen.",
              with_lines(lines.replace("—", "-")))
    f.invalid("no-space-after-dash", "There is no space after the em dash.",
              with_lines(lines.replace("— ", "—")))
    f.invalid("two-spaces-after-dash", "There are two spaces after the em dash.",
              with_lines(lines.replace("— ", "—  ")))
    f.invalid("space-after-base64", "A signature line ends with a space.", with_lines(lines[:-1] + " \n"))
    f.invalid("base64-without-padding", "The base64 has no padding.", with_lines(lines.replace("=", "")))
    i = len(b64(blob).rstrip("=")) - 1
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    digits = b64(blob)
    stray = digits[:i] + alphabet[alphabet.index(digits[i]) + 1] + digits[i + 1 :]
    assert base64.b64decode(stray) == blob
    f.invalid("base64-with-stray-bits", "The unused bits of the last base64 digit are not zero.",
              with_lines(f"— publisher {stray}\n"))
    f.invalid("base64-in-two-pieces", "Two padded base64 texts stand one after the other.",
              with_lines(f"— publisher {b64(blob[:4])}{b64(blob[4:])}\n"))
    assert "+" in digits or "/" in digits
    f.invalid("base64-url-alphabet", "The base64 uses `-` and `_`.",
              with_lines("— publisher " + digits.replace("+", "-").replace("/", "_") + "\n"))
    f.invalid("known-key-with-empty-signature", "A known key's line has a key id and no signature.",
              with_lines(f"— publisher {b64(PUBLISHER.id)}\n"))
    f.invalid("signature-of-63-bytes", "The signature lacks a byte.",
              with_lines(line(PUBLISHER.name, PUBLISHER.id, blob[4:-1])))
    f.invalid("signature-of-65-bytes", "The signature has a byte more.",
              with_lines(line(PUBLISHER.name, PUBLISHER.id, blob[4:] + b"\0")))
    f.invalid("unknown-keys-only", "No known key signed.", note(text, STRANGER))
    f.invalid("changed-text", "A byte of the text was changed.", good.replace("second", "Second"))
    f.invalid("text-with-one-more-line", "A line was added to the text.",
              good.replace("line\n\n", "line\nmore\n\n"))
    f.invalid("text-with-one-more-newline", "A newline was added to the text.",
              good.replace("line\n\n", "line\n\n\n"))
    f.invalid("changed-signature", "A bit of the signature was changed.",
              with_lines(line(PUBLISHER.name, PUBLISHER.id, flip_bit(blob[4:], 40))))
    forged = line(PUBLISHER_B.name, PUBLISHER_B.id, IMPOSTOR.sign(text.encode()))
    f.invalid("false-line-beside-a-true-one", "A false line of a known key spoils the note.",
              with_lines(lines, forged))
    f.invalid("false-line-after-a-true-one-of-that-key", "A known key has a true line and a false line.",
              with_lines(lines, line(PUBLISHER.name, PUBLISHER.id, bytes(64))))
    f.invalid("signature-of-another-key", "Another key signed under a known name and key id.",
              with_lines(line(PUBLISHER.name, PUBLISHER.id, PUBLISHER_B.sign(text.encode()))))
    as_cosigner = Key("publisher", COSIGNATURE, 2)
    f.invalid("key-id-of-the-cosignature-type", "The key id is the one of type 0x04 for the same 32 bytes.",
              with_lines(signature_line(as_cosigner, text)))
    signature = PUBLISHER.sign(text.encode())
    s = int.from_bytes(signature[32:], "little") + L
    f.invalid("s-plus-the-group-order", "S is S + L: equal modulo L, not canonical.",
              with_lines(line(PUBLISHER.name, PUBLISHER.id, signature[:32] + s.to_bytes(32, "little"))))
    f.invalid("r-of-small-order", "R is the identity. The equation holds; strict verification refuses.",
              with_lines(line(PUBLISHER.name, PUBLISHER.id, sign_with_r(PUBLISHER, text.encode(), 0, (0, 1)))))
    r = 12345
    mixed = point_add(point_mul(r, BASE), decode_point(ORDER_8))
    f.invalid("valid-only-with-the-cofactor",
              "R has a component of order 8. Only verification with the cofactor accepts.",
              with_lines(line(PUBLISHER.name, PUBLISHER.id, sign_with_r(PUBLISHER, text.encode(), r, mixed))))
    f.write_index()


def write_verifier_keys():
    f = Format("verifier-keys", "vkey", "Vectors: verifier keys", """
The page is [notes.md](../../notes.md). A file is one line with its newline; the key is the line without it.
A reader of note keys accepts type 0x01, a reader of cosigner keys accepts type 0x04. Both refuse every
file of `invalid/`. Each file of `valid/` is accepted by the reader of its type and refused by the other.
""")

    def accept(name, claim, text, kind="note"):
        key_name, identifier = text.split("+")[:2]
        f.valid(name, claim, text + "\n", f"{kind} key {key_name} with id {identifier}")

    accept("note-key", "A key of type 0x01.", PUBLISHER.vkey)
    accept("cosigner-key", "A key of type 0x04.", ALICE.vkey, "cosigner")
    accept("sum-golang-org", "The key of the Go checksum database, in use since 2019.", GO_SUMDB)
    accept("c2sp-example", "The example of the C2SP specification.", C2SP_FOO)
    plus = next(k for k in (Key("plus", NOTE, i) for i in range(256)) if "+" in b64(bytes([NOTE]) + k.public))
    accept("base64-with-plus", "The base64 contains `+`: the first two are the separators.", plus.vkey)
    accept("name-not-ascii", "A name may have any letters.", Key("Zoë—漢", NOTE, 2).vkey)
    accept("name-of-255-bytes", "A name has at most 255 bytes.", Key("n" * 255, NOTE, 2).vkey)

    def refuse(name, claim, text):
        f.invalid(name, claim, text + "\n")

    public = PUBLISHER.public
    refuse("id-of-another-key", "The key id was not computed from this name and key.",
           vkey("publisher", NOTE, public, PUBLISHER_B.id))
    refuse("renamed", "The name was changed and the key id was not.", PUBLISHER.vkey.replace("publisher", "publishes"))
    refuse("id-in-upper-case", "The key id is in upper case.",
           PUBLISHER.vkey.replace(PUBLISHER.id.hex(), PUBLISHER.id.hex().upper()))
    refuse("id-of-three-bytes", "The key id has 6 digits.",
           PUBLISHER.vkey.replace(PUBLISHER.id.hex(), PUBLISHER.id.hex()[:6]))
    refuse("name-empty", "The name is empty.", vkey("", NOTE, public))
    refuse("name-with-space", "The name has a space.", vkey("a b", NOTE, public))
    refuse("name-with-no-break-space", "The name has U+00A0, a Unicode space.", vkey("a\u00a0b", NOTE, public))
    refuse("name-with-plus", "The name has a plus.", vkey("a+b", NOTE, public))
    refuse("name-with-u007f", "The name has a control character.", vkey("a\u007fb", NOTE, public))
    refuse("name-of-256-bytes", "The name has 256 bytes.", vkey("n" * 256, NOTE, public))
    refuse("type-0x02", "The type is ECDSA, 0x02.", vkey("publisher", 2, public))
    refuse("type-0x06", "The type is ML-DSA-44, 0x06, with 1,312 bytes.", vkey("publisher", 6, bytes(1312)))
    refuse("key-of-31-bytes", "The key lacks a byte.", vkey("publisher", NOTE, public[:-1]))
    refuse("key-of-33-bytes", "The key has a byte more.", vkey("publisher", NOTE, public + b"\0"))
    refuse("no-key", "There is a name and a key id only.", f"publisher+{PUBLISHER.id.hex()}")
    refuse("space-at-the-end", "A space follows the key.", PUBLISHER.vkey + " ")
    refuse("private-key", "The line is a private key.",
           f"PRIVATE+KEY+publisher+{PUBLISHER.id.hex()}+{b64(bytes([NOTE]) + PUBLISHER.seed)}")
    off_curve = next(y for y in range(2, 99) if recover_x(y, 0) is None)
    refuse("not-a-point", "The 32 bytes are no point of the curve.",
           vkey("publisher", NOTE, off_curve.to_bytes(32, "little")))
    refuse("small-order-1", "The key is the identity.", vkey("publisher", NOTE, (1).to_bytes(32, "little")))
    refuse("small-order-4", "The key has order 4.", vkey("publisher", NOTE, bytes(32)))
    refuse("small-order-8", "The key has order 8.", vkey("publisher", NOTE, ORDER_8))
    refuse("small-order-unreduced", "The key is the identity with y = p + 1.",
           vkey("publisher", NOTE, (P + 1).to_bytes(32, "little")))
    f.write_index()


def write_checkpoints():
    f = Format("checkpoints", "checkpoint", "Vectors: checkpoints", """
The page is [checkpoints.md](../../checkpoints.md). The verifier follows the log with the origin
`example.org/log` and the log key of [keys.md](../keys.md). A checkpoint that it accepts is a tree head.
""")
    tree = entries(5)
    tree_root = root(tree)
    text = checkpoint_of(tree)

    def signed(size, b64_root, extensions=""):
        return note(f"{ORIGIN}\n{size}\n{b64_root}\n{extensions}", LOG)

    def valid(name, claim, data, size=5, tree_root=tree_root):
        f.valid(name, claim, data, f"size {size}, root {b64(tree_root)}")

    valid("five-entries", "The head of `entry 0` to `entry 4`.", note(text, LOG))
    valid("size-zero", "The empty tree has the root SHA-256 of nothing.",
          note(checkpoint_text(0, EMPTY_ROOT), LOG), 0, EMPTY_ROOT)
    valid("size-one", "The root of one entry is its leaf hash.", note(checkpoint_of(entries(1)), LOG),
          1, leaf_hash(b"entry 0"))
    valid("largest-size", "The largest size is 2^63 - 1.", note(checkpoint_text(2**63 - 1, tree_root), LOG),
          2**63 - 1)
    valid("extension-lines", "Extension lines are signed and have no meaning.",
          note(checkpoint_of(tree, extensions=["extension one", "— not a signature"]), LOG))
    valid("signature-of-an-unknown-key", "Lines of unknown keys are ignored.", note(text, STRANGER, LOG))
    valid("cosigned", "Cosignatures are ignored by a verifier of the log's signature.",
          cosigned(text, (ALICE, NOW)))
    padding = "x" * (2048 - len(text) - 1)
    valid("text-of-2048-bytes", "The text has at most 2,048 bytes.",
          note(checkpoint_of(tree, extensions=[padding]), LOG))

    f.invalid("text-of-2049-bytes", "The text has 2,049 bytes.",
              note(checkpoint_of(tree, extensions=[padding + "x"]), LOG))
    f.invalid("size-with-leading-zero", "The size has a leading zero.", signed("05", b64(tree_root)))
    f.invalid("size-with-plus", "The size has a sign.", signed("+5", b64(tree_root)))
    f.invalid("size-with-space", "The size is followed by a space.", signed("5 ", b64(tree_root)))
    f.invalid("size-empty", "The size is an empty line.", signed("", b64(tree_root)))
    f.invalid("size-double-zero", "Size 0 has one spelling.", signed("00", b64(EMPTY_ROOT)))
    f.invalid("size-in-hex", "The size is hexadecimal.", signed("0x5", b64(tree_root)))
    f.invalid("size-not-ascii", "The size is U+0665, a digit that is not ASCII.", signed("٥", b64(tree_root)))
    f.invalid("size-2-to-the-63", "The size is 2^63.", signed(2**63, b64(tree_root)))
    f.invalid("size-2-to-the-64", "The size is 2^64.", signed(2**64, b64(tree_root)))
    f.invalid("root-of-31-bytes", "The root has 31 bytes.", signed(5, b64(tree_root[:-1])))
    f.invalid("root-of-33-bytes", "The root has 33 bytes.", signed(5, b64(tree_root + b"\0")))
    f.invalid("root-in-hex", "The root is hexadecimal.", signed(5, tree_root.hex()))
    f.invalid("root-without-padding", "The root has no padding.", signed(5, b64(tree_root).rstrip("=")))
    digits = b64(tree_root)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    f.invalid("root-with-stray-bits", "The unused bits of the root's last digit are not zero.",
              signed(5, digits[:42] + alphabet[alphabet.index(digits[42]) + 1] + "="))
    f.invalid("size-zero-with-another-root", "Size 0 has the root of another tree.",
              note(checkpoint_text(0, tree_root), LOG))
    f.invalid("no-root-line", "There is no third line.", note(f"{ORIGIN}\n5\n", LOG))
    f.invalid("empty-extension-line", "An extension line is empty.",
              note(text + "one\n\ntwo\n", LOG))
    f.invalid("empty-line-at-the-end-of-the-text", "The last line of the text is empty.",
              note(text + "\n", LOG))
    f.invalid("another-origin", "The log key signed a checkpoint of another origin.",
              note(checkpoint_of(tree, origin="example.org/other"), LOG))
    f.invalid("origin-in-another-case", "Origins differ in case.",
              note(checkpoint_of(tree, origin="Example.org/log"), LOG))
    f.invalid("origin-with-space-at-the-end", "The origin ends with a space.",
              note(checkpoint_of(tree, origin="example.org/log "), LOG))
    f.invalid("key-of-the-same-name", "Another key with the log key's name signed: its key id differs.",
              note(text, IMPOSTOR))
    f.invalid("false-signature-under-the-key-id", "Another key signed under the log key's name and key id.",
              text + "\n" + line(LOG.name, LOG.id, IMPOSTOR.sign(text.encode())))
    f.invalid("publisher-signed", "A publisher signed instead of the log.", note(text, PUBLISHER))
    f.invalid("cosigned-only", "A peer cosigned and the log did not sign.",
              text + "\n" + cosign_line(ALICE, text, NOW))
    f.invalid("changed-size", "The size was changed.", note(text, LOG).replace("\n5\n", "\n6\n"))
    f.invalid("changed-extension-line", "An extension line was changed.",
              note(text + "one\n", LOG).replace("one", "two"))
    f.write_index()


def write_cosigned_heads():
    f = Format("cosigned-heads", "cosigned", "Vectors: cosigned heads", """
The page is [checkpoints.md](../../checkpoints.md). The verifier follows the log of [keys.md](../keys.md)
and asks for the cosignature of the peer `alice`. It answers with the head and the newest time that
`alice` signed. No file depends on the present time.
""")
    tree = entries(5)
    text = checkpoint_of(tree)
    extended = checkpoint_of(tree, extensions=["extension one"])

    def valid(name, claim, data, seconds=NOW):
        f.valid(name, claim, data, f"size 5, root {b64(root(tree))}, time {seconds}")

    valid("one-cosignature", "The log signed, the peer cosigned.", cosigned(text, (ALICE, NOW)))
    valid("extension-lines-are-covered", "The cosignature covers extension lines.",
          cosigned(extended, (ALICE, NOW)))
    valid("newest-of-two-counts", "Of two cosignatures of one peer the newest counts.",
          cosigned(text, (ALICE, NOW), (ALICE, NOW - 60)))
    valid("other-cosigner-is-ignored", "A cosignature of an unknown witness is ignored.",
          cosigned(text, (WITNESS, NOW + 5), (ALICE, NOW)))
    valid("cosignature-before-the-log-line", "The order of lines has no meaning.",
          text + "\n" + cosign_line(ALICE, text, NOW) + signature_line(LOG, text))
    valid("time-zero", "The smallest time is 0.", cosigned(text, (ALICE, 0)), 0)
    valid("largest-time", "The largest time is 2^63 - 1.", cosigned(text, (ALICE, 2**63 - 1)), 2**63 - 1)

    def forged(message=None, seconds=NOW, order="big", key=ALICE):
        return note(text, LOG) + cosign_line(key, text, seconds, message, order)

    f.invalid("time-little-endian", "The time in the blob is little-endian.", forged(order="little"))
    f.invalid("time-2-to-the-63", "The time is 2^63, and the signature is right.", forged(seconds=2**63))
    f.invalid("time-differs-from-the-signed-one", "The blob has another time than the signed message.",
              forged(message=cosign_message(text, NOW - 1)))
    f.invalid("time-with-leading-zero-signed", "The signed message writes the time with a leading zero.",
              forged(message=cosign_message(text, "0" + str(NOW))))
    f.invalid("header-of-another-version", "The signed message begins with `cosignature/v2`.",
              forged(message=cosign_message(text, NOW, "cosignature/v2")))
    f.invalid("extension-lines-not-covered", "The cosignature leaves the extension line out.",
              note(extended, LOG) + cosign_line(ALICE, extended, NOW, cosign_message(text, NOW)))
    f.invalid("text-alone-signed", "The peer's key signed the checkpoint's text like a log does.",
              forged(message=text.encode()))
    f.invalid("cosignature-of-another-head", "The cosignature is of another head of the log.",
              forged(message=cosign_message(checkpoint_of(entries(4)), NOW)))
    f.invalid("log-signature-only", "The peer did not cosign.", note(text, LOG))
    f.invalid("cosignature-only", "The log did not sign.", text + "\n" + cosign_line(ALICE, text, NOW))
    f.invalid("another-peer-cosigned", "Another peer cosigned.", cosigned(text, (BELA, NOW)))
    as_note_key = Key("alice", NOTE, 3)
    f.invalid("key-id-of-the-note-type", "The line has the key id of type 0x01 for the same 32 bytes.",
              note(text, LOG, as_note_key))
    f.invalid("false-line-beside-a-true-one", "The peer has a true line and a false line.",
              cosigned(text, (ALICE, NOW)) + line(ALICE.name, ALICE.id, bytes(72)))
    signature = ALICE.sign(cosign_message(text, NOW))
    f.invalid("no-time", "The blob is a signature without a time.",
              note(text, LOG) + line(ALICE.name, ALICE.id, signature))
    f.invalid("one-byte-too-short", "The blob lacks its last byte.",
              note(text, LOG) + line(ALICE.name, ALICE.id, NOW.to_bytes(8, "big") + signature[:-1]))
    f.invalid("log-signature-false", "The cosignature is right and the log's signature is not.",
              text + "\n" + line(LOG.name, LOG.id, bytes(64)) + cosign_line(ALICE, text, NOW))
    f.invalid("another-origin", "Both signed a checkpoint of another origin.",
              cosigned(checkpoint_of(tree, origin="example.org/other"), (ALICE, NOW)))
    f.write_index()


# ---------------------------------------------------------------- statements (spec/statements.md)

DIGEST = hashlib.sha256(b"hello\n").hexdigest()
ARTIFACT = f"x86_64-linux hello 6 {DIGEST} file"


def manifest(artifacts=(ARTIFACT,), header="unanimity/manifest/v1", **changes):
    fields = {"log": ORIGIN, "product": "hello", "channel": "stable", "sequence": 1, "version": "1.0.0",
              "issued": NOW, "expires": NOW + 90 * 86400}
    fields.update(changes)
    lines = [header] + [f"{word} {value}" for word, value in fields.items() if value is not None]
    return "".join(text + "\n" for text in lines + [f"artifact {artifact}" for artifact in artifacts])


def withdrawal(header="unanimity/withdrawal/v1", **changes):
    fields = {"log": ORIGIN, "product": "hello", "channel": "stable", "sequence": 1, "issued": NOW,
              "reason": "It deletes what it should keep."}
    fields.update(changes)
    return "".join(f"{text}\n" for text in [header] + [f"{word} {value}" for word, value in fields.items()
                                                       if value is not None])


def statement_answer(text):
    lines = [text_line.split(" ", 1) for text_line in text.splitlines()]
    kind, fields = lines[0][0].split("/")[1], dict(lines[1:])
    answer = "{} of {product} {channel}: sequence {sequence}, issued {issued}, ".format(kind, **fields)
    if kind == "withdrawal":
        return answer + f"reason of {len(fields['reason'].encode())} bytes"
    count = sum(words[0] == "artifact" for words in lines)
    platform, file, length, _, _, *unpacked = fields["artifact"].split(" ")  # the last artifact
    answer += "expires {expires}, version {version}, artifacts {}, ".format(count, **fields)
    answer += f"the last: {platform} {file} of {length} bytes"
    return answer + (", unpacked {} bytes in {} entries".format(*unpacked) if unpacked else "")


def write_statements():
    f = Format("statements", "statement", "Vectors: texts of statements", """
The page is [statements.md](../../statements.md). A file is the text of a statement, without signatures.
A reader judges the form only. Signatures, product and log are judged in
[signed-statements](../signed-statements/README.md).
""")
    good = manifest()

    def valid(name, claim, text):
        f.valid(name, claim, text, statement_answer(text))

    valid("manifest-of-a-file", "The smallest manifest.", good)
    tar = f"hello.tar 10240 {DIGEST} tar 6 3"
    valid("manifest-of-archives", "Archives carry the unpacked size and the number of entries.",
          manifest([f"a {tar}", f"b hello.tar.gz 512 {DIGEST} tar.gz 6 3",
                    f"c hello.tar.zst 512 {DIGEST} tar.zst 6 3"]))
    sixty_four = [f"platform-{i:02} hello 6 {DIGEST} file" for i in range(64)]
    valid("manifest-of-64-platforms", "At most 64 platforms.", manifest(sixty_four))
    longest = "+~_-." + "n" * 59
    valid("manifest-with-longest-names", "A name has at most 64 bytes.",
          manifest([f"{longest} {longest} 6 {DIGEST} file"], product=longest, channel=longest, version=longest))
    valid("manifest-with-largest-numbers", "Numbers are below 2^63.",
          manifest([f"x hello {2**63 - 1} {DIGEST} tar {2**63 - 1} {2**63 - 1}"], sequence=2**63 - 1,
                   issued=2**63 - 2, expires=2**63 - 1))
    valid("manifest-with-smallest-numbers", "Only the sequence begins at 1.",
          manifest([f"x hello 0 {DIGEST} tar 0 0"], issued=0, expires=1))
    valid("withdrawal", "A withdrawal of release 1.", withdrawal())
    valid("withdrawal-with-reason-of-200-bytes", "A reason has at most 200 bytes.",
          withdrawal(reason="x" * 200))
    valid("withdrawal-with-reason-not-ascii", "A reason is UTF-8.",
          withdrawal(reason="Löscht, was bleiben soll."))

    def swap(text, a, b):
        lines = text.split("\n")
        lines[a], lines[b] = lines[b], lines[a]
        return "\n".join(lines)

    f.invalid("empty", "Zero bytes.", "")
    f.invalid("manifest-header-of-another-version", "The version is 2.",
              manifest(header="unanimity/manifest/v2"))
    f.invalid("manifest-header-with-space", "The header ends with a space.",
              manifest(header="unanimity/manifest/v1 "))
    f.invalid("kind-unknown", "The kind of statement is unknown.", manifest(header="unanimity/recipe/v1"))
    f.invalid("manifest-lines-swapped", "`channel` precedes `product`.", swap(good, 2, 3))
    f.invalid("manifest-line-repeated", "The line `version` is there twice.",
              good.replace("version 1.0.0\n", "version 1.0.0\nversion 1.0.0\n"))
    for word in ("log", "product", "channel", "sequence", "version", "issued", "expires"):
        f.invalid(f"manifest-without-{word}", f"The line `{word}` is missing.", manifest(**{word: None}))
    f.invalid("manifest-without-artifact", "There is no artifact.", manifest([]))
    f.invalid("manifest-with-unknown-line", "An unknown line follows the artifacts.", good + "colour red\n")
    f.invalid("manifest-with-empty-line", "An empty line follows the artifacts.", good + "\n")
    f.invalid("manifest-without-final-newline", "The last line has no newline.", good[:-1])
    f.invalid("manifest-with-two-spaces", "Two spaces separate a field.",
              good.replace("product hello", "product  hello"))
    f.invalid("manifest-with-space-at-line-end", "A line ends with a space.",
              good.replace("hello\n", "hello \n", 1))
    f.invalid("manifest-with-carriage-returns", "Lines end with CR LF.", good.replace("\n", "\r\n"))
    f.invalid("sequence-zero", "The sequence is 0.", manifest(sequence=0))
    f.invalid("sequence-2-to-the-63", "The sequence is 2^63.", manifest(sequence=2**63))
    f.invalid("sequence-with-leading-zero", "The sequence has a leading zero.", manifest(sequence="01"))
    f.invalid("sequence-negative", "The sequence has a sign.", manifest(sequence="-1"))
    f.invalid("expires-with-issued", "The release expires when it is issued.", manifest(expires=NOW))
    f.invalid("expires-before-issued", "The release expires before it is issued.", manifest(expires=NOW - 1))
    f.invalid("product-begins-with-dot", "A name begins with a dot.", manifest(product=".hello"))
    f.invalid("product-with-slash", "A name has a slash.", manifest(product="hello/world"))
    f.invalid("product-not-ascii", "A name is not ASCII.", manifest(product="héllo"))
    f.invalid("product-of-65-bytes", "A name has 65 bytes.", manifest(product="n" * 65))
    f.invalid("version-with-space", "A version has a space.", manifest(version="1.0 beta"))
    f.invalid("log-begins-like-a-statement", "An origin begins with `unanimity/`.",
              manifest(log="unanimity/log"))
    f.invalid("log-of-256-bytes", "An origin has 256 bytes.", manifest(log="o" * 256))
    f.invalid("log-with-two-spaces", "An origin has two spaces in a row.", manifest(log="example  log"))
    f.invalid("log-not-ascii", "An origin is not ASCII.", manifest(log="exämple.org/log"))
    f.invalid("artifacts-not-ascending", "Platforms are not in ascending order.",
              manifest([f"b{ARTIFACT[1:]}", f"a{ARTIFACT[1:]}"]))
    f.invalid("artifact-repeated", "A platform is there twice.", manifest([ARTIFACT, ARTIFACT]))
    f.invalid("artifacts-65", "65 platforms.", manifest(sixty_four + [f"z hello 6 {DIGEST} file"]))
    f.invalid("artifact-file-with-slash", "A file name has a slash.", manifest([f"x ../hello 6 {DIGEST} file"]))
    f.invalid("artifact-digest-in-upper-case", "A digest is in upper case.",
              manifest([f"x hello 6 {DIGEST.upper()} file"]))
    f.invalid("artifact-digest-too-short", "A digest has 62 digits.",
              manifest([f"x hello 6 {DIGEST[:-2]} file"]))
    f.invalid("artifact-length-2-to-the-63", "A length is 2^63.", manifest([f"x hello {2**63} {DIGEST} file"]))
    f.invalid("artifact-kind-unknown", "A kind is unknown.", manifest([f"x hello.zip 6 {DIGEST} zip 6 1"]))
    f.invalid("artifact-file-with-entries", "A plain file has the numbers of an archive.",
              manifest([f"x hello 6 {DIGEST} file 6 1"]))
    f.invalid("artifact-archive-without-entries", "An archive lacks its number of entries.",
              manifest([f"x hello.tar 6 {DIGEST} tar 6"]))
    f.invalid("artifact-without-kind", "An artifact has no kind.", manifest([f"x hello 6 {DIGEST}"]))
    f.invalid("withdrawal-header-of-another-version", "The version is 2.",
              withdrawal(header="unanimity/withdrawal/v2"))
    f.invalid("withdrawal-without-reason", "The line `reason` is missing.", withdrawal(reason=None))
    f.invalid("withdrawal-with-empty-reason", "The reason is empty.", withdrawal(reason=""))
    f.invalid("withdrawal-with-reason-of-201-bytes", "The reason has 201 bytes.",
              withdrawal(reason="x" * 201))
    f.invalid("withdrawal-with-space-around-reason", "The reason ends with a space.",
              withdrawal(reason="Bad. "))
    f.invalid("withdrawal-with-control-character", "The reason has U+007F.", withdrawal(reason="Bad \u007f."))
    f.invalid("withdrawal-with-reason-of-two-lines", "A line follows the reason.",
              withdrawal(reason="Bad.\nVery."))
    f.invalid("withdrawal-with-sequence-zero", "The sequence is 0.", withdrawal(sequence=0))
    f.write_index()


def write_signed_statements():
    f = Format("signed-statements", "note", "Vectors: signed statements", """
The page is [statements.md](../../statements.md). A file is a log entry. The verifier installs the product
`hello` of the channel `stable` from the log `example.org/log`. Two of the three keys `publisher`,
`publisher-b` and `publisher-c` of [keys.md](../keys.md) have to sign. No file depends on the present time.
""")
    good, newer = manifest(), "refuse, with all earlier releases"
    f.valid("manifest-signed-by-two-of-three", "The threshold signed.", note(good, PUBLISHER, PUBLISHER_C),
            "release 1-1.0.0")
    f.valid("manifest-signed-by-three", "More than the threshold signed.",
            note(good, PUBLISHER, PUBLISHER_B, PUBLISHER_C), "release 1-1.0.0")
    f.valid("manifest-with-a-stranger", "The line of an unknown key is ignored.",
            note(good, STRANGER, PUBLISHER, PUBLISHER_B), "release 1-1.0.0")
    f.valid("withdrawal-signed-by-two-of-three", "The threshold signed.",
            note(withdrawal(), PUBLISHER_B, PUBLISHER),
            "withdrawal of sequence 1")
    f.invalid("manifest-signed-by-one", "One key signed.", note(good, PUBLISHER))
    f.invalid("manifest-signed-by-one-key-twice", "One key signed twice.", note(good, PUBLISHER, PUBLISHER))
    f.invalid("manifest-signed-by-one-and-a-stranger", "An unknown key does not count.",
              note(good, PUBLISHER, STRANGER))
    f.invalid("manifest-signed-by-one-key-under-two-names", "The same 32 bytes under another name are an unknown key.",
              note(good, PUBLISHER, Key("publisher-b", NOTE, 2)))
    f.invalid("manifest-signed-by-the-log", "The log's key is no publisher key.", note(good, PUBLISHER, LOG))
    f.invalid("manifest-with-a-false-line", "A false line of a publisher spoils the note of two others.",
              note(good, PUBLISHER, PUBLISHER_B) + line(PUBLISHER_C.name, PUBLISHER_C.id, bytes(64)))
    f.invalid("manifest-for-another-log", "The manifest names another log.",
              note(manifest(log="example.org/other"), PUBLISHER, PUBLISHER_B))
    f.invalid("manifest-of-another-product", "The manifest is of another product.",
              note(manifest(product="goodbye"), PUBLISHER, PUBLISHER_B), "skip")
    f.invalid("manifest-of-another-channel", "The manifest is of another channel.",
              note(manifest(channel="beta"), PUBLISHER, PUBLISHER_B), "skip")
    f.invalid("manifest-malformed", "The threshold signed a malformed manifest.",
              note(manifest(sequence=0), PUBLISHER, PUBLISHER_B))
    f.invalid("manifest-of-version-2", "The threshold signed a newer format. Earlier entries are refused too.",
              note(manifest(header="unanimity/manifest/v2"), PUBLISHER, PUBLISHER_B), newer)
    f.invalid("withdrawal-signed-by-one", "One key signed.", note(withdrawal(), PUBLISHER))
    f.invalid("withdrawal-for-another-log", "The withdrawal names another log.",
              note(withdrawal(log="example.org/other"), PUBLISHER, PUBLISHER_B))
    f.invalid("withdrawal-of-version-2", "The threshold signed a newer format. Earlier entries are refused too.",
              note(withdrawal(header="unanimity/withdrawal/v2"), PUBLISHER, PUBLISHER_B), newer)
    f.invalid("statement-of-an-unknown-kind", "The threshold signed a statement of an unknown kind.",
              note(manifest(header="unanimity/recipe/v1"), PUBLISHER, PUBLISHER_B), "skip, and count")
    f.invalid("note-that-is-no-statement", "The first line does not begin with `unanimity/`.",
              note("a manifest\n" + good, PUBLISHER, PUBLISHER_B), "skip")
    f.invalid("entry-that-is-no-note", "The entry has no signature lines.", good, "skip")
    f.write_index()


# ---------------------------------------------------------------- evidence (spec/evidence.md)


def evidence(path, smaller, larger, header="unanimity/evidence/v1"):
    text = f"{header}\npath {len(path)}\n" + hash_lines(path)
    for head in (smaller, larger):
        text += f"checkpoint {len(head.encode())}\n{head}"
    return text


def evidence_answer(*heads):
    """The name of the evidence and both sizes, the smaller head first."""
    fields = [head.split("\n") for head in heads]
    pair = sorted((int(size), base64.b64decode(tree_root)) for _, size, tree_root, *_ in fields)
    name = sha256("".join(f"{size} {tree_root.hex()}\n" for size, tree_root in pair).encode()).hex()[:32]
    return f"fork {name}, sizes {pair[0][0]} and {pair[1][0]}"


def unknown_line(length):
    """A signature line of an unknown key, with exactly `length` bytes."""
    digits = (length - 10) // 4 * 4
    made = line("x" * (length - 6 - digits), bytes(4), bytes(digits // 4 * 3 - 4))
    assert len(made.encode()) == length
    return made


def write_evidence():
    f = Format("evidence", "evidence", "Vectors: evidence of a fork", """
The page is [evidence.md](../../evidence.md). The verifier has the log of [keys.md](../keys.md). It accepts a
file that proves that this log signed two tree heads that are not consistent. The honest tree has the entries
`entry 0` to `entry 12`; the fork shares the first 3 entries.
""")
    tree = entries(13)
    fork = forked(tree, 3)

    def head(leaves, size, **more):
        return note(checkpoint_of(leaves, size, **more), LOG)

    a, b = sorted([head(tree, 7), head(fork, 7)], key=lambda h: base64.b64decode(h.split("\n")[2]))
    path_6, path_8 = consistency(6, tree, False), consistency(8, tree, False)
    good = evidence(path_6, head(fork, 6), head(tree, 13))
    def valid(name, claim, path, smaller, larger):
        f.valid(name, claim, evidence(path, smaller, larger), evidence_answer(smaller, larger))

    valid("one-size-two-roots", "Two roots of one size. The smaller root comes first.", [], a, b)
    valid("one-size-larger-root-first", "The order of two heads of one size is not judged.", [], b, a)
    valid("smaller-head-is-no-prefix", "The path leads to the larger root and not to the smaller one.",
          path_6, head(fork, 6), head(tree, 13))
    valid("smaller-size-is-a-power-of-two", "The path begins with the first subtree's root for such sizes too.",
          path_8, head(fork, 8), head(tree, 13))
    valid("sizes-near-2-to-the-63", "Sizes up to 2^63 - 1.", *big_evidence())
    valid("extension-lines", "Extension lines are part of a checkpoint.",
          [], head(tree, 7, extensions=["one"]), head(fork, 7, extensions=["two"]))
    valid("signatures-of-others", "Lines of unknown keys are ignored.",
          path_6, note(checkpoint_of(fork, 6), STRANGER, LOG), head(tree, 13))
    big = ["x" * 1900]
    big_6, big_13 = head(fork, 6, extensions=big), head(tree, 13, extensions=big)
    room = 8192 - len(evidence(path_6, big_6, big_13).encode())
    valid("of-8192-bytes", "Evidence has at most 8,192 bytes. It has a long line of an unknown key.",
          path_6, big_6, big_13 + unknown_line(room))

    f.invalid("one-head-twice", "Both checkpoints are the same head.",
              evidence([], head(tree, 7), head(tree, 7)))
    f.invalid("heads-differ-in-extension-lines-only", "Extension lines are no contradiction.",
              evidence([], head(tree, 7, extensions=["one"]), head(tree, 7, extensions=["two"])))
    f.invalid("smaller-head-is-a-prefix", "The path proves that both heads are of one history.",
              evidence(path_6, head(tree, 6), head(tree, 13)))
    f.invalid("path-does-not-lead-to-the-larger-root", "The path is of another tree: it proves nothing.",
              evidence(consistency(6, forked(tree, 9), False), head(fork, 6), head(tree, 13)))
    f.invalid("path-missing", "Two sizes and no path.", evidence([], head(fork, 6), head(tree, 13)))
    f.invalid("path-one-hash-short", "The path lacks its last hash.",
              evidence(path_6[:-1], head(fork, 6), head(tree, 13)))
    f.invalid("path-one-hash-long", "The path has a hash more.",
              evidence(path_6 + [bytes(32)], head(fork, 6), head(tree, 13)))
    f.invalid("path-in-the-form-of-rfc-9162", "The path of size 8 lacks the first hash that RFC 9162 leaves out.",
              evidence(consistency(8, tree), head(fork, 8), head(tree, 13)))
    f.invalid("path-with-one-size", "Two heads of one size have no path.", evidence([bytes(32)], a, b))
    f.invalid("larger-head-first", "The larger head comes first.",
              evidence(path_6, head(tree, 13), head(fork, 6)))
    f.invalid("from-size-zero", "The empty tree is a prefix of every tree.",
              evidence([root(tree)], note(checkpoint_text(0, EMPTY_ROOT), LOG), head(tree, 13)))
    f.invalid("another-key-signed", "Another key with the log key's name signed one head.",
              evidence([], head(tree, 7), note(checkpoint_of(fork, 7), IMPOSTOR)))
    f.invalid("another-origin", "One head is of another origin.",
              evidence([], head(tree, 7), head(fork, 7, origin="example.org/other")))
    f.invalid("false-signature", "A size was changed.", good.replace("\n13\n", "\n12\n"))
    f.invalid("header-of-another-version", "The version is 2.", evidence([], a, b, "unanimity/evidence/v2"))
    short, last = len(head(fork, 6).encode()), len(b.encode())
    f.invalid("checkpoint-length-one-less", "A length is one byte too small.",
              good.replace(f"checkpoint {short}\n", f"checkpoint {short - 1}\n", 1))
    f.invalid("checkpoint-length-too-large", "A length goes past the end.",
              evidence([], a, b).replace(f"checkpoint {last}\n{b}", f"checkpoint {last + 1}\n{b}"))
    f.invalid("path-count-with-leading-zero", "A number has a leading zero.",
              good.replace(f"path {len(path_6)}\n", f"path 0{len(path_6)}\n"))
    f.invalid("path-of-66-hashes", "A path has at most 65 hashes.",
              evidence([bytes(32)] * 66, head(fork, 6), head(tree, 13)))
    f.invalid("text-behind-it", "Text follows the second checkpoint.", good + "\n")
    f.invalid("one-checkpoint", "The second checkpoint is missing.",
              evidence([], a, b).rsplit("checkpoint ", 1)[0])
    f.invalid("more-than-8192-bytes", "It has 8,193 bytes: that line is one byte longer.",
              evidence(path_6, big_6, big_13 + unknown_line(room + 1)))
    f.write_index()


def big_evidence():
    old, new = 2**62 + 1, 2**63 - 1
    path = [sha256(b"path %d" % i) for i in range(path_length(old, new))]
    _, larger = roots_of_path(old, new, path)
    return path, note(checkpoint_text(old, sha256(b"another")), LOG), note(checkpoint_text(new, larger), LOG)


# ---------------------------------------------------------------- tree proofs (spec/checkpoints.md)

TLOG_PROOF = "c2sp.org/tlog-proof@v1"


def tlog_proof(index, hashes, checkpoint, header=TLOG_PROOF, extra=None):
    extra = "" if extra is None else f"extra {extra}\n"
    return f"{header}\n{extra}index {index}\n{hash_lines(hashes)}\n{checkpoint}"


def write_tlog_proofs():
    f = Format("tlog-proofs", "tlog-proof", "Vectors: inclusion proofs", """
The page is [proof-bundle.md](../../proof-bundle.md), and the format is C2SP tlog-proof. The verifier has the
log of [keys.md](../keys.md). The data of the entry with number N is the ASCII text `entry N`, without a
newline, and N is the number in the line `index`. A verifier hashes that data, opens the checkpoint and
verifies the path.
""")
    tree = entries(13)
    head = note(checkpoint_of(tree), LOG)
    hashes = inclusion(5, tree)
    good = tlog_proof(5, hashes, head)
    in_the_middle = "entry 5 of 13"
    f.valid("entry-5-of-13", "An entry in the middle.", good, in_the_middle)
    f.valid("first-entry", "The first entry.", tlog_proof(0, inclusion(0, tree), head), "entry 0 of 13")
    f.valid("last-entry-without-sibling", "The last entry of an odd tree has a short path.",
            tlog_proof(12, inclusion(12, tree), head), "entry 12 of 13")
    f.valid("only-entry", "The only entry has an empty path.",
            tlog_proof(0, [], note(checkpoint_of(tree, 1), LOG)), "entry 0 of 1")
    f.valid("power-of-two", "The last entry of 8.",
            tlog_proof(7, inclusion(7, tree[:8]), note(checkpoint_of(tree, 8), LOG)), "entry 7 of 8")
    f.valid("extra-line", "A line `extra` is not covered by anything.",
            tlog_proof(5, hashes, head, extra=b64(b"hint")), in_the_middle)
    f.valid("cosigned-checkpoint", "The checkpoint may carry cosignatures.",
            tlog_proof(5, hashes, cosigned(checkpoint_of(tree), (ALICE, NOW))), in_the_middle)
    size, index = 2**62 + 6, 2**62 + 5
    large_path = [sha256(b"large %d" % i) for i in range(3)]
    leaf = leaf_hash(f"entry {index}".encode())
    large_root = node_hash(large_path[2], node_hash(large_path[1], node_hash(large_path[0], leaf)))
    f.valid("size-near-2-to-the-63", "The last of 2^62 + 6 entries has 3 hashes.",
            tlog_proof(index, large_path, note(checkpoint_text(size, large_root), LOG)),
            "entry 4611686018427387909 of 4611686018427387910")

    f.invalid("header-of-another-version", "The version is 2.",
              tlog_proof(5, hashes, head, "c2sp.org/tlog-proof@v2"))
    f.invalid("another-index", "The path is of another entry.", tlog_proof(4, hashes, head))
    f.invalid("index-is-the-size", "The index is not below the size.",
              tlog_proof(13, inclusion(12, tree), head))
    f.invalid("index-2-to-the-64", "The index is 2^64.", tlog_proof(2**64, hashes, head))
    f.invalid("index-with-leading-zero", "The index has a leading zero.", tlog_proof("05", hashes, head))
    f.invalid("no-index", "The line `index` is missing.", good.replace("index 5\n", ""))
    f.invalid("one-hash-missing", "The path lacks its last hash.", tlog_proof(5, hashes[:-1], head))
    f.invalid("one-hash-more", "The path has a hash more.", tlog_proof(5, hashes + [root(tree)], head))
    f.invalid("hashes-reversed", "The path goes from the root down.", tlog_proof(5, hashes[::-1], head))
    f.invalid("changed-hash", "A bit of the path was changed.",
              tlog_proof(5, [flip_bit(hashes[0], 0)] + hashes[1:], head))
    f.invalid("path-of-66-hashes", "A path has at most 65 hashes.", tlog_proof(5, [bytes(32)] * 66, head))
    f.invalid("extra-not-base64", "The line `extra` is not base64.",
              tlog_proof(5, hashes, head, extra="hint!"))
    f.invalid("extra-after-index", "The line `extra` follows `index`.",
              good.replace("index 5\n", "index 5\nextra aGludA==\n"))
    f.invalid("no-empty-line", "No empty line precedes the checkpoint.", good.replace("\n\n", "\n", 1))
    f.invalid("no-checkpoint", "There is no checkpoint.", tlog_proof(5, hashes, ""))
    f.invalid("checkpoint-of-another-log", "Another key signed the checkpoint.",
              tlog_proof(5, hashes, note(checkpoint_of(tree), IMPOSTOR)))
    f.invalid("last-leaf-repeated", "A tree that repeats its last leaf is not this tree.",
              tlog_proof(3, [tree[2], node_hash(tree[0], tree[1])],
                         note(checkpoint_text(4, root(tree[:3])), LOG)))
    inner = node_hash(tree[0], tree[1])
    f.invalid("inner-node-as-leaf", "A hash without the leaf prefix is no leaf.",
              tlog_proof(0, [root(tree[2:4])], note(checkpoint_text(2, node_hash(inner, root(tree[2:4]))), LOG)))
    f.write_index()


def write_consistency():
    f = Format("consistency", "consistency", "Vectors: consistency proofs", """
The page is [checkpoints.md](../../checkpoints.md). This form is made for the vectors only: `old SIZE ROOT`,
`new SIZE ROOT`, then one hash a line, as RFC 9162, section 2.1.4, orders them. Roots and hashes are base64.
A verifier accepts if the proof shows that the old tree is a prefix of the new tree.
""")
    tree = entries(13)

    def proof(old, new, hashes, old_root=None, new_root=None):
        old_root, new_root = old_root or root(tree[:old]), new_root or root(tree[:new])
        return f"old {old} {b64(old_root)}\nnew {new} {b64(new_root)}\n" + hash_lines(hashes)

    hashes = consistency(6, tree)
    def valid(name, claim, data):
        f.valid(name, claim, data, "accept")

    valid("6-to-13", "The old size is no power of two.", proof(6, 13, hashes))
    valid("8-to-13", "The old size is a power of two: its root is left out.",
          proof(8, 13, consistency(8, tree)))
    valid("1-to-13", "From one entry.", proof(1, 13, consistency(1, tree)))
    valid("12-to-13", "One entry more.", proof(12, 13, consistency(12, tree)))
    valid("equal-sizes", "A tree is a prefix of itself, with an empty proof.", proof(13, 13, []))
    old, new = 2**62 + 1, 2**63 - 1
    path = [sha256(b"path %d" % i) for i in range(path_length(old, new))]
    smaller, larger = roots_of_path(old, new, path)
    valid("sizes-near-2-to-the-63", "Sizes up to 2^63 - 1.", proof(old, new, path, smaller, larger))

    f.invalid("from-size-zero", "A proof from the empty tree proves nothing.", proof(0, 13, []))
    f.invalid("to-a-smaller-size", "The new tree is smaller.", proof(13, 6, hashes))
    f.invalid("equal-sizes-two-roots", "Two roots of one size.", proof(13, 13, [], root(forked(tree, 3))))
    f.invalid("equal-sizes-with-a-hash", "Equal sizes have an empty proof.", proof(13, 13, [bytes(32)]))
    f.invalid("one-hash-missing", "The proof lacks its last hash.", proof(6, 13, hashes[:-1]))
    f.invalid("one-hash-more", "The proof has a hash more.", proof(6, 13, hashes + [bytes(32)]))
    f.invalid("empty-proof", "The proof is empty.", proof(6, 13, []))
    f.invalid("changed-hash", "A bit was changed.", proof(6, 13, [flip_bit(hashes[0], 31)] + hashes[1:]))
    f.invalid("old-root-of-a-fork", "The old root is of another history.",
              proof(6, 13, hashes, root(forked(tree, 3)[:6])))
    f.invalid("new-root-of-a-fork", "The new root is of another history.",
              proof(6, 13, hashes, None, root(forked(tree, 9))))
    f.invalid("first-hash-of-a-power-of-two", "The root of size 8 is in the proof.",
              proof(8, 13, consistency(8, tree, False)))
    f.write_index()


def entries_answer(first, entries):
    told = [f"entry {number} of {len(entry)} bytes" for number, entry in enumerate(entries, first)]
    return ", ".join(told) or "no entry"


def write_tiles():
    f = Format("tile-paths", "path", "Vectors: paths of tiles", """
The page is [checkpoints.md](../../checkpoints.md). A file is one line with its newline: a path below a log's
prefix. A reader accepts the paths that C2SP tlog-tiles gives to tiles and entry bundles.
""")
    for name, claim, path, answer in [
        ("first-tile", "The first full tile.", "tile/0/000", "level 0, index 0, width 256"),
        ("partial-tile", "A partial tile.", "tile/0/273.p/112", "level 0, index 273, width 112"),
        ("index-in-groups", "An index is written in groups of three digits.", "tile/1/x001/x234/067",
         "level 1, index 1234067, width 256"),
        ("index-1000", "The second group begins at 1000.", "tile/0/x001/000", "level 0, index 1000, width 256"),
        ("level-63", "The highest level is 63.", "tile/63/000.p/1", "level 63, index 0, width 1"),
        ("width-255", "The widest partial tile.", "tile/2/005.p/255", "level 2, index 5, width 255"),
        ("entries", "A full entry bundle.", "tile/entries/007", "entries, index 7, width 256"),
        ("entries-partial", "A partial entry bundle.", "tile/entries/x012/345.p/6", "entries, index 12345, width 6"),
    ]:
        f.valid(name, claim, path + "\n", answer)
    for name, claim, path in [
        ("level-64", "The level is above 63.", "tile/64/000"),
        ("level-with-leading-zero", "The level has a leading zero.", "tile/00/000"),
        ("index-of-two-digits", "A group has two digits.", "tile/0/07"),
        ("index-of-four-digits", "A group has four digits.", "tile/0/1234"),
        ("group-without-x", "A group that is not the last lacks its `x`.", "tile/0/001/067"),
        ("last-group-with-x", "The last group has an `x`.", "tile/0/x067"),
        ("leading-zero-group", "A group of zeros leads.", "tile/0/x000/067"),
        ("width-0", "An empty tile has no path.", "tile/0/000.p/0"),
        ("width-256", "A full tile has no width.", "tile/0/000.p/256"),
        ("width-with-leading-zero", "The width has a leading zero.", "tile/0/000.p/07"),
        ("slash-at-the-end", "A slash follows.", "tile/0/000/"),
        ("parent-directory", "The path climbs.", "tile/0/../000"),
        ("index-beyond-64-bits", "The index does not fit 64 bits.", "tile/0/x999/x999/x999/x999/x999/x999/999"),
        ("upper-case", "Letters have one case.", "tile/0/X001/067"),
        ("not-a-tile", "Another path.", "tiles/0/000"),
    ]:
        f.invalid(name, claim, path + "\n")
    f.write_index()

    g = Format("entry-bundles", "bin", "Vectors: entry bundles", """
The page is [checkpoints.md](../../checkpoints.md). A file is an entry bundle: each entry after its length,
2 bytes big-endian. Which entries a bundle has to hold is judged against the hashes of the log.
""")

    def framed(*entries):
        return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)

    def valid(name, claim, *entries):
        g.valid(name, claim, framed(*entries), entries_answer(0, entries))

    valid("three-entries", "Three entries.", b"entry 0", b"entry 1", b"entry 2")
    valid("empty-entry", "An entry may have zero bytes.", b"", b"entry 1")
    valid("longest-entry", "An entry has at most 65,535 bytes.", b"x" * 65535)
    g.invalid("cut-in-a-length", "One byte of a length is missing.", framed(b"entry 0") + b"\0")
    g.invalid("cut-in-an-entry", "The last entry lacks a byte.", framed(b"entry 0", b"entry 1")[:-1])
    g.invalid("length-little-endian", "A length is little-endian.", b"\x07\x00entry 0")
    g.write_index()


# ---------------------------------------------------------------- proof bundles (spec/proof-bundle.md)

# The words of the format's lines.
ROUND, COSIGNED_HEAD = "round", "cosigned-head"


class BundleParts:
    """A good bundle about entry 5 of 13; tests of refusal change one part."""

    def __init__(self):
        self.index = 5
        self.note = note(manifest(sequence=2, version="1.1.0"), PUBLISHER)
        self.earlier, self.latest = NOW + 3600, NOW + 7200
        self.sizes = {ALICE: (6, 9), BELA: (8, 13)}
        self.times = {}
        self.header = "unanimity/bundle/v1"
        self.tree = None
        self.paths = None
        self.inclusion = None
        self.head = None
        self.proofs = {}
        self.rounds = None
        self.set_leaves()

    def set_leaves(self):
        self.tree = entries(13)
        self.tree[self.index] = leaf_hash(self.note.encode())

    def signed_at(self, key, number):
        return self.times.get((key, number), (self.earlier, self.latest)[number])

    def proof(self, key, number, **changes):
        size, at = self.sizes[key][number], self.signed_at(key, number)
        text = checkpoint_of(self.tree, size)
        hashes = inclusion(self.index, self.tree[:size]) if self.index < size else []
        parts = {"index": self.index, "hashes": hashes, "checkpoint": cosigned(text, (key, at))}
        parts.update(changes)
        return tlog_proof(**parts)

    def round(self, number, proofs=None, at=None):
        proofs = [self.proof(key, number) for key in self.sizes] if proofs is None else proofs
        at = (self.earlier, self.latest)[number] if at is None else at
        text = f"{ROUND} {at} {len(proofs)}\n"
        return text + "".join(f"{COSIGNED_HEAD} {len(p.encode())}\n{p}" for p in proofs)

    def text(self):
        size = len(self.tree)
        head = self.head or note(checkpoint_of(self.tree), LOG)
        hashes = inclusion(self.index, self.tree) if self.inclusion is None else self.inclusion
        paths = self.paths
        if paths is None:
            sizes = sorted({s for pair in self.sizes.values() for s in pair if 0 < s < size})
            paths = [(s, consistency(s, self.tree, False)) for s in sizes]
        text = f"{self.header}\nmanifest {self.index} {len(self.note.encode())}\n{self.note}"
        text += f"head {len(head.encode())}\n{head}inclusion {len(hashes)}\n{hash_lines(hashes)}"
        for s, path in paths:
            text += f"path {s} {len(path)}\n{hash_lines(path)}"
        return text + "".join([self.round(0), self.round(1)] if self.rounds is None else self.rounds)

    def answer(self, release="2-1.1.0"):
        text = f"release {release}, entry {self.index} of {len(self.tree)}"
        for number, at in enumerate((self.earlier, self.latest)):
            heads = [f"{key.name} {self.sizes[key][number]} at {self.signed_at(key, number)}" for key in (ALICE, BELA)]
            text += f"; round at {at}: {', '.join(heads)}"
        return text


def write_proof_bundles():
    f = Format("proof-bundles", "bundle", "Vectors: proof bundles", """
The page is [proof-bundle.md](../../proof-bundle.md). The verifier has these settings:

- product `hello`, channel `stable`, log `example.org/log` with the log key of [keys.md](../keys.md);
- publisher key `publisher`, threshold 1;
- peers `alice` and `bela`;
- `settle` 1 h, `round_ttl` 15 min, `max_cosignature_age` 15 min, the defaults.

The sequence floor is 0. A bundle is judged as of the time of its latest round, so no file depends on the
present time.
""")
    first = BundleParts()
    first.index, first.note = 1, note(manifest(), PUBLISHER)
    # What entry 0 says is not known: only its leaf hash is in the bundle, as in any proof.
    first.tree = [base64.b64decode("JLNDRmhCLlcv/BGPCMFg/QynQd632ZJSUXzjqTidG1U="), leaf_hash(first.note.encode())]
    first.sizes = {ALICE: (2, 2), BELA: (2, 2)}
    f.valid("two-peers-two-rounds", "Entry 1 of 2. Both peers confirmed it, and again 1 h later.",
            first.text(), first.answer("1-1.0.0"))
    good = BundleParts()
    accepted = good.answer()
    f.valid("heads-of-four-sizes", "The cosigned heads have sizes 6, 8, 9 and 13.", good.text(), accepted)

    def bundle(**changes):
        parts = BundleParts()
        for name, value in changes.items():
            assert hasattr(parts, name), name
            setattr(parts, name, value)
        return parts

    reversed_order = bundle()
    reversed_order.sizes = dict(reversed(list(good.sizes.items())))
    f.valid("peers-in-another-order", "The order of cosigned heads in a round has no meaning.",
            reversed_order.text(), accepted)
    witness = bundle()
    witness.sizes = {WITNESS: (7, 7), **good.sizes}
    witness.paths = [(s, consistency(s, good.tree, False)) for s in (6, 8, 9)]
    f.valid("cosigned-head-of-a-stranger", "A cosigned head of a stranger is ignored.",
            witness.text(), accepted)
    confirming = [good.proof(ALICE, 1), good.proof(BELA, 1)]
    stranger = witness.proof(WITNESS, 1)
    f.valid("round-of-256-heads", "A round has at most 256 cosigned heads. All but two are of a stranger.",
            bundle(rounds=[good.round(0), good.round(1, confirming + [stranger] * 254)]).text(), accepted)
    f.valid("extra-line-in-a-proof", "A tlog-proof may have a line `extra`.",
            bundle(rounds=[good.round(0, [good.proof(ALICE, 0, extra=b64(b"hint")), good.proof(BELA, 0)]),
                           good.round(1)]).text(),
            accepted)
    unused = [(s, consistency(s, good.tree, False)) for s in (6, 8, 9)]
    f.valid("path-that-nothing-needs", "A path for a size that no cosigned head has is not looked at.",
            bundle(paths=[(3, [bytes(32)])] + unused).text(), accepted)
    cosigned_early = bundle(times={(ALICE, 0): good.earlier - 900, (ALICE, 1): good.latest - 900})
    f.valid("cosignatures-of-15-minutes", "A cosignature is 15 min old when its round closes.",
            cosigned_early.text(), cosigned_early.answer())
    ahead = bundle(times={(ALICE, 1): good.latest + 60})
    f.valid("cosignature-60-seconds-ahead", "A cosigner's clock is 60 s ahead.", ahead.text(), ahead.answer())

    # Form.
    text = good.text()
    f.invalid("header-of-another-version", "The version is 2.", bundle(header="unanimity/bundle/v2").text())
    f.invalid("text-behind-it", "Text follows the latest round.", text + "\n")
    f.invalid("cut-short", "The last byte is missing.", text[:-1])
    f.invalid("one-round", "There is one round only.", bundle(rounds=[good.round(0)]).text())
    f.invalid("three-rounds", "There are three rounds.",
              bundle(rounds=[good.round(0), good.round(1), good.round(1)]).text())
    f.invalid("manifest-length-one-less", "The length of the manifest is one byte too small.",
              text.replace(f"manifest 5 {len(good.note.encode())}\n", f"manifest 5 {len(good.note.encode()) - 1}\n"))
    f.invalid("number-with-leading-zero", "A number has a leading zero.",
              text.replace("manifest 5 ", "manifest 05 "))
    f.invalid("paths-not-ascending", "Paths are not in ascending order of size.",
              bundle(paths=unused[::-1]).text())
    f.invalid("path-repeated", "A path is there twice.", bundle(paths=unused[:1] + unused).text())
    f.invalid("inclusion-of-66-hashes", "A proof has at most 65 hashes.",
              bundle(inclusion=[bytes(32)] * 66).text())
    f.invalid("round-of-257-heads", "A round has 257 cosigned heads. All but two are of a stranger.",
              bundle(rounds=[good.round(0), good.round(1, confirming + [stranger] * 255)]).text())
    three = good.round(1).replace(f"{ROUND} {good.latest} 2\n", f"{ROUND} {good.latest} 3\n")
    f.invalid("round-with-a-head-missing", "A round announces three cosigned heads and has two.",
              bundle(rounds=[good.round(0), three]).text())

    # The release.
    def released(text, *keys):
        parts = BundleParts()
        parts.note = note(text, *keys)
        parts.set_leaves()
        return parts.text()

    f.invalid("manifest-not-signed", "An unknown key signed the manifest.", released(manifest(), STRANGER))
    altered = BundleParts()
    altered.note = altered.note.replace("version 1.1.0", "version 1.1.1")
    altered.set_leaves()
    f.invalid("manifest-false-signature",
              "A byte of the manifest was changed after it was signed, and the log has the changed note.",
              altered.text())
    f.invalid("manifest-expired", "The release expired at the time of the latest round.",
              released(manifest(expires=good.latest), PUBLISHER))
    f.invalid("manifest-of-another-product", "The release is of another product.",
              released(manifest(product="goodbye"), PUBLISHER))
    f.invalid("manifest-for-another-log", "The release names another log.",
              released(manifest(log="example.org/other"), PUBLISHER))
    f.invalid("withdrawal-in-place-of-a-manifest", "The statement is a withdrawal.",
              released(withdrawal(), PUBLISHER))

    # The log.
    f.invalid("head-of-another-key", "Another key signed the head.",
              bundle(head=note(checkpoint_of(good.tree), IMPOSTOR)).text())
    f.invalid("inclusion-of-another-entry", "The inclusion proof is of another entry.",
              bundle(inclusion=inclusion(4, good.tree)).text())
    f.invalid("inclusion-missing", "The inclusion proof is empty.", bundle(inclusion=[]).text())
    f.invalid("path-missing", "No path ties the head of size 8.",
              bundle(paths=[p for p in unused if p[0] != 8]).text())
    f.invalid("path-of-another-tree", "The path of size 8 is of another tree.",
              bundle(paths=[(s, consistency(s, forked(good.tree, 9), False) if s == 8 else p)
                            for s, p in unused]).text())
    other = BundleParts()
    other.tree = forked(good.tree, 6)
    f.invalid("cosigned-head-of-a-fork", "A peer's head and the bundle's head are not consistent.",
              bundle(rounds=[good.round(0), good.round(1, [good.proof(ALICE, 1), other.proof(BELA, 1)])]).text(),
              "refuse: " + evidence_answer(checkpoint_of(good.tree), checkpoint_of(other.tree)))

    # The peers.
    f.invalid("peer-missing-in-the-latest-round", "`bela` did not answer in the latest round.",
              bundle(rounds=[good.round(0), good.round(1, [good.proof(ALICE, 1)])]).text())
    f.invalid("peer-missing-in-the-earlier-round", "`bela` did not answer in the earlier round.",
              bundle(rounds=[good.round(0, [good.proof(ALICE, 0)]), good.round(1)]).text())
    f.invalid("empty-rounds", "Both rounds are empty.",
              bundle(rounds=[good.round(0, []), good.round(1, [])]).text())
    one_earlier = {(ALICE, 0): good.earlier - 1, (BELA, 0): good.earlier - 1}
    f.invalid("rounds-one-second-too-close", "The rounds are 3,599 s apart, and the cosignatures 3,600 s.",
              bundle(latest=good.earlier + 3599, times=one_earlier).text())
    f.invalid("cosignatures-one-second-too-close", "The cosignatures of `alice` are 3,599 s apart.",
              bundle(times={(ALICE, 1): good.latest - 1}).text())
    f.invalid("rounds-in-the-wrong-order", "The latest round comes first.",
              bundle(rounds=[good.round(1), good.round(0)]).text())
    f.invalid("peer-twice-in-a-round", "`alice` has two cosigned heads in one round.",
              bundle(rounds=[good.round(0), good.round(1, [good.proof(ALICE, 1)] * 2 + [good.proof(BELA, 1)])]).text())
    f.invalid("cosignature-too-old", "A cosignature is 901 s old when its round closes.",
              bundle(times={(ALICE, 0): good.earlier - 901, (ALICE, 1): good.latest - 901}).text())
    f.invalid("cosignature-too-far-ahead", "A cosignature is 61 s ahead of its round.",
              bundle(times={(ALICE, 1): good.latest + 61}).text())
    f.invalid("head-does-not-contain-the-release", "The head of `alice` has 5 entries, and the release is entry 5.",
              bundle(sizes={ALICE: (5, 9), BELA: (8, 13)}).text())
    f.invalid("head-smaller-than-before", "`alice` shows 9 entries, and 6 in the latest round.",
              bundle(sizes={ALICE: (9, 6), BELA: (8, 13)}).text())

    def with_proof(proof):
        return bundle(rounds=[good.round(0), good.round(1, [proof, good.proof(BELA, 1)])]).text()

    f.invalid("proof-with-another-index", "The tlog-proof of `alice` is of entry 4.",
              with_proof(good.proof(ALICE, 1, index=4)))
    f.invalid("proof-with-a-hash-missing", "The tlog-proof of `alice` lacks a hash.",
              with_proof(good.proof(ALICE, 1, hashes=inclusion(5, good.tree[:9])[:-1])))
    text_9 = checkpoint_of(good.tree, 9)
    f.invalid("proof-with-false-cosignature", "The cosignature of `alice` is false.",
              with_proof(good.proof(ALICE, 1, checkpoint=note(text_9, LOG) + line(ALICE.name, ALICE.id, bytes(72)))))
    f.invalid("proof-without-log-signature", "`alice` cosigned a head that the log did not sign.",
              with_proof(good.proof(ALICE, 1, checkpoint=text_9 + "\n" + cosign_line(ALICE, text_9, good.latest))))
    f.invalid("proof-is-no-tlog-proof", "A cosigned head is not a tlog-proof.",
              with_proof(cosigned(text_9, (ALICE, good.latest))))
    f.write_index()


# ---------------------------------------------------------------- messages (spec/messages.md)


def write_messages():
    f = Format("messages", "hex", "Vectors: frames between peers", """
The page is [messages.md](../../messages.md). A file is the beginning of one frame in hexadecimal, one field to
a line; white space means nothing. The rest of the frame is zero, up to 256 bytes of a question and 8,448
bytes of an answer. Files that begin with `question-` are for a reader of questions, files that begin with
`answer-` for a reader of answers. The bytes are written field by field, without an encoder.

Lines 1 to 3 of every valid file are: the length of the message, 4 bytes big-endian; the version, 2 bytes
little-endian; the variant, 4 bytes little-endian. The other integers are little-endian too.
""")

    def frame(*fields, length=None):
        total = sum(len(field) for field in fields) if length is None else length
        lines = [total.to_bytes(4, "big").hex()]
        for field in fields:
            lines += [field[i : i + 32].hex() for i in range(0, len(field), 32)]
        return "\n".join(lines) + "\n"

    def n(value, width):
        return value.to_bytes(width, "little")

    v1, log = n(1, 2), bytes(range(32))
    f.valid("question-cosigned-head", "The cosigned head: log id 00 to 1f.", frame(v1, n(0, 4), log),
            f"cosigned head of log {log.hex()}")
    f.valid("question-tile", "A tile: log id 00 to 1f, level 3, index 0x0102030405060708, width 256.",
            frame(v1, n(1, 4), log, n(3, 1), n(0x0102030405060708, 8), n(256, 2)),
            f"tile of log {log.hex()}: level 3, index {0x0102030405060708}, width 256")
    cosigned_head = "log.example\n\n— é\n".encode()
    f.valid("answer-cosigned-head", "Variant 0, a cosigned head: 20 bytes of UTF-8.",
            frame(v1, n(0, 4), n(len(cosigned_head), 8), cosigned_head), "cosigned head of 20 bytes")
    header = b"unanimity/evidence/v1\n"
    f.valid("answer-evidence", "Variant 1, evidence: 22 bytes of UTF-8.",
            frame(v1, n(1, 4), n(len(header), 8), header), "evidence of 22 bytes")
    f.valid("answer-no-fresh-head", f"Variant 2, no fresh head since the time {NOW}.",
            frame(v1, n(2, 4), n(NOW, 8)), f"no fresh head since {NOW}")
    f.valid("answer-tile", "Variant 3, a tile: bytes 80 to bf, two hashes.",
            frame(v1, n(3, 4), n(64, 8), bytes(range(0x80, 0xC0))), "tile of 64 bytes")
    f.valid("answer-other-log", "Variant 4: the peer follows another log.", frame(v1, n(4, 4)), "other log")
    f.valid("answer-no-tile", "Variant 5: the peer's tree has no such tile.", frame(v1, n(5, 4)), "no tile")

    for kind, size in (("question", 256), ("answer", 8448)):
        body = (v1, n(0, 4), log) if kind == "question" else (v1, n(0, 4), n(20, 8), cosigned_head)
        count = len(b"".join(body))
        f.invalid(f"{kind}-empty-message", "The length is 0.",
                  frame() + ("" if kind == "question" else "00\n"))
        f.invalid(f"{kind}-version-only", "The message has 2 bytes.",
                  frame(v1) + ("" if kind == "question" else "00\n"))
        f.invalid(f"{kind}-longer-than-a-frame", f"The length is {size - 3}, and at most {size - 4} bytes fit.",
                  frame(*body, length=size - 3))
        f.invalid(f"{kind}-length-little-endian", "The length is little-endian.",
                  frame(*body).replace(count.to_bytes(4, "big").hex(), count.to_bytes(4, "little").hex(), 1))
        f.invalid(f"{kind}-length-one-less", "The last byte of the message is outside of it.",
                  frame(*body, length=count - 1))
        f.invalid(f"{kind}-length-one-more", "A zero byte more is inside the message.",
                  frame(*body, length=count + 1))
        f.invalid(f"{kind}-padding-not-zero", "A byte behind the message is 1.", frame(*body) + "00\n01\n")
        f.invalid(f"{kind}-version-2", "The version is 2.", frame(n(2, 2), *body[1:]))
        f.invalid(f"{kind}-version-big-endian", "The version is big-endian.", frame(b"\0\1", *body[1:]))
        unknown = 2 if kind == "question" else 6
        f.invalid(f"{kind}-variant-{unknown}", "The variant is unknown.", frame(v1, n(unknown, 4), *body[2:]))
    f.invalid("question-log-id-cut", "The log id has 31 bytes.", frame(v1, n(0, 4), log[:-1]))
    f.invalid("question-tile-without-width", "The width is missing.",
              frame(v1, n(1, 4), log, n(3, 1), n(7, 8)))
    f.invalid("answer-cosigned-head-not-utf-8", "The cosigned head is not UTF-8.",
              frame(v1, n(0, 4), n(2, 8), b"a\xff"))
    f.invalid("answer-string-longer-than-the-message", "A byte string announces 2^40 bytes.",
              frame(v1, n(0, 4), n(2**40, 8), cosigned_head))
    f.invalid("answer-string-of-2-to-the-64-less-1", "A byte string announces 2^64 - 1 bytes.",
              frame(v1, n(3, 4), n(2**64 - 1, 8), bytes(32)))
    f.invalid("answer-string-shorter-than-the-message", "A byte string leaves a byte of the message over.",
              frame(v1, n(0, 4), n(19, 8), cosigned_head))
    f.write_index()


# ---------------------------------------------------------------- invites (spec/invite.md)

INVITE = "unanimity-invite/v1"


def onion_host(key):
    check = hashlib.sha3_256(b".onion checksum" + key + b"\x03").digest()[:2]
    return base64.b32encode(key + check + b"\x03").decode().lower() + ".onion"


def escape(text):
    keep = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+~/:@=-"
    return "".join(chr(b) if b in keep else f"%{b:02X}" for b in text.encode())


def log_id(origin, key):
    return hashlib.sha256(f"unanimity/log/v1\n{origin}\n{key.vkey}\n".encode()).hexdigest()


def client_auth(key):
    return "descriptor:x25519:" + base64.b32encode(key).decode().rstrip("=")


def sealed(said):
    return f"{said},{hashlib.sha256(said.encode()).hexdigest()[:8]}\n"


def invite(kind=INVITE, **changes):
    tree = entries(42)
    fields = {"name": "alice", "origin": escape(ORIGIN), "log": log_id(ORIGIN, LOG),
              "address": onion_host(bytes([3] * 32)) + ":4242", "key": escape(ALICE.vkey),
              "client_auth": client_auth(bytes([33] * 32)), "artifacts": "-", "size": 42, "root": b64(root(tree))}
    fields.update(changes)
    return sealed(",".join([kind] + [str(value) for value in fields.values() if value is not None]))


def invite_answer(text):
    _, name, origin, log, address, key, auth, artifacts, size, _, _ = text.strip().split(",")
    origin, key = unquote(origin), unquote(key)
    lines = ["unanimity/peer/v1", log, address, key, auth] + [url for url in [artifacts] if url != "-"]
    digest = sha256("".join(text_line + "\n" for text_line in lines).encode())
    groups = [f"{int.from_bytes(digest[i : i + 4], 'big') % 100000:05}" for i in range(0, 32, 4)]
    return f"peer {name} with key {key}, log {origin}, size {size}, fingerprint {' '.join(groups)}"


def write_invites():
    f = Format("invites", "invite", "Vectors: invites", """
The page is [invite.md](../../invite.md). A file is one line with its newline. White space around an invite is
ignored. Whether an invite is for the reader's own log is judged after it is read: every valid file is for the
log of [keys.md](../keys.md), except `origin-with-escapes`.
""")
    good = invite()

    def valid(name, claim, text):
        f.valid(name, claim, text, invite_answer(text))

    valid("alice", "The invite of `alice`.", good)
    served = "http://" + onion_host(bytes([34] * 32))
    valid("artifacts-served", "The peer serves artifacts from an onion service.", invite(artifacts=served))
    valid("empty-log", "The head of an empty log.", invite(size=0, root=b64(EMPTY_ROOT)))
    valid("largest-size", "The largest size is 2^63 - 1.", invite(size=2**63 - 1))
    spaced = "a log, with 100% of it"
    valid("origin-with-escapes", "Space, comma and percent are escaped in an origin.",
          invite(origin=escape(spaced), log=log_id(spaced, LOG)))
    valid("key-name-not-ascii", "Bytes that are not ASCII are escaped in a key's name.",
          invite(key=escape(Key("Zoë", COSIGNATURE, 3).vkey)))
    valid("white-space-around", "White space around it is ignored.", " \t" + good + "\r\n")
    path = "/" + "x" * (2048 - len(invite(artifacts=served + "/").strip()))
    valid("of-2048-bytes", "An invite has at most 2,048 bytes. The address of artifacts has a long path.",
          invite(artifacts=served + path))

    f.invalid("empty", "Zero bytes.", "")
    f.invalid("kind-unknown", "The line does not begin with `unanimity-invite/`.", good[1:])
    f.invalid("version-2", "The version is 2.", invite("unanimity-invite/v2"))
    f.invalid("checksum-false", "A digit of the checksum was changed.",
              good[:-2] + ("0" if good[-2] != "0" else "1") + "\n")
    f.invalid("checksum-in-upper-case", "The checksum is in upper case.",
              good[:-9] + good[-9:].upper() if good[-9:].upper() != good[-9:] else good[:-9] + "ABCDEF00\n")
    f.invalid("changed-name", "A letter was changed.", good.replace("alice,", "alicf,", 1))
    f.invalid("cut-short", "The end is missing.", good[:200] + "\n")
    f.invalid("line-break-inside", "A line break is inside.", good[:99] + "\n" + good[99:])
    f.invalid("two-invites", "Two invites are one text.", good[:-1] + " " + good)
    f.invalid("field-missing", "The field of artifacts is missing.", invite(artifacts=None))
    f.invalid("field-repeated", "A field is there twice.", invite(name="alice,alice"))
    f.invalid("name-begins-with-dot", "The name begins with a dot.", invite(name=".alice"))
    f.invalid("name-empty", "The name is empty.", invite(name=""))
    f.invalid("origin-begins-like-a-statement", "The origin begins with `unanimity/`.",
              invite(origin="unanimity/x"))
    f.invalid("escape-in-lower-case", "An escape has lower-case digits.", invite(origin="example.org%2flog"))
    f.invalid("escape-without-need", "A slash is escaped.", invite(origin="example.org%2Flog"))
    f.invalid("escape-cut", "An escape lacks a digit.", invite(origin="example.org/log%2"))
    f.invalid("escape-not-utf-8", "The escapes are not UTF-8.", invite(origin="%C3%28"))
    f.invalid("log-id-too-short", "The log id has 62 digits.", invite(log=log_id(ORIGIN, LOG)[:-2]))
    f.invalid("log-id-in-upper-case", "The log id is in upper case.", invite(log=log_id(ORIGIN, LOG).upper()))
    f.invalid("address-no-onion", "The address is no onion address.", invite(address="example.org:4242"))
    f.invalid("address-without-port", "The port is missing.", invite(address=onion_host(bytes([3] * 32))))
    f.invalid("address-in-upper-case", "The address is in upper case.",
              invite(address=onion_host(bytes([3] * 32)).upper() + ":4242"))
    address = onion_host(bytes([3] * 32))
    f.invalid("address-mistyped", "The checksum inside the address does not fit.",
              invite(address="b" + address[1:] + ":4242"))
    f.invalid("address-port-zero", "The port is 0.", invite(address=address + ":0"))
    f.invalid("key-of-the-note-type", "The key is a publisher's or a log's.",
              invite(key=escape(Key("alice", NOTE, 3).vkey)))
    f.invalid("key-id-false", "The key id does not belong to the key.",
              invite(key=vkey("alice", COSIGNATURE, ALICE.public, bytes(4))))
    f.invalid("client-auth-of-another-kind", "The client authorization key is of another kind.",
              invite(client_auth=client_auth(bytes([33] * 32)).replace("x25519", "x448")))
    f.invalid("client-auth-in-lower-case", "The client authorization key is in lower case.",
              invite(client_auth=client_auth(bytes([33] * 32)).lower()))
    f.invalid("artifacts-empty", "No artifacts are written as `-`.", invite(artifacts=""))
    f.invalid("artifacts-with-slash-at-the-end", "An address of artifacts has one spelling.",
              invite(artifacts=served + "/"))
    f.invalid("size-with-leading-zero", "The size has a leading zero.", invite(size="042"))
    f.invalid("size-2-to-the-63", "The size is 2^63.", invite(size=2**63))
    f.invalid("size-zero-with-another-root", "Size 0 has the root of another tree.", invite(size=0))
    f.invalid("root-in-hex", "The root is hexadecimal.", invite(root=root(entries(42)).hex()))
    f.invalid("longer-than-2048-bytes", "It has 2,049 bytes: that path is one byte longer.",
              invite(artifacts=served + path + "x"))
    f.write_index()


# ---------------------------------------------------------------- spool (spec/spool.md)


def write_spool():
    f = Format("spool-entries", "entries", "Vectors: the entries of a spool", """
The page is [spool.md](../../spool.md). A file is the spool's file `entries`: the number of the first entry, 8
bytes big-endian, then each entry after its length, 2 bytes big-endian. A reader judges the form only. Whether
the entries hash to the bundle's head is judged afterwards.
""")

    def spool(first, *entries):
        return first.to_bytes(8, "big") + b"".join(len(e).to_bytes(2, "big") + e for e in entries)

    def valid(name, claim, first, *entries):
        f.valid(name, claim, spool(first, *entries), entries_answer(first, entries))

    valid("no-entry", "The installer's head is the bundle's head.", 7)
    valid("three-entries", "Three entries.", 0, b"entry 0", b"entry 1", b"entry 2")
    valid("from-number-1000", "The first number is big-endian.", 1000, b"entry 1000")
    valid("empty-entry", "An entry may have zero bytes.", 3, b"", b"entry 4")
    f.invalid("empty-file", "Zero bytes.", b"")
    f.invalid("number-cut", "The first number has 7 bytes.", spool(0)[:-1])
    f.invalid("length-cut", "A length has one byte.", spool(0, b"entry 0") + b"\0")
    f.invalid("entry-cut", "The last entry lacks a byte.", spool(0, b"entry 0", b"entry 1")[:-1])
    f.invalid("number-beyond-64-bits", "The number after the last entry does not fit 64 bits.",
              spool(2**64 - 1, b"entry"))
    f.write_index()


# ---------------------------------------------------------------- keys.md and the key files


def write_keys():
    rows = [(LOG, "log key", "signs checkpoints"), (PUBLISHER, "publisher key", "signs statements"),
            (ALICE, "peer's key", "cosigns heads"), (BELA, "peer's key", "cosigns heads"),
            (PUBLISHER_B, "publisher key", "signs statements"), (PUBLISHER_C, "publisher key", "signs statements"),
            (STRANGER, "unknown note key", "signs what no verifier here asks for"),
            (WITNESS, "unknown cosigner", "cosigns what no verifier here asks for"),
            (IMPOSTOR, "attacker's key", "has the name of the log key")]
    text = """# Keys of the vectors

Each secret key is an Ed25519 seed of one byte repeated 32 times. **They are public: use them for tests only.**
A verifier key is `NAME+ID+BASE64`; [notes.md](../notes.md) has the computation. `generate.py` writes this page
and the files in `keys/`, one verifier key each.

| seed byte | name | type | key id | role | |
|---|---|---|---|---|---|
"""
    for key, role, use in rows:
        text += f"| {key.seed[0]} | `{key.name}` | 0x{key.kind:02x} | `{key.id.hex()}` | {role} | {use} |\n"
    text += "\n```text\n" + "".join(key.vkey + "\n" for key, _, _ in rows) + "```\n\n"
    text += f"The log id of origin `{ORIGIN}` and the log key is\n`{log_id(ORIGIN, LOG)}`.\n\n"
    text += "The entries of the trees are the ASCII texts `entry 0`, `entry 1` and so on, without a newline, unless a\n"
    text += "vector says otherwise. A fork replaces each leaf hash H by the leaf hash of `forked ` and the 32 bytes\n"
    text += "of H.\n"
    FILES["keys.md"] = text.encode()
    for name, key in [("log", LOG), ("publisher", PUBLISHER), ("alice", ALICE), ("bela", BELA),
                      ("publisher-b", PUBLISHER_B), ("publisher-c", PUBLISHER_C)]:
        FILES[f"keys/{name}.pub"] = (key.vkey + "\n").encode()


def main():
    write_keys()
    write_notes()
    write_verifier_keys()
    write_checkpoints()
    write_cosigned_heads()
    write_statements()
    write_signed_statements()
    write_evidence()
    write_tlog_proofs()
    write_consistency()
    write_tiles()
    write_proof_bundles()
    write_messages()
    write_invites()
    write_spool()

    present = {str(p.relative_to(HERE)) for p in HERE.rglob("*") if p.is_file() and p != HERE / "generate.py"
               and "__pycache__" not in p.parts}
    extra = present - set(FILES)
    if sys.argv[1:] == ["--check"]:
        wrong = [path for path in sorted(FILES)
                 if path not in present or (HERE / path).read_bytes() != FILES[path]]
        for path in wrong:
            print(f"differs or is missing: {path}")
        for path in sorted(extra):
            print(f"not written by generate.py: {path}")
        sys.exit(1 if wrong or extra else 0)
    if sys.argv[1:]:
        sys.exit("usage: generate.py [--check]")
    for path, data in FILES.items():
        (HERE / path).parent.mkdir(parents=True, exist_ok=True)
        (HERE / path).write_bytes(data)
    for path in sorted(extra):
        print(f"not written by generate.py, remove it: {path}")
    print(f"{len(FILES)} files")


if __name__ == "__main__":
    main()
