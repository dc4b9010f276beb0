"""The client processes, as the server sees them."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from host import Host
from wire import receive_header

_CLIENT = Path(__file__).parent / "client.py"


class Clients:
    """The client processes, which connect once for every method.

    Args:
        scenario: the scenario's file.
        overrides: of the scenario.
        host: how fast this host computes, until a rehearsal says otherwise.
        num_clients: how many.
    """

    def __init__(self, scenario: Path, overrides: Sequence[str], host: Host, num_clients: int) -> None:
        self._config = {"scenario": str(scenario), "overrides": list(overrides), "host": asdict(host)}
        self._num_clients = num_clients
        self._processes: list[asyncio.subprocess.Process] = []
        self._arrivals: asyncio.Queue[tuple[dict[str, Any], asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.Queue()
        )

    async def __aenter__(self) -> "Clients":
        """Listen, and start the processes."""
        self._listener = await asyncio.start_server(self._welcome, "127.0.0.1", 0)
        self._folder = tempfile.TemporaryDirectory()
        config = Path(self._folder.name) / "config.json"
        port = self._listener.sockets[0].getsockname()[1]
        config.write_text(json.dumps({**self._config, "port": port}), encoding="utf-8")
        for client in range(self._num_clients):
            await self.start(config, client)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Wait for the clients, or end them after an error."""
        try:
            await self.finish(is_broken=error[0] is not None)
        finally:
            self._listener.close()
            self._folder.cleanup()

    async def start(self, config: Path, client: int) -> None:
        """Start a client."""
        process = await asyncio.create_subprocess_exec(sys.executable, str(_CLIENT), str(config), str(client))
        self._processes.append(process)

    async def finish(self, is_broken: bool) -> None:
        """Wait for the clients' end, which they are brought to if something broke."""
        for process in self._processes:
            if is_broken:
                with suppress(ProcessLookupError):
                    process.terminate()
            await process.wait()

    async def connections(self) -> tuple[list[asyncio.StreamReader], list[asyncio.StreamWriter]]:
        """Return the connections of all clients once they are ready for the next method.

        Raises:
            RuntimeError: if a client has ended before.
        """
        ready: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        while len(ready) < self._num_clients:
            try:
                header, reader, writer = await asyncio.wait_for(self._arrivals.get(), timeout=1.0)
            except TimeoutError:
                if any(process.returncode for process in self._processes):
                    raise RuntimeError("a client ended with an error") from None
                continue
            ready[header["client"]] = reader, writer
        return [ready[client][0] for client in sorted(ready)], [ready[client][1] for client in sorted(ready)]

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = await receive_header(reader)
        if header is not None:
            self._arrivals.put_nowait((header, reader, writer))
