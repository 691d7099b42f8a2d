"""Kinds of damage, each by the layer that it is done to. All take a value and dice, and return another value."""

import base64
import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

from nacl.public import Box, PrivateKey, PublicKey

from .. import perma_cc
from ..views.traces import MARKER

# With a blank, it is no id or code that the log may name.
ODD_TEXTS = [
    "",
    " ",
    "\x00",
    "\r\nX: y",
    f"{MARKER} é",
    f"{MARKER} ,decision=ACCEPT",
    f"=cmd|'/C calc'!A0 {MARKER}",
    f"<script>{MARKER} </script>",
    "'; DROP TABLE x; --",
    "\ud800",
    "+2AA-",  # the same in UTF-7
    "+2AA-:x",
    "\ufeff7",
    "\U0001f4b3" * 40,
    "١٢.٥٠",
    "１２.５０",
    "12,50",
    "1e400",
    "-0",
    "NaN",
    "Infinity",
    "0x10",
    "1_000",
    " 7",
    "7\n",
    "9" * 400,
    "true",
    "null",
    "None",
    "%00",
    "%s{0}",
    "../../etc/passwd",
    "ACCEPT",
    "CANCEL",
    "unlimited",
    "x" * 5000,
    "İ",
    "ſ",
    "e\u0301",
]
ODD_VALUES: list[Any] = [
    *ODD_TEXTS,
    None,
    True,
    False,
    0,
    -0.0,
    -1,
    1,
    7.0,
    7.5,
    1e308,
    5e-324,
    math.nan,
    math.inf,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    10**400,
    [],
    ["7"],
    {},
    {"$gt": ""},
    [[[[]]]],
]


# --- Text and bytes -------------------------------------------------------------------------------


def some_bytes(data: bytes, dice: Random) -> bytes:
    """Change, cut, double or insert a few bytes."""
    at = dice.randrange(len(data) + 1)
    match dice.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data[at:]
        case 2:
            return data[:at] + dice.randbytes(dice.randrange(1, 9)) + data[at:]
        case 3:
            return data[:at] + data[at + dice.randrange(1, 40) :]
        case 4:
            return data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
        case _:
            return (
                data[:at]
                + dice.choice([b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"\xef\xbb\xbf"])
                + data[at:]
            )


def some_characters(text: str, dice: Random) -> str:
    """The same for text, with characters that other parsers read differently."""
    at = dice.randrange(len(text) + 1)
    odd = dice.choice(
        ["\x00", "\ud800", "\u200b", "\ufeff", "\n", " ", "+", "=", ",", "-", "é", "０", "%", "A", "1"]
    )
    return dice.choice(
        [text[:at] + odd + text[at:], text[:at], text[:at] + odd + text[at + 1 :], text.swapcase(), text * 2]
    )


def another_encoding(text: str, dice: Random) -> bytes:
    """The text in an encoding that is not UTF-8, or not quite."""
    encoding = dice.choice(
        ["utf-16", "utf-8-sig", "utf-7", "utf-32", "latin-1", "cp1252", "utf-16-be", "shift_jis"]
    )
    return text.encode(encoding, "replace")


# --- Fields ---------------------------------------------------------------------------------------


def odd_value(fields: dict[str, Any], dice: Random) -> dict[str, Any]:
    return {**fields, dice.choice(list(fields)): dice.choice(ODD_VALUES)} if fields else fields


def odd_text(fields: dict[str, str], dice: Random) -> dict[str, str]:
    return {**fields, dice.choice(list(fields)): dice.choice(ODD_TEXTS)} if fields else fields


def nearly_the_same(fields: dict[str, Any], dice: Random) -> dict[str, Any]:
    """A value of another type that looks like it, or a little different."""
    if not fields:
        return fields
    name = dice.choice(list(fields))
    value = fields[name]
    text = some_characters(str(value), dice)
    others: list[Any] = [str(value), [value], text, f"{value} "]
    if isinstance(value, int | float) and abs(value) < 1e15:
        others += [value + 1, -value, float(value), value / 2]
    return {**fields, name: dice.choice(others)}


def one_field_less(fields: dict[str, Any], dice: Random) -> dict[str, Any]:
    missing = dice.choice(list(fields)) if fields else ""
    return {name: value for name, value in fields.items() if name != missing}


def one_field_more(fields: dict[str, Any], dice: Random) -> dict[str, Any]:
    name = dice.choice(
        ["customer_name", "status", "purchase_pk", "utf8", "__class__", "", "\x00", "timestamp ", "é"]
    )
    return {**fields, name: dice.choice([1, *ODD_TEXTS])}


FIELDS = [odd_value, odd_value, nearly_the_same, nearly_the_same, one_field_less, one_field_more]


