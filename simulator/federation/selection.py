"""Which idle client is dispatched next."""

from collections.abc import Iterator

from simulator.randomness import Stream

_BLOCK_DRAWS = 256
_BUSY = -1


class IdleClients:
    """The clients that have nothing to do; uniform draws without replacement in O(1).

    Args:
        num_clients: clients 0, 1, ..., all idle at first.
        seed: the run's seed.
    """

    def __init__(self, num_clients: int, seed: int) -> None:
        self._clients = list(range(num_clients))
        self._position = list(range(num_clients))
        self._stream = Stream(seed, "selection")
        self._num_drawn = 0
        self._uniforms: list[float] = []

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[int]:
        return iter(self._clients)

    def draw(self) -> int:
        """Take one idle client, each with equal probability."""
        offset = self._num_drawn % _BLOCK_DRAWS
        if offset == 0:
            self._uniforms = self._stream.uniforms(_BLOCK_DRAWS, start=self._num_drawn).tolist()
        self._num_drawn += 1
        client = self._clients[int(self._uniforms[offset] * len(self._clients))]
        self.take(client)
        return client

    def take(self, client: int) -> None:
        """Take a client that is idle."""
        position, last = self._position[client], self._clients[-1]
        self._clients[position], self._position[last] = last, position
        self._clients.pop()
        self._position[client] = _BUSY

    def put_back(self, client: int) -> None:
        """Return a client that is idle again."""
        self._position[client] = len(self._clients)
        self._clients.append(client)

    def __contains__(self, client: int) -> bool:
        return self._position[client] != _BUSY
