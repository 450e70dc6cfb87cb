"""A web server on this machine with scripted responses."""

import asyncio
from contextlib import asynccontextmanager, suppress

import anyio


@asynccontextmanager
async def open_web_server(answer, *, tls=None):
    """Serve; yield the origin and the heads of requests. The origin's scheme is http even with `tls`.

    `answer` is bytes, or a function of the request's head and the writer that returns bytes or writes them itself.
    """
    heads, connections = [], set()

    async def serve(reader, writer):
        connections.add(asyncio.current_task())
        try:
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            found = answer(heads[-1], writer) if callable(answer) else answer
            writer.write(await found if asyncio.iscoroutine(found) else found)
            await writer.drain()
            writer.close()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()
            with suppress(Exception):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        # A connection that was just accepted has no task yet.
        await anyio.wait_all_tasks_blocked()
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await anyio.wait_all_tasks_blocked()
