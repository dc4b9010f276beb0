"""Watching the operations of PyTorch, as dry runs and recordings do."""

from torch.utils._python_dispatch import TorchDispatchMode


class OperationWatcher(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch gives its classes no types
    """A mode whose `__torch_dispatch__` is called with every operation while it is active; it is never compiled."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: PyTorch need not load its compiler, which takes a second or two, to keep it out of a mode."""
        return False