def texts(fields: dict[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in fields.items()}


# --- JSON -----------------------------------------------------------------------------------------


def a_name_twice(text: bytes, dice: Random) -> bytes:
    return text[:-1] + dice.choice(
        [b', "timestamp": 1}', b', "customer_pk": 8}', b', "customer_\\u0070k": 8}', b",}"]
    )


def odd_json(text: bytes, dice: Random) -> bytes:
    old, new = dice.choice(
        [
            (b": 7", b": 7.0"),
            (b": 7", b": 1e400"),
            (b": 7", b": -0"),
            (b": 7", b": 07"),
            (b": 7", b": 7e0"),
            (b'"', b"'"),
            (b"{", b"\xef\xbb\xbf{"),
            (b"}", b"}\x00"),
            (b"}", b"} {}"),
            (b": ", b": NaN, "),
            (b"e", b"\\u0065"),
            (b"{", b"[" * 900 + b"{"),
        ]
    )
    return text.replace(old, new)


JSON: list[Callable[[bytes, Random], bytes]] = [
    a_name_twice,
    odd_json,
    odd_json,
    some_bytes,
    lambda text, dice: another_encoding(text.decode(), dice),
]


def as_json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


# --- Boxes: nobody without a key can make these -------------------------------------------------------

_STRANGER = PrivateKey(bytes(range(32)))


def strangers_box(box: bytes, dice: Random) -> bytes:
    other = Box(_STRANGER, PublicKey(perma_cc.PERMA_PAYMENTS_PUBLIC))
    return bytes(other.encrypt(perma_cc.BOX.decrypt(box), dice.randbytes(24)))


def a_bit(data: bytes, dice: Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]


BOX = [a_bit, a_bit, some_bytes, strangers_box]

BASE64: list[Callable[[str, Random], str]] = [
    some_characters,
    lambda text, dice: text.rstrip("="),
    lambda text, dice: text.replace("+", "-").replace("/", "_"),
    lambda text, dice: base64.encodebytes(text.encode()).decode(),
    lambda text, dice: text + "\n",
]


# --- Signatures: nobody without the secret can make these ---------------------------------------------


def tampered(fields: dict[str, str], dice: Random) -> dict[str, str]:
    """Change the value of a signed field after it was signed."""
    name = dice.choice(fields["signed_field_names"].split(","))
    value = fields.get(name, "")
    return {**fields, name: dice.choice([text for text in [*ODD_TEXTS, value + "0", "0.01"] if text != value])}


def bad_signature(fields: dict[str, str], dice: Random) -> dict[str, str]:
    signature = fields["signature"]
    wrong = [
        signature.swapcase(),
        signature[:-1],
        "",
        signature + "=",
        f" {signature}",
        "\ud800",
        "é" * 44,
        "A" * 44,
    ]
    return {**fields, "signature": dice.choice(wrong)}


SIGNATURE = [tampered, tampered, bad_signature]


# --- Status reports ---------------------------------------------------------------------------------


def a_row(data: bytes, dice: Random) -> bytes:
    lines = data.split(b"\n")
    at = dice.randrange(len(lines))
    match dice.randrange(5):
        case 0:
            lines.insert(at, dice.choice(lines))
        case 1:
            del lines[at]
        case 2:
            lines[at] = b",".join(dice.sample(lines[at].split(b","), len(lines[at].split(b","))))
        case 3:
            lines[at] += dice.choice([b",", b'"', b",,,,", b"\x00", b"\r", b"\t", b";", b"\x85", b"\x1c"])
        case _:
            lines[at] = lines[at].replace(b",", dice.choice([b";", b"\t", b",,", b'","', b"|"]))
    return b"\n".join(lines)


def a_cell(data: bytes, dice: Random) -> bytes:
    lines = data.split(b"\n")
    at = dice.randrange(len(lines))
    cells = lines[at].split(b",")
    text = dice.choice([*ODD_TEXTS, '"', '""', '"a\nb"', "Current", "HOLD", "PERMA-0000-0001", "$45.00", "=1+1"])
    cells[dice.randrange(len(cells))] = text.encode("utf-8", "surrogatepass")
    lines[at] = b",".join(cells)
    return b"\n".join(lines)


CSV: list[Callable[[bytes, Random], bytes]] = [
    a_row,
    a_row,
    a_cell,
    a_cell,
    a_cell,
    some_bytes,
    lambda data, dice: another_encoding(data.decode("utf-8", "replace"), dice),
    lambda data, dice: data.replace(b"\n", dice.choice([b"\r\n", b"\r", b"\n\n", b"\n\r"])),
    lambda data, dice: data * 3,
]
