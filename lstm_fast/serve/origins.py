"""Who may talk to a server: not the page of a stranger, that a browser here happens to show.

A browser sends `Origin` with each WebSocket, which therefore tells a foreign page. Where the page's
name was made to resolve to this machine (DNS rebinding), origin and `Host` are both foreign: a
server that listens on this machine alone goes by the names of this machine.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Say whether an address, or a name that is given for one, is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Gate:
    """Lets requests in.

    Args:
        host: the address that is listened on.
        origins: pages elsewhere that may use the server, as "https://voice.example.org"; "*": any.
        token: what a client has to know; None: nothing.
    """

    def __init__(self, host: str, origins: Sequence[str], token: str | None) -> None:
        self._origins = {origin.rstrip("/").lower() for origin in origins}
        self._any = "*" in self._origins
        names = {urlsplit(origin).hostname for origin in self._origins}
        self._hosts = (LOCAL | {host.lower()} | names) if is_loopback(host) else None
        self._token = None if token is None else token.encode()

    @property
    def has_token(self) -> bool:
        """Whether clients need one."""
        return self._token is not None

    def allows_host(self, host: str | None) -> bool:
        """Say whether `Host` names this server."""
        if self._hosts is None or self._any:
            return True
        return urlsplit(f"//{host or ''}").hostname in self._hosts

    def allows_origin(self, origin: str | None, host: str | None) -> bool:
        """Say whether a page of that origin may open a WebSocket; a program sends none."""
        if origin is None or self._any:
            return True
        origin = origin.lower()
        return origin in self._origins or urlsplit(origin).netloc == (host or "").lower() != ""

    def knows(self, token: str | None) -> bool:
        """Say whether a token is the right one, in a time that does not tell how much of it is."""
        if self._token is None:
            return True
        return hmac.compare_digest((token or "").encode(), self._token)

    def knows_header(self, authorization: str | None) -> bool:
        """Say whether `Authorization: Bearer TOKEN` is right."""
        scheme, _, token = (authorization or "").partition(" ")
        return self.knows(token.strip() if scheme.lower() == "bearer" else None)
