"""Which engine runs a model, and that all of them give the same numbers."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import saeviz
from saeviz.toolkit.engine import EngineChoice, Runner

torch = pytest.importorskip("torch", reason="needs torch")

CPU = saeviz.Context(device="cpu")


class Options(saeviz.Options):
    engine: EngineChoice = "auto"


@pytest.fixture
def model():
    """Patches, one layer over them, their mean: an image of 3 x 8 x 8 becomes 6 numbers."""
    torch.manual_seed(0)
    patches = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 4, 4), torch.nn.Flatten(2))
    return torch.nn.Sequential(patches, torch.nn.GELU(), torch.nn.Linear(4, 6))


def two_outputs(model, pixels):
    rows = model(pixels)
    return rows.mean(1), rows[:, 0]


def run(model, choice, pixels, forward=two_outputs, context=CPU, **options):
    runner = Runner(model, forward, choice=choice, option="extractor.engine", context=context, **options)
    return runner, [output.float().numpy() for output in runner(pixels)]


def pictures(n, size=8):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(n))


def assert_same(found, expected, relative=1e-5):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert abs(ours - theirs).max() <= relative * abs(theirs).max()


def test_auto_takes_openvino_on_the_cpu_and_says_so(model, caplog):
    pixels = pictures(5)
    with caplog.at_level(logging.INFO):
        runner, found = run(model, "auto", pixels)
    assert runner.engine.startswith("openvino 20")
    assert caplog.messages == [f"extractor.engine: the model runs on {runner.engine}"]
    assert_same(found, run(model, "torch", pixels)[1])


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells to which cores a thread is bound")
def test_no_thread_is_bound_to_a_core(model, monkeypatch):
    """Otherwise two workers on one machine would take turns on the first core."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    runner, found = run(model, "auto", pictures(8))[0], set()
    assert runner.engine.startswith("openvino")
    for n in range(8, 40):  # a thread is bound when it has some work, now and then
        runner(pictures(n))
        threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
        found |= {frozenset(os.sched_getaffinity(thread)) for thread in threads}
    assert found == {frozenset(os.sched_getaffinity(0))}


def test_the_engine_is_not_known_before_the_first_batch(model):
    runner = Runner(model, two_outputs, choice="torch", option="extractor.engine", context=CPU)
    assert runner.engine is None
    runner(pictures(1))
    assert runner.engine == f"torch {torch.__version__.partition('+')[0]}"


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, 2, 7])
def test_any_number_of_images_after_any_first_batch(model, first):
    runner, _ = run(model, "openvino", pictures(first))
    for n in (1, 2, 3, 7, 8):
        assert_same([output.numpy() for output in runner(pictures(n))], run(model, "torch", pictures(n))[1])


def test_an_image_gives_the_same_in_every_batch(model):
    pixels = pictures(9)
    runner, together = run(model, "openvino", pixels)
    for start, stop in ((0, 1), (1, 5), (8, 9)):
        assert_same([output.numpy() for output in runner(pixels[start:stop])], [rows[start:stop] for rows in together])


def test_images_of_another_size_are_left_to_torch(model):
    runner, _ = run(model, "openvino", pictures(2, 8), forward=lambda m, x: (m[0][0](x).mean((2, 3)),))
    (found,) = runner(pictures(2, 12))
    assert_same([found.numpy()], [model[0][0](pictures(2, 12)).mean((2, 3)).detach().numpy()])
    assert runner.engine.startswith("openvino")


def test_bfloat16_is_computed_by_either_engine(model):
    pixels = pictures(6)
    precise = run(model, "torch", pixels)[1]
    rounded = model.to(torch.bfloat16)
    for choice in ("torch", "openvino"):
        _, found = run(rounded, choice, pixels, precision="bfloat16")
        assert_same(found, precise, relative=3e-2)
    assert next(rounded.parameters()).dtype == torch.bfloat16


# -- when openvino cannot be had -------------------------------------------------------------------------------------


def test_auto_without_openvino_falls_back_to_torch(model, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with caplog.at_level(logging.INFO):
        runner, _ = run(model, "auto", pictures(2))
    assert runner.engine.startswith("torch")
    assert caplog.messages[0] == (
        "extractor.engine: the model does not run on openvino: it is not installed (pip install 'saeviz[openvino]')"
    )


def test_openvino_by_name_without_openvino_is_a_wrong_option(monkeypatch):
    assert Options(engine="openvino").engine == "openvino"
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ValidationError, match=r"pip install 'saeviz\[openvino\]', or use 'auto' or 'torch'"):
        Options(engine="openvino")
    for choice in ("auto", "torch"):
        assert Options(engine=choice).engine == choice
    with pytest.raises(ValidationError, match="engine"):
        Options(engine="tensorrt")


@pytest.mark.slow
def test_other_devices_than_the_cpu_are_torchs(model):
    context = saeviz.Context(device="meta")
    runner = Runner(model.to("meta"), two_outputs, choice="auto", option="extractor.engine", context=context)
    assert [output.device.type for output in runner(pictures(2))] == ["meta", "meta"]
    assert runner.engine.startswith("torch")
    with pytest.raises(saeviz.ConfigError, match=r"extractor.engine = 'openvino' needs run.device = 'cpu'.* meta"):
        run(model, "openvino", pictures(2), context=context)


def wrong_numbers(model, pixels):
    rows = model(pixels)
    return (rows + 1e-3 if torch.jit.is_tracing() else rows,)


def not_a_number(model, pixels):
    rows = model(pixels)
    return (rows / 0 if torch.jit.is_tracing() else rows,)


def number_of_images_frozen(model, pixels):
    return (model(pixels) + torch.arange(int(pixels.shape[0]))[:, None, None],)


def rows_lost(model, pixels):
    rows = model(pixels)
    return (rows[:1] if torch.jit.is_tracing() else rows,)


def untraceable(model, pixels):
    if torch.jit.is_tracing():
        raise NotImplementedError("no trace of this")
    return (model(pixels),)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (wrong_numbers, r"its output differs from torch's by \d\.\de-0\d of the largest value; 1e-05 is allowed"),
        (not_a_number, "differs from torch's by (nan|inf)"),
        (number_of_images_frozen, r"(shape \(2, 16, 6\) for|inference failed on) 5 images"),
        (rows_lost, r"shape \(1, 16, 6\) for 5 images"),
        (untraceable, "no trace of this"),
    ],
)
def test_a_model_that_comes_out_otherwise_is_left_to_torch(model, forward, reason, caplog):
    pixels = pictures(5)
    with caplog.at_level(logging.INFO):
        runner, found = run(model, "auto", pixels, forward)
    assert runner.engine.startswith("torch")
    assert_same(found, [output.detach().numpy() for output in forward(model, pixels)], 0)
    assert len(caplog.messages) == 2
    with pytest.raises(saeviz.PluginError, match=rf"extractor.engine = 'openvino': .*{reason}.*use 'auto' or 'torch'"):
        run(model, "openvino", pixels, forward)


def test_outputs_that_are_all_zero_are_the_same(model):
    runner, (found,) = run(model, "openvino", pictures(3), lambda m, x: (m(x) * 0,))
    assert runner.engine.startswith("openvino")
    assert not found.any()


@pytest.mark.slow
def test_openvinos_telemetry_is_not_loaded():
    code = "from saeviz.toolkit.openvino import import_openvino as f; f(); f(); import sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "openvino.tools.ovc.telemetry_stub" in modules
    assert not [module for module in modules if module.startswith("openvino_telemetry")]
