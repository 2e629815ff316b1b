"""One thread inside, as many as before outside, also of libraries that are loaded late."""

import sys

import torch
from threadpoolctl import threadpool_info, threadpool_limits

from fedstyle_secure.threads import one_thread


def counts():
    return {library["filepath"]: library["num_threads"] for library in threadpool_info()}


def test_one_thread_inside_and_as_many_as_before_outside():
    torch_before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threadpool_limits(2):
            before = counts()
            for _ in range(2):
                with one_thread(), one_thread():
                    assert torch.get_num_threads() == 1
                    assert set(counts().values()) == {1}
                assert torch.get_num_threads() == 2
                assert counts() == before
    finally:
        torch.set_num_threads(torch_before)


def test_libraries_are_looked_for_again_once_a_module_was_imported(monkeypatch):
    found = []
    controller = "fedstyle_secure.threads.ThreadpoolController"

    class Counted:
        def __init__(self):
            found.append(len(sys.modules))

        def limit(self, limits):
            return threadpool_limits(limits)

    monkeypatch.setattr(controller, Counted)
    for name in ("one", "one", "two"):
        monkeypatch.setitem(sys.modules, f"made_up_{name}", sys)
        with one_thread():
            pass
    assert len(found) == 2
