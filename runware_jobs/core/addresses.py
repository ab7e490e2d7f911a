"""Which addresses of the internet we are willing to call, by rules alone.

`locate` reads a URL strictly and says where it points; `check_addresses` judges
what a name resolved to. Nothing here resolves a name or opens a connection: that
is `runware_jobs.outgoing`, which calls both before it opens a socket.

A URL of a stranger is a way to make us talk to our own network (server-side
request forgery). So we read it with one parser, build the URL that is sent anew
from what was read, and refuse every spelling that two parsers might read
differently, even where it happens to be harmless.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import idna

from runware_jobs.errors import RunwareJobsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network

MAX_URL_CHARACTERS: Final = 2048
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_FIRST_USER_PORT: Final = 1024
_LAST_PORT: Final = 65_535
_LOCAL_REMEDY: Final = "For local development set RUNWARE_JOBS_ALLOW_PRIVATE_WEBHOOKS=true."

# Tabs and newlines are dropped by some parsers and a backslash is a slash to others.
_AMBIGUOUS: Final = re.compile(r"[\x00-\x20\x7f\\]")
_NETLOC: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:]+))(?::(?P<port>[0-9]{0,5}))?")
# An underscore is no letter of a hostname, but names with it exist and resolve.
_NAME: Final = re.compile(r"(?=.{1,253}\Z)(?:(?!-)[a-z0-9_-]{1,63}(?<!-)\.)*(?!-)[a-z0-9_-]{1,63}(?<!-)")
# The last label of a number in any spelling: 127.1, 0x7f.1, 2130706433, 0177.0.0.1.
_NUMERIC_END: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
# Names that never point to the public internet (RFC 6761, RFC 6762, RFC 8375, ICANN
# on .internal), or that home and office routers give out.
_LOCAL_SUFFIXES: Final = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "lan",
    "home",
    "corp",
    "home.arpa",
)


class Refusal(StrEnum):
    """Why an address is not called; `AddressRefused.reason` is one of these."""

    NOT_A_URL = "not_a_url"
    TOO_LONG = "too_long"
    SCHEME = "scheme"
    USERINFO = "userinfo"
    HOST = "host"
    PORT = "port"
    NOT_PUBLIC = "not_public"


class AddressRefused(RunwareJobsError):
    """We do not call this address; nothing was sent and no connection was opened.

    The message names the remedy. It holds neither path nor query (receivers put
    secrets there) nor what a name resolved to (which would map our network).
    """

    code = "validation"

    def __init__(self, message: str, *, reason: Refusal) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Location:
    """Where a URL points, read strictly.

    `url` is the URL to send to, built from the parts below: ASCII, lower-case host,
    no default port, no fragment. `literal` is None where the host is a name.
    """

    url: str
    scheme: str
    host: str
    port: int
    literal: IPv4Address | IPv6Address | None


def check_url(url: str, *, allow_private: bool) -> None:
    """Refuse what can be refused without asking DNS; called where a URL is accepted.

    A name that passes may still resolve to a private address: that is judged each
    time before a connection is opened.

    Raises:
        AddressRefused: the URL is not one that we call.
    """
    locate(url, allow_private=allow_private)


def locate(url: str, *, allow_private: bool) -> Location:
    """Read a URL strictly and return where it points.

    `allow_private` admits loopback, private and carrier networks, names without a
    dot, and plain http to loopback. It never admits link-local, metadata, multicast
    or reserved addresses: nobody develops a receiver there.

    Raises:
        AddressRefused: the URL is not one that we call.
    """
    scheme, netloc, target = _split(url)
    host, literal, port = _read_netloc(netloc, default_port=_DEFAULT_PORTS[scheme])
    _refuse_unless_a_web_port(port, allow_private=allow_private)
    if literal is not None:
        _refuse_unless_callable(host, literal, allow_private=allow_private)
    elif not allow_private and _is_local_name(host):
        raise AddressRefused(
            f"'{host}' is a name of a private network; use a public one. {_LOCAL_REMEDY}",
            reason=Refusal.NOT_PUBLIC,
        )
    if scheme == "http" and not (allow_private and _is_loopback(host, literal)):
        raise AddressRefused(
            f"The URL must begin with https://; plain http is for loopback only. {_LOCAL_REMEDY}",
            reason=Refusal.SCHEME,
        )
    shown = f"[{host}]" if ":" in host else host
    suffix = "" if port == _DEFAULT_PORTS[scheme] else f":{port}"
    return Location(f"{scheme}://{shown}{suffix}{target}", scheme, host, port, literal)


def check_addresses(
    location: Location, addresses: Sequence[IPv4Address | IPv6Address], *, allow_private: bool
) -> None:
    """Refuse a name unless every address that it resolved to may be called.

    One private answer among public ones is an attack or a broken zone: either way
    it is not for us to pick the good one.

    Raises:
        AddressRefused: an address is not public, or not loopback where plain http is used.
    """
    for address in addresses:
        _refuse_unless_callable(location.host, address, allow_private=allow_private)
        if location.scheme == "http" and not address.is_loopback:
            raise AddressRefused(
                f"'{location.host}' does not resolve to loopback; use https://.", reason=Refusal.SCHEME
            )


def parse_address(text: str) -> IPv4Address | IPv6Address:
    """Return one answer of a resolver as an address, without the scope of a link.

    Raises:
        ValueError: the text is no address.
    """
    return ip_address(text.partition("%")[0])


def _split(url: str) -> tuple[str, str, str]:
    """Return scheme, host with port, and path with query, the last in ASCII."""
    if len(url) > MAX_URL_CHARACTERS:
        raise AddressRefused(
            f"The URL has {len(url)} characters; use one of at most {MAX_URL_CHARACTERS}.",
            reason=Refusal.TOO_LONG,
        )
    if _AMBIGUOUS.search(url):
        raise _not_a_url("it holds a space, a control character or a backslash; percent-encode it")
    try:
        parts = urlsplit(url)
        target = _in_ascii(parts.path or "/") + (f"?{_in_ascii(parts.query)}" if parts.query else "")
    except ValueError as error:  # brackets out of place, lone surrogates, look-alikes of / ? # @ :
        raise _not_a_url("its host or its characters cannot be read") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise AddressRefused("The URL must begin with https://.", reason=Refusal.SCHEME)
    if "@" in parts.netloc:
        raise AddressRefused(
            "The URL carries a user name or password; put a secret in the path or check our signature.",
            reason=Refusal.USERINFO,
        )
    return parts.scheme, parts.netloc, target


def _read_netloc(netloc: str, *, default_port: int) -> tuple[str, IPv4Address | IPv6Address | None, int]:
    """Return the host, its address where it is one, and the port."""
    split = _NETLOC.fullmatch(netloc)
    if split is None:
        raise _not_a_url("its host or port cannot be read")
    port = int(split["port"]) if split["port"] else default_port
    if split["v6"] is not None:
        address = _ipv6(split["v6"])
        return str(address), address, port
    host = _ascii_name(split["name"])
    return host, _ipv4(host), port


def _refuse_unless_callable(host: str, address: IPv4Address | IPv6Address, *, allow_private: bool) -> None:
    special = _special(address)
    if special is None or (allow_private and special.is_local):
        return
    remedy = f"use a public one. {_LOCAL_REMEDY}" if special.is_local else "use a public one."
    raise AddressRefused(
        f"'{host}' is or resolves to a {special.name} address, which we do not call; {remedy}",
        reason=Refusal.NOT_PUBLIC,
    )


def _not_a_url(problem: str) -> AddressRefused:
    return AddressRefused(f"This is not a URL that we call: {problem}.", reason=Refusal.NOT_A_URL)


def _in_ascii(text: str) -> str:
    """Percent-encode what is not ASCII and leave the rest: a presigned query must not change."""
    return "".join(character if character.isascii() else quote(character) for character in text)


def _ascii_name(name: str) -> str:
    """Return the host in lower case, international names in their ASCII form."""
    host = name.lower()
    if not name.isascii():
        try:
            host = idna.encode(name, uts46=True, std3_rules=True).decode("ascii")
        except UnicodeError as error:
            raise AddressRefused("The host is no valid international name.", reason=Refusal.HOST) from error
        if "xn--" not in host:
            # Circled digits, full-width letters, soft hyphens: a plain name in disguise.
            raise AddressRefused("Write the host in plain characters.", reason=Refusal.HOST)
    if host.endswith("."):
        raise AddressRefused("Write the host without the dot at its end.", reason=Refusal.HOST)
    if not _NAME.fullmatch(host):
        raise AddressRefused("The host is no valid name or address.", reason=Refusal.HOST)
    for label in host.split("."):
        if label.startswith("xn--"):
            try:
                idna.decode(label)
            except UnicodeError as error:
                raise AddressRefused(
                    "The host is no valid international name.", reason=Refusal.HOST
                ) from error
    return host


def _ipv4(host: str) -> IPv4Address | None:
    """Return the address where the host is one, None where it is a name."""
    if not _NUMERIC_END.fullmatch(host):
        return None
    try:
        return IPv4Address(host)
    except ValueError as error:
        raise AddressRefused(
            "Write an IPv4 address as four decimal numbers without leading zeros.", reason=Refusal.HOST
        ) from error


def _ipv6(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except ValueError as error:  # newer releases of Python refuse it in urlsplit already
        raise _not_a_url("its host in brackets is no IPv6 address") from error


def _refuse_unless_a_web_port(port: int, *, allow_private: bool) -> None:
    if not 0 < port <= _LAST_PORT:
        raise AddressRefused(f"Port {port} does not exist; use 1 to {_LAST_PORT}.", reason=Refusal.PORT)
    if port < _FIRST_USER_PORT and port not in _DEFAULT_PORTS.values() and not allow_private:
        # Mail, SSH and name servers live there; a receiver of webhooks does not.
        raise AddressRefused(
            f"Port {port} belongs to another service; use 443 or one from {_FIRST_USER_PORT} on.",
            reason=Refusal.PORT,
        )


def _is_local_name(host: str) -> bool:
    return "." not in host or host.endswith(tuple(f".{suffix}" for suffix in _LOCAL_SUFFIXES))


def _is_loopback(host: str, literal: IPv4Address | IPv6Address | None) -> bool:
    if literal is not None:
        return literal.is_loopback
    return host == "localhost" or host.endswith(".localhost")


@dataclass(frozen=True, slots=True)
class _Special:
    """A network that is not the public internet; `is_local` ones may be allowed."""

    network: IPv4Network | IPv6Network
    name: str
    is_local: bool = False


def _special(address: IPv4Address | IPv6Address) -> _Special | None:
    for special in _SPECIAL:
        if address.version == special.network.version and address in special.network:
            return special
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return _Special(_GLOBAL_UNICAST, "reserved")
    return None


# Written out, first match wins: `ipaddress.is_global` changed its mind between patch
# releases of Python and knows no metadata services. IANA special-purpose registries.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_SPECIAL: Final = tuple(
    _Special(ip_network(network), name, is_local)
    for network, name, is_local in (
        ("100.100.100.200/32", "cloud metadata", False),  # Alibaba
        ("168.63.129.16/32", "cloud metadata", False),  # Azure's wire server, in public space
        ("0.0.0.0/8", "unspecified", False),
        ("10.0.0.0/8", "private network", True),
        ("100.64.0.0/10", "carrier-grade NAT", True),
        ("127.0.0.0/8", "loopback", True),
        ("169.254.0.0/16", "link-local or metadata", False),
        ("172.16.0.0/12", "private network", True),
        ("192.0.0.0/24", "reserved", False),  # holds Oracle's metadata at 192.0.0.192
        ("192.0.2.0/24", "documentation", False),
        ("192.88.99.0/24", "6to4 relay", False),
        ("192.168.0.0/16", "private network", True),
        ("198.18.0.0/15", "benchmark network", False),
        ("198.51.100.0/24", "documentation", False),
        ("203.0.113.0/24", "documentation", False),
        ("224.0.0.0/4", "multicast", False),
        ("240.0.0.0/4", "reserved or broadcast", False),
        ("::/128", "unspecified", False),
        ("::1/128", "loopback", True),
        # These carry an IPv4 address that a router or the kernel takes out again.
        ("::ffff:0:0/96", "IPv4-mapped", False),
        ("::ffff:0:0:0/96", "IPv4-translated", False),
        ("::/96", "IPv4-compatible", False),
        ("64:ff9b::/96", "NAT64", False),
        ("64:ff9b:1::/48", "NAT64", False),
        ("2002::/16", "6to4", False),
        ("2001::/32", "Teredo", False),
        ("2001::/23", "reserved", False),
        ("2001:db8::/32", "documentation", False),
        ("3fff::/20", "documentation", False),
        ("fd00:ec2::/32", "cloud metadata", False),  # Amazon
        ("fd20:ce::/64", "cloud metadata", False),  # Google
        ("fc00::/7", "private network", True),
        ("fe80::/10", "link-local", False),
        ("fec0::/10", "site-local", False),
        ("ff00::/8", "multicast", False),
    )
)
