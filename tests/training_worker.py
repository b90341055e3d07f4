"""A small training to be started as a process: killed, resumed, or run by ``torchrun`` as one of several.

    python tests/training_worker.py OUT [--checkpoint FILE] [--die-after N] [--dropout P] [--alone]

Writes OUT: the history and all parameters. ``--die-after`` sends SIGKILL to itself in the middle of
an update. ``--alone`` leaves gradients unaveraged, as a wrong data-parallel training would.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from rnncourse.gpu import language, processes, training

SETTINGS = training.Settings(steps=12, rate=0.02, every=3, seed=5, decay=0.01)


def text() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 7, 400)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--checkpoint")
    parser.add_argument("--die-after", type=int)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--alone", action="store_true")
    given = parser.parse_args()
    if given.alone:
        training.DistributedDataParallel = lambda model: model
    updates = 0

    def loss(*arguments):
        nonlocal updates
        updates += 1
        if updates == given.die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return language.loss(*arguments)

    torch.set_num_threads(1)
    with processes.together() as device:
        model = language.LanguageModel(7, "lstm", features=5, hidden=6, dropout=given.dropout).double()
        batch = language.stretches(text(), streams=4, length=9)  # 11 stretches, so the text begins again
        valid = lambda model: language.nats(model, text()[:90], streams=2)  # noqa: E731
        history = training.fit(model, batch, loss, SETTINGS, valid, given.checkpoint, device)
        if processes.rank() == 0:
            state = {"history": [tuple(look) for look in history], "model": model.state_dict()}
            torch.save(state | {"processes": processes.count()}, given.out)


if __name__ == "__main__":
    main()
