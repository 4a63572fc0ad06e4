"""What the environment says about connections: proxies and certificates. A wrong setting is told by its variable.

httpx reads the variables while it makes a client, and raises an `ImportError`, an `InvalidURL` or a `FileNotFoundError`
that names none. So they are looked at here before. The value of one is not quoted: a proxy's has a password.

A server on this machine is never asked through a proxy: none that another machine is could reach it.
"""

import os
import ssl
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from stepstream.sources.http_errors import Unsendable

SCHEMES: Final = ("http", "https", "all")
"""What a variable names a proxy for."""


def is_loopback(url: str) -> bool:
    """Return whether the host of a URL is this machine, by its name or address, 0.0.0.0 included."""
    try:
        host = urlsplit(url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        address = ip_address(host)
        return address.is_loopback or address.is_unspecified
    except ValueError:
        return False


def has_proxies(url: str) -> bool:
    """Return whether a request to `url` may go through a proxy that the environment names."""
    return not is_loopback(url) and any(_proxies())


def proxied_client(kind: type[httpx.AsyncClient], context: ssl.SSLContext) -> httpx.AsyncClient:
    """Return a client of a kind of httpx's that asks the proxies of the environment, but for the hosts it excepts.

    Raises:
        Unsendable: a proxy cannot be used, or the exceptions cannot be read. The text names the variable.
    """
    for scheme, value in _proxies():
        _check_proxy(_variable(scheme), value, takes_socks=kind is httpx.AsyncClient)
    try:
        return kind(verify=context)
    except Exception:  # noqa: BLE001 - whatever httpx raises of the exceptions, by now it can be of nothing else
        expected = "hosts and addresses between commas, those of IPv6 without brackets or a length"
    raise Unsendable(f"{_variable('no')}: expected {expected}")


def _check_proxy(name: str, value: str, *, takes_socks: bool) -> None:
    try:
        proxy = httpx.Proxy(value if "://" in value else f"http://{value}").url
    except Exception:  # noqa: BLE001 - `InvalidURL` is none of the usual kinds, and any of them may quote the value
        proxy = httpx.URL()
    if not proxy.host or not 0 <= (proxy.port or 0) < 2**16:
        raise Unsendable(f"{name}: expected the URL of an HTTP or SOCKS5 proxy")
    if proxy.scheme.startswith("socks") and not takes_socks:
        raise Unsendable(f"{name}: expected an HTTP proxy for fast=True, got a SOCKS proxy")
    if proxy.scheme.startswith("socks") and find_spec("socksio") is None:
        raise Unsendable(f"{name} names a SOCKS proxy, which needs a package: pip install 'httpx[socks]'")


def ssl_context(*, verify: bool) -> ssl.SSLContext:
    """Return the context for TLS, with the certificates that the environment names, or those of certifi.

    Raises:
        Unsendable: they cannot be read. The text names the variable.
    """
    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if verify and folders and not file and not any(map(os.path.isdir, folders.split(os.pathsep))):
        raise Unsendable("SSL_CERT_DIR: expected a folder with certificates, got none that exists")
    try:
        return httpx.create_ssl_context(verify=verify)
    except OSError as exc:  # of ssl, too
        reason = getattr(exc, "reason", None) or exc.strerror or type(exc).__name__
        if exc.filename is not None:  # only the file for keys of TLS is named by what it raises
            raise Unsendable(f"SSLKEYLOGFILE: expected a file that can be written ({reason})") from exc
        name = "SSL_CERT_FILE" if file else "SSL_CERT_DIR"
        raise Unsendable(f"{name}: expected a file with certificates that can be read ({reason})") from exc


def _proxies() -> list[tuple[str, str]]:
    found = getproxies()
    if "*" in map(str.strip, found.get("no", "").split(",")):
        return []  # every host is excepted
    return [(scheme, found[scheme]) for scheme in SCHEMES if found.get(scheme)]


def _variable(scheme: str) -> str:
    """Return the variable that names the proxy of a scheme, as it is written. That in lower case wins."""
    found = sorted((name for name in os.environ if name.lower() == f"{scheme}_proxy"), reverse=True)
    return found[0] if found else f"the system's {scheme} proxy"
