"""One loop that trains any module: clipped, watched, stopped in time, and resumed exactly.

Whatever varies from update to update is a function of the number of the update: the batch, the
step size, the random numbers of dropout. So a training that was killed and goes on from its last
checkpoint does what it would have done, bit for bit on one CPU.
"""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from rnncourse import doors
from rnncourse.gpu import graph, processes, resume
from rnncourse.params import map_arrays


class Batch(NamedTuple):
    """What one update learns from.

    Attributes:
        inputs: a tensor (T, B, ...).
        targets: a tensor (T, B, ...).
        fresh: whether the sequences begin here, so that no state is carried in.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    fresh: bool = True


class Settings(NamedTuple):
    """How to train.

    Attributes:
        steps: updates to make.
        rate: step size of the first update; it falls to zero as half a cosine.
        constant: keep the step size as it is.
        clip: the longest gradient allowed.
        decay: weight decay apart from the gradient (AdamW).
        every: updates between two looks at the validation text; a checkpoint is written at each.
        patience: looks without a new best after which to stop; go on to the end unless given.
        seed: of the random numbers of dropout.
    """

    steps: int
    rate: float = 4e-3
    constant: bool = False
    clip: float = 1.0
    decay: float = 0.0
    every: int = 100
    patience: int | None = None
    seed: int = 0


class Look(NamedTuple):
    """How training stands.

    Attributes:
        step: updates made so far.
        train: mean loss of the updates since the last look, while learning from them.
        valid: what ``valid`` returned, or ``train`` without it.
    """

    step: int
    train: float
    valid: float


def fit(
    model: nn.Module,
    batch: Callable[[int], Batch],
    loss: Callable,
    settings: Settings,
    valid: Callable[[nn.Module], float] | None = None,
    checkpoint: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> list[Look]:
    """Train a module by AdamW; leave it with the best parameters seen at a look.

    With several processes (see :mod:`rnncourse.gpu.processes`), each takes its share of every batch
    and gradients are averaged, so that the losses are those of one process on the whole batch.

    Args:
        model: what is trained; moved to the device.
        batch: from the number of an update to its :class:`Batch`, whole, on any device.
        loss: takes the model, inputs, targets and a carried state (None where a sequence begins);
            returns the mean loss, a scalar, and the state to carry: tensors (..., B, H) in nested tuples.
        settings: how.
        valid: takes the model; returns the number to be made small. Unless given, the training loss.
        checkpoint: a file to go on from, if it is there, and to write at every look.
        device: where to train.

    Returns:
        One :class:`Look` for each ``every`` updates, the last at the end.

    Raises:
        ValueError: if a setting is out of range, or the checkpoint belongs to another training.
        FloatingPointError: if loss, gradient or validation figure is not finite, saying at which update.
    """
    _check(settings)
    processes.require_together()
    model.to(device)
    state = _Training(model, settings, torch.device(device))
    state.load(checkpoint)
    shared = DistributedDataParallel(model) if processes.count() > 1 else model
    quiet = True if processes.rank() else None  # None: silent unless stderr is a terminal
    with torch.random.fork_rng(), tqdm(total=settings.steps, initial=state.step, disable=quiet) as progress:
        while not state.finished:
            state.update(shared, batch(state.step), loss)
            progress.update()
            if state.step % settings.every == 0 or state.step == settings.steps:
                state.look(valid)
                state.save(checkpoint)
                progress.set_postfix(train=state.history[-1].train, valid=state.history[-1].valid)
    model.load_state_dict(state.best)
    return state.history


class _Training:
    """Everything that changes while a model is trained, and all that a checkpoint must hold."""

    def __init__(self, model: nn.Module, settings: Settings, device: torch.device):
        self.model, self.settings, self.device = model, settings, device
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=settings.decay)
        self.step, self.total, self.carry = 0, 0.0, None
        self.history: list[Look] = []
        self.best: dict = {}

    @property
    def best_at(self) -> int:
        """The place in the history of the best look so far."""
        return min(range(len(self.history)), key=lambda k: self.history[k].valid)

    @property
    def finished(self) -> bool:
        """Whether all updates are made, or nothing has improved for too long."""
        patience = self.settings.patience
        stale = self.history and patience is not None and len(self.history) - 1 - self.best_at >= patience
        return bool(self.step >= self.settings.steps or stale)

    def update(self, model: nn.Module, batch: Batch, loss: Callable) -> None:
        """One update; ``model`` is the module itself, or what averages its gradients."""
        model.train()
        chance = np.random.SeedSequence([self.settings.seed, self.step, processes.rank()])
        torch.manual_seed(int(chance.generate_state(1)[0]))
        inputs, targets = processes.share((batch.inputs, batch.targets), axis=1)
        carry = None if batch.fresh else self.carry
        value, carry = loss(model, inputs.to(self.device), targets.to(self.device), carry)
        self.optimizer.zero_grad()
        value.backward()
        self._descend(float(value.detach()))
        self.carry = None if carry is None else graph.cut(carry)

    def _descend(self, value: float) -> None:
        length = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        if not (math.isfinite(value) and torch.isfinite(length)):
            raise FloatingPointError(
                f"update {self.step + 1}: the loss is {value}, the gradient's norm {float(length)}"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate(self.step, self.settings)
        self.optimizer.step()
        self.total += value
        self.step += 1

    def look(self, valid: Callable | None) -> None:
        """Measure, and keep the parameters if they are the best so far."""
        since = self.step - (self.history[-1].step if self.history else 0)
        train = processes.mean(self.total / since, self.device)
        self.model.eval()
        with torch.no_grad():
            now = train if valid is None else processes.mean(float(valid(self.model)), self.device)
        if not math.isfinite(now):  # it would be the best for ever after, for nothing is less than NaN
            raise FloatingPointError(f"update {self.step}: the validation figure is {now}")
        self.history.append(Look(self.step, train, now))
        self.total = 0.0
        if self.best_at == len(self.history) - 1:
            self.best = copy.deepcopy(self.model.state_dict())

    def save(self, path: str | Path | None) -> None:
        """Write the checkpoint; the first process alone does."""
        if path is None:
            return
        carry = None if self.carry is None else processes.whole(self.carry, axis=-2)
        if processes.rank() == 0:
            state = {"step": self.step, "carry": carry, "history": [tuple(look) for look in self.history]}
            state |= {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "best": self.best}
            resume.write(state | self._identity(), path)

    def load(self, path: str | Path | None) -> None:
        """Go on from the checkpoint, if there is one."""
        state = None if path is None else resume.read(path, self._identity())
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], state["best"]
        self.history = [Look(*look) for look in state["history"]]
        if state["carry"] is not None:
            self.carry = map_arrays(lambda t: t.to(self.device), processes.share(state["carry"], axis=-2))

    def _identity(self) -> dict:
        """What a checkpoint must agree in."""
        kinds = {name: (tuple(part.shape), str(part.dtype)) for name, part in self.model.state_dict().items()}
        return {"settings": self.settings._asdict(), "parameters": kinds}


def rate(step: int, settings: Settings) -> float:
    """The step size of an update.

    Args:
        step: updates made before.
        settings: with ``rate``, ``steps`` and ``constant``.

    Returns:
        ``rate`` at the beginning, falling to 0 as half a cosine unless it is constant.
    """
    if settings.constant:
        return settings.rate
    return 0.5 * settings.rate * (1 + math.cos(math.pi * step / settings.steps))


def _check(settings: Settings) -> None:
    for name in ("steps", "every"):
        doors.at_least(name, getattr(settings, name), 1)
    if settings.patience is not None:
        doors.at_least("patience", settings.patience, 1)
    for name in ("rate", "clip"):
        if not getattr(settings, name) > 0:
            raise ValueError(f"{name}: expected a positive number, got {getattr(settings, name)}")
    if not settings.decay >= 0:
        raise ValueError(f"decay: expected 0 or more, got {settings.decay}")
