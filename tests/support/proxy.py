"""A network between a client and a server, which can be cut, and speak TLS to the client."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSListener


class Proxy:
    """Passes on what comes at `port`. While `is_cut` nobody gets through."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.is_cut = False
        self._scopes: set[anyio.CancelScope] = set()

    def cut(self) -> None:
        """Break all connections, and let no other through until `mend`."""
        self.is_cut = True
        for scope in self._scopes:
            scope.cancel()

    def mend(self) -> None:
        self.is_cut = False

    async def serve(self, client: ByteStream, target: int) -> None:
        async with client:
            if self.is_cut:
                return
            async with await anyio.connect_tcp("127.0.0.1", target) as server, anyio.create_task_group() as tasks:
                self._scopes.add(tasks.cancel_scope)
                try:
                    tasks.start_soon(_pass, client, server, tasks.cancel_scope)
                    await _pass(server, client, tasks.cancel_scope)
                finally:
                    self._scopes.discard(tasks.cancel_scope)


async def _pass(source: ByteStream, target: ByteStream, scope: anyio.CancelScope) -> None:
    try:
        async for chunk in source:
            await target.send(chunk)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        pass
    scope.cancel()


@asynccontextmanager
async def proxied(target: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """Give a proxy to a port of this machine."""
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    proxy = Proxy(plain.extra(anyio.abc.SocketAttribute.local_port))
    listener = plain if tls is None else TLSListener(plain, tls, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, lambda client: proxy.serve(client, target))
        yield proxy
        tasks.cancel_scope.cancel()
