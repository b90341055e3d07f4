"""The training loop: what it promises about seeds, clipping, stopping, checkpoints, kills and several processes."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rnncourse.gpu import processes, resume, training
from rnncourse.gpu.training import Batch, Settings

WORKER = Path(__file__).with_name("training_worker.py")
ALONE = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}


def work(out: Path, *options, launcher: tuple = (sys.executable,)) -> subprocess.CompletedProcess:
    command = [*launcher, str(WORKER), str(out), *map(str, options)]
    return subprocess.run(command, env=ALONE | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120)


def result(out: Path, *options, **how) -> dict:
    done = work(out, *options, **how)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(out)


def assert_same(one: dict, other: dict) -> None:
    """Bit for bit."""
    assert one["history"] == other["history"]
    for name, tensor in one["model"].items():
        assert torch.equal(tensor, other["model"][name]), name


# --- A small problem: fit a line --------------------------------------------------------------


class Line(nn.Module):
    """y = w x, and a count of calls as the state to carry."""

    def __init__(self, w: float = 0.0):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))


def squared(model, inputs, targets, carry=None):
    carry = inputs[0] * 0 if carry is None else carry
    return ((model.w * inputs - targets) ** 2).mean(), carry + 1


def line(step: int, slope: float = 2.0) -> Batch:
    x = torch.from_numpy(np.random.default_rng(step).standard_normal((3, 4, 1)))
    return Batch(x, slope * x, fresh=step % 5 == 0)


def test_it_learns_and_tells():
    model = Line()
    history = training.fit(model, line, squared, Settings(200, rate=0.1, every=50))
    assert [look.step for look in history] == [50, 100, 150, 200]
    assert float(model.w.detach()) == pytest.approx(2.0, abs=1e-3)
    assert history[-1].train < 1e-4 < history[0].train and history[-1].valid == history[-1].train


def test_the_last_look_is_at_the_end_and_means_are_over_the_updates_since():
    losses = []

    def watched(*arguments):
        value, carry = squared(*arguments)
        losses.append(float(value.detach()))
        return value, carry

    history = training.fit(Line(), line, watched, Settings(7, every=3))
    assert [look.step for look in history] == [3, 6, 7]
    means = [np.mean(losses[:3]), np.mean(losses[3:6]), np.mean(losses[6:])]
    assert [look.train for look in history] == pytest.approx(means, rel=1e-14)


def test_the_state_is_carried_and_begins_again_where_the_sequences_do():
    seen = []

    def watched(model, inputs, targets, carry=None):
        seen.append(None if carry is None else float(carry[0, 0]))
        assert carry is None or not carry.requires_grad
        return squared(model, inputs, targets, carry)

    training.fit(Line(), line, watched, Settings(7))
    assert seen == [None, 1, 2, 3, 4, None, 1]


def test_the_first_update_is_adams_and_the_gradient_is_clipped():
    """Adam's first step has the length of the rate, so clipping shows in what it remembers."""
    for clip, expected in [(1e9, None), (0.5, 0.5)]:
        model, memory = Line(), []
        original = torch.optim.AdamW.step

        def step(self, *arguments, memory=memory, original=original):
            memory.append(float(self.param_groups[0]["params"][0].grad))
            return original(self, *arguments)

        torch.optim.AdamW.step = step
        try:
            training.fit(model, line, squared, Settings(1, rate=0.1, clip=clip))
        finally:
            torch.optim.AdamW.step = original
        batch = line(0)
        gradient = -float((2 * batch.targets * batch.inputs).mean())
        assert memory == [pytest.approx(gradient if expected is None else -expected, rel=1e-5)]
        assert float(model.w.detach()) == pytest.approx(0.1, rel=1e-6)


def test_the_rate_falls_as_half_a_cosine_or_not_at_all():
    settings = Settings(steps=8, rate=0.5)
    assert [training.rate(step, settings) for step in (0, 4, 8)] == pytest.approx([0.5, 0.25, 0.0])
    assert training.rate(2, settings) == pytest.approx(0.25 * (1 + math.cos(math.pi / 4)))
    assert training.rate(7, settings._replace(constant=True)) == 0.5


