"""A device that is not there: tensors that say they lie elsewhere, so that code for a GPU is tested without
one.

Their sums are the processor's. What torch refuses on a real device is
refused: an operation on tensors of two devices, and numpy's view of a tensor that is not on the CPU.
"""

from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

# The one kind of device that torch lets be named where nothing of it is built in.
ELSEWHERE = torch.device("lazy:0")

_MAY_MIX = {"copy_", "index", "_to_copy"}


class Elsewhere(torch.Tensor):
    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, device=ELSEWHERE,
        )  # fmt: skip

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})


def _computed(function, args, kwargs):
    tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    away = any(isinstance(t, Elsewhere) for t in tensors)
    here = any(t.dim() for t in tensors if not isinstance(t, Elsewhere))
    if away and here and function.overloadpacket.__name__ not in _MAY_MIX:
        raise RuntimeError(f"{function}: tensors on two devices")
    if kwargs.get("device") is not None:
        away = torch.device(kwargs["device"]).type == ELSEWHERE.type
        kwargs = {**kwargs, "device": torch.device("cpu")}
    plain = tree_map(lambda x: x.inner if isinstance(x, Elsewhere) else x, (args, kwargs))
    found = function(*plain[0], **plain[1])
    for given, said in zip(args, function._schema.arguments, strict=False):
        if said.alias_info is not None and said.alias_info.is_write:
            return given
    return tree_map(lambda x: Elsewhere(x) if away and isinstance(x, torch.Tensor) else x, found)


class _Mode(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operations += any(isinstance(t, Elsewhere) for t in tree_flatten(args)[0])
        return _computed(function, args, kwargs or {})


@contextmanager
def elsewhere():
    """Torch with the device inside; gives what counts the operations on it."""
    with _Mode() as mode:
        yield mode
