"""Where requests come from, behind any number of proxies."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest

# Internet providers give each IPv6 customer a network of at least this size to choose addresses from.
IPV6_NETWORK = 64


def address_of(request: HttpRequest | None) -> str | None:
    """Where a request comes from: an IPv4 address, an IPv6 network, or None if that is not known.

    Each trusted proxy adds the address that called it to the end of X-Forwarded-For, so the client's is as many
    entries from the right as there are proxies. The client can send anything before it.
    """
    if request is None:
        return None
    proxies = settings.TRUSTED_PROXIES
    if proxies:
        entries = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
        text = entries[-proxies] if len(entries) >= proxies else ""
    else:
        text = request.META.get("REMOTE_ADDR", "")
    try:
        address = ipaddress.ip_address(_without_port(text.strip()))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), IPV6_NETWORK), strict=False))


def _without_port(text: str) -> str:
    """An address without the port that some proxies add, as in 192.0.2.1:5678 and [2001:db8::1]:5678."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def is_this_machine(address: str) -> bool:
    """Whether that is this machine, where all requests seem to come from behind a proxy that says nothing."""
    return address == f"::/{IPV6_NETWORK}" or ipaddress.ip_network(address).is_loopback
