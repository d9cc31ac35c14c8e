"""Which addresses a host name stands for, and whether they belong to the public internet."""

from __future__ import annotations

import socket
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from threading import Thread
from typing import Any

from saeviz.toolkit.fetch.errors import RefusedError, TransientError

_NAT64 = IPv6Network("64:ff9b::/96")


def addresses_of(host: str, port: int, *, allow_private: bool, seconds: float) -> list[str]:
    """The addresses of a host, in the resolver's order, which may take so many `seconds`.

    Unless `allow_private`, raises `RefusedError` when any of them is not public: who controls a name could otherwise
    mix one that passes with one that does not. Connect to these very addresses; a second look-up may differ.
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
    """What the resolver says, which knows no time-out; so it is asked in a thread that can be left."""
    future: Future[list[Any]] = Future()

    def look_up() -> None:
        try:
            future.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            future.set_exception(error)

    Thread(target=look_up, name="saeviz-look-up", daemon=True).start()
    return future


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, and so is the IPv4 address inside it, if there is one."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        inner = _inner(ip)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _inner(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this one end up at."""
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.teredo is not None:
        return ip.teredo[1]
    return ip.ipv4_mapped or ip.sixtofour
