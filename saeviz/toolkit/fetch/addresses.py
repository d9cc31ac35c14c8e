"""Resolve host names, and tell public addresses from private ones."""

from __future__ import annotations

import socket
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from threading import Thread
from typing import Any

from saeviz.toolkit.fetch.errors import RefusedError, TransientError

_NAT64 = IPv6Network("64:ff9b::/96")


def addresses_of(host: str, port: int, *, allow_private: bool, seconds: float) -> list[str]:
    """The addresses of a host, in the resolver's order; resolving may take up to `seconds`.

    Raises `RefusedError` if the host is unknown or, unless `allow_private`, if any of its addresses is not public (a
    hostile name could mix public and private ones), and `TransientError` if resolving fails for now. Connect to these
    very addresses: a second look-up may return others.
    """
    try:
        found = _looked_up(host, port).result(max(seconds, 0))
    except TimeoutError:
        raise TransientError("the host name was not resolved in time") from None
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise TransientError("the host name cannot be resolved at the moment") from None
        raise RefusedError("the host name is unknown") from None
    except (UnicodeError, OSError):
        raise RefusedError("the host name is unknown") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    private = [address for address in addresses if not is_public(address)]
    if private and not allow_private:
        raise RefusedError(
            f"its host is at {private[0]}, which is not a public internet address; "
            "images.allow_private = true permits that"
        )
    return addresses


def _looked_up(host: str, port: int) -> Future[list[Any]]:
    """The resolver's answer. It has no time-out, so it runs in a thread that can be abandoned."""
    future: Future[list[Any]] = Future()

    def look_up() -> None:
        try:
            future.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            future.set_exception(error)

    Thread(target=look_up, name="saeviz-look-up", daemon=True).start()
    return future


def is_public(address: str) -> bool:
    """Whether an IP address, and any IPv4 address embedded in it, belongs to the public internet."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        inner = _inner(ip)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _inner(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this IPv6 address finally reach, or None."""
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.teredo is not None:
        return ip.teredo[1]
    return ip.ipv4_mapped or ip.sixtofour
