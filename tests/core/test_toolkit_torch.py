"""Where torch runs and in which precision."""

from __future__ import annotations

import struct

import pytest

from saeviz import ConfigError, Context
from saeviz.toolkit.torch import first_line, loading_errors, torch_device, torch_dtype

torch = pytest.importorskip("torch", reason="needs torch")


def test_auto_takes_the_best_there_is(monkeypatch):
    for cuda, mps, expected in [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert torch_device(Context(device="auto")).type == expected


def test_a_named_device():
    assert torch_device(Context(device="cpu")) == torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:x", ""])
def test_a_device_that_is_not_there(device):
    with pytest.raises(ConfigError, match=rf"run\.device = '{device}': torch has no such device on this machine"):
        torch_device(Context(device=device))


def test_precision_of_the_run_and_of_one_component():
    assert torch_dtype(Context()) == torch.float32
    assert torch_dtype(Context(precision="bfloat16")) == torch.bfloat16
    assert torch_dtype(Context(precision="bfloat16"), "float32") == torch.float32


@pytest.mark.parametrize("kind", [OSError, KeyError, struct.error])
def test_loading_errors_catch_what_broken_files_cause(kind):
    assert issubclass(kind, loading_errors())
    assert not issubclass(KeyboardInterrupt, loading_errors())


def test_first_line_of_a_long_story():
    assert first_line(ValueError("short\nlong")) == "short"
    assert first_line(ValueError()) == "ValueError"
