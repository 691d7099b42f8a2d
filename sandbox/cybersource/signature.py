"""CyberSource's signature over a set of fields.

The data to sign is `name=value` for each name in `signed_field_names`, in that order, joined by commas with
nothing escaped, in UTF-8. The signature is base64 of its HMAC-SHA256; the secret key is used as text, not decoded
(CyberSource's guide; cybersource.md §2.1). Requests and responses are signed in the same way.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping


def data_to_sign(fields: Mapping[str, str]) -> str:
    """The text that is signed. Raises KeyError if a listed field, or the list, is missing."""
    return ",".join(f"{name}={fields[name]}" for name in fields["signed_field_names"].split(","))


def sign(fields: Mapping[str, str], secret: str) -> str:
    """Sign `fields`: 44 characters of base64. Raises KeyError like `data_to_sign`."""
    mac = hmac.new(secret.encode("utf-8"), data_to_sign(fields).encode("utf-8"), hashlib.sha256)
    return base64.b64encode(mac.digest()).decode("ascii")


def is_signed(fields: Mapping[str, str], secret: str) -> bool:
    """Whether `fields['signature']` is right; it is not if a listed field is missing."""
    try:
        expected, given = sign(fields, secret), fields["signature"]
    except KeyError:
        return False
    # As bytes: compare_digest raises for text outside ASCII, which anybody may post.
    return hmac.compare_digest(expected.encode("ascii"), given.encode("utf-8", "surrogatepass"))