def test_it_stops_when_nothing_improves_and_returns_the_best():
    scores = iter([5.0, 3.0, 4.0, 3.5, 1.0])
    kept = []

    def valid(model):
        kept.append(float(model.w))
        return next(scores)

    model = Line()
    history = training.fit(model, line, squared, Settings(50, rate=0.1, every=2, patience=2), valid)
    assert [look.valid for look in history] == [5.0, 3.0, 4.0, 3.5]
    assert float(model.w.detach()) == kept[1]


def test_modes_are_set_and_dropout_varies_with_the_seed_alone():
    class Noisy(Line):
        def __init__(self):
            super().__init__(1.0)
            self.noise = nn.Dropout(0.5)

    def loss(model, inputs, targets, carry=None):
        assert model.training
        return ((model.noise(model.w * inputs) - targets) ** 2).mean(), None

    def valid(model):
        assert not model.training and not torch.is_grad_enabled()
        return 0.0

    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(runs))  # what the caller did before must not matter
        before = torch.random.get_rng_state()
        runs.append(training.fit(Noisy(), line, loss, Settings(4, seed=seed, every=1), valid))
        assert torch.equal(torch.random.get_rng_state(), before), "the caller's random numbers were touched"
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps: expected a whole number >= 1, got 0"),
        ({"every": 1.5}, "every: expected a whole number >= 1, got 1.5"),
        ({"patience": 0}, "patience: expected a whole number >= 1, got 0"),
        ({"rate": 0.0}, "rate: expected a positive number, got 0.0"),
        ({"clip": math.nan}, "clip: expected a positive number, got nan"),
        ({"decay": -1.0}, "decay: expected 0 or more, got -1.0"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        training.fit(Line(), line, squared, Settings(4)._replace(**change))


def test_a_loss_that_is_not_finite_is_no_reason_to_go_on():
    model = Line()

    def breaking(model, inputs, targets, carry=None):
        value, carry = squared(model, inputs, targets, carry)
        return value * (math.nan if float(model.w.detach()) > 0.15 else 1.0), carry

    with pytest.raises(FloatingPointError, match=r"^update 3: the loss is nan"):
        training.fit(model, line, breaking, Settings(9, rate=0.1, constant=True))
    assert math.isfinite(float(model.w.detach()))


def test_a_validation_figure_that_is_not_finite_is_never_the_best():
    with pytest.raises(FloatingPointError, match=r"^update 2: the validation figure is nan$"):
        training.fit(Line(), line, squared, Settings(9, every=2), valid=lambda model: math.nan)


# --- Checkpoints ------------------------------------------------------------------------------


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    training.fit(Line(), line, squared, Settings(2), checkpoint=path)
    with pytest.raises(ValueError, match=r"^checkpoint: .*run.pt belongs to another training \(settings was .*'rate'"):
        training.fit(Line(), line, squared, Settings(2, rate=0.5), checkpoint=path)
    with pytest.raises(ValueError, match=r"belongs to another training \(parameters was .*float64"):
        training.fit(Line().float(), line, squared, Settings(2), checkpoint=path)
    path.write_bytes(b"not what it was")
    with pytest.raises(ValueError, match=r"^checkpoint: .*run.pt cannot be read; delete it to start again"):
        training.fit(Line(), line, squared, Settings(2), checkpoint=path)


def test_a_finished_training_is_not_trained_again(tmp_path):
    calls = []

    def counted(*arguments):
        calls.append(1)
        return squared(*arguments)

    runs = [
        training.fit(Line(), line, counted, Settings(4, every=2), checkpoint=tmp_path / "deep" / "run.pt")
        for _ in range(2)
    ]
    assert runs[0] == runs[1] and len(calls) == 4


def test_a_writer_that_dies_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    resume.write({"step": 1}, path)

    def half(state, file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        resume.write({"step": 2}, path)
    assert resume.read(path, {}) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


def test_what_a_killed_writer_left_beside_is_ignored(tmp_path):
    (tmp_path / "run.pt.123.part").write_bytes(b"half of it")
    assert resume.read(tmp_path / "run.pt", {}) is None


@pytest.mark.parametrize("killed_at", [2, 11])
def test_a_killed_training_goes_on_bit_for_bit(tmp_path, killed_at):
    """SIGKILL in the middle of an update, dropout and a carried state and all."""
    whole = result(tmp_path / "whole.pt", "--dropout", 0.3)
    options = "--dropout", 0.3, "--checkpoint", tmp_path / "run.pt"
    dead = work(tmp_path / "none.pt", *options, "--die-after", killed_at)
    assert dead.returncode == -signal.SIGKILL and not (tmp_path / "none.pt").exists()
    assert (tmp_path / "run.pt").exists() == (killed_at > 3)
    assert_same(result(tmp_path / "resumed.pt", *options), whole)


# --- Several processes ------------------------------------------------------------------------

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_two_processes_give_the_losses_of_one_on_the_same_batch(tmp_path):
    one = result(tmp_path / "one.pt")
    two = result(tmp_path / "two.pt", launcher=TORCHRUN)
    assert (one["processes"], two["processes"]) == (1, 2)
    np.testing.assert_allclose(two["history"], one["history"], rtol=1e-12, atol=0)
    for name, tensor in one["model"].items():
        torch.testing.assert_close(two["model"][name], tensor, rtol=1e-10, atol=1e-12)


def test_without_averaging_they_would_not(tmp_path):
    """The test above can fail: each process on its own share learns something else."""
    one = result(tmp_path / "one.pt")
    apart = result(tmp_path / "apart.pt", "--alone", launcher=TORCHRUN)
    assert abs(np.array(apart["history"]) - one["history"]).max() > 1e-4


def test_a_training_begun_by_one_process_can_be_finished_by_two(tmp_path):
    """The checkpoint holds the state of all sequences, whoever carried them."""
    whole, options = result(tmp_path / "whole.pt"), ("--checkpoint", tmp_path / "run.pt")
    assert work(tmp_path / "none.pt", *options, "--die-after", 8).returncode == -signal.SIGKILL
    finished = result(tmp_path / "two.pt", *options, launcher=TORCHRUN)
    np.testing.assert_allclose(finished["history"], whole["history"], rtol=1e-12, atol=0)


def test_alone_there_is_nothing_to_share_or_to_put_together(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    batch = (torch.arange(6).reshape(1, 6), (torch.ones(2, 6),))
    with processes.together("cpu") as device:
        assert device == torch.device("cpu") and (processes.rank(), processes.count()) == (0, 1)
        assert torch.equal(processes.share(batch, axis=1)[0], batch[0])
        assert processes.whole(batch, axis=1) is batch and processes.mean(3.0, device) == 3.0


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match=r"^processes: torchrun has started several"):
        training.fit(Line(), line, squared, Settings(2))


def test_shares_must_be_even(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(ValueError, match=r"^batch: 3 sequences cannot be shared out among 2 processes$"):
        processes.share(torch.ones(4, 3), axis=1)


def test_devices():
    with (
        pytest.raises(ValueError, match=r"^device: expected one of 'cpu', 'cuda', got 'tpu'$"),
        processes.together("tpu"),
    ):
        pass
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device here"), processes.together("cuda"):
            pass


@pytest.mark.cuda
def test_it_trains_on_a_gpu():
    def moved(step):
        assert line(step).inputs.device.type == "cpu"
        return line(step)

    model = Line()
    training.fit(model, moved, squared, Settings(200, rate=0.1), device="cuda")
    assert model.w.is_cuda and float(model.w.detach()) == pytest.approx(2.0, abs=1e-3)
