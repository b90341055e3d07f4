"""Bach's chorales as piano rolls: what a latent path is worth beside counting, a tanh network and an LSTM.

Every net is trained on stretches of the training chorales from three random starts; the best look at the
validation chorales is kept. Settings were chosen on the validation chorales with the seed 0, which is not among
those of the record (10 to 12); the test chorales are read once, whole, at the end. Chorales on one tune lie in one
part. Latent models are told by minus the ELBO and by the importance-weighted bound. Two variants of the deep Markov
model ask what the KL's slow beginning is worth, and what a prior that moves.
Every finished run leaves a file, every look a checkpoint, and a killed experiment goes on.
"""

import argparse
import atexit
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse.data import chorales  # noqa: E402
from rnncourse.gpu import module_weights, rolls, sequence_bound, training  # noqa: E402
from rnncourse.gpu.deep_markov import DeepMarkov  # noqa: E402
from rnncourse.gpu.variational_rnn import VariationalRNN  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

FIRST_SEED, SEEDS = 10, 3
STRETCH = {"length": 32, "size": 32, "shift": 0}
NETS = {
    "rnn": {"hidden": 200, "dropout": 0.3, "steps": 2000, "rate": 2e-3},
    "lstm": {"hidden": 200, "dropout": 0.5, "steps": 1200, "rate": 4e-3},
    "dmm": {"hidden": 128, "latent": 32, "dropout": 0.0, "steps": 1500, "rate": 6e-3, "warming": 0.5},
    "vrnn": {"hidden": 128, "latent": 16, "dropout": 0.0, "steps": 1200, "rate": 3e-3, "warming": 0.5},
}
NETS["dmm, no warming"] = NETS["dmm"] | {"warming": 0.0}
NETS["dmm, still prior"] = NETS["dmm"].copy()
LARGE = {
    "rnn": {"hidden": 512, "steps": 2000},
    "lstm": {"hidden": 512, "steps": 2000},
    "dmm": {"hidden": 400, "latent": 100, "steps": 10_000},
    "vrnn": {"hidden": 400, "latent": 64, "steps": 8000},
}
JUDGE = {"elbo": 4, "importance": 50}  # paths drawn for each test chorale
PLAY = {"frames": 48, "many": 64, "shown": 3}  # what is drawn from the first seed's nets


class Data:
    """The three parts as tensors on a device."""

    def __init__(self, device: str):
        self.device = device
        self.parts = {part: chorales.rolls(part) for part in chorales.PARTS}
        self.rolls = {part: torch.from_numpy(batch.rolls).to(device) for part, batch in self.parts.items()}

    def __getitem__(self, part: str):
        return self.rolls[part], torch.from_numpy(self.parts[part].lengths).to(self.device)


def build(net: str, seed: int):
    """A net, not yet trained."""
    given = NETS[net]
    if net in ("rnn", "lstm"):
        return rolls.RollModel(chorales.NOTES, net, given["hidden"], given["dropout"], seed)
    sizes = (chorales.NOTES, given["latent"], given["hidden"], given["dropout"], seed)
    return VariationalRNN(*sizes) if net == "vrnn" else DeepMarkov(*sizes, moving=net != "dmm, still prior")


def judged(net: str, model, data: Data, part: str, draws: int, seed: int) -> float:
    """Nats per frame of a part; of a latent model, minus the ELBO."""
    if net in ("rnn", "lstm"):
        return rolls.nats(model, *data[part])
    return sequence_bound.bound(model, *data[part], draws, torch.Generator().manual_seed(seed))["nats"]


def learn(net: str, seed: int, data: Data, checkpoint: Path) -> dict:
    """Train one net and judge it."""
    given, model = NETS[net], build(net, seed)
    latent, begun = net not in ("rnn", "lstm"), time.perf_counter()
    history = training.fit(
        model,
        rolls.stretches(data.parts["train"].rolls, data.parts["train"].lengths, **STRETCH, seed=seed),
        sequence_bound.Warming(int(given["warming"] * given["steps"])) if latent else rolls.loss,
        training.Settings(given["steps"], given["rate"], clip=5.0, every=max(1, given["steps"] // 20), seed=seed),
        valid=lambda model: judged(net, model, data, "valid", 1, 0),
        checkpoint=checkpoint,
        device=data.device,
    )
    found = {
        "seconds": time.perf_counter() - begun,  # of this go, if it was resumed
        "parameters": sum(array.numel() for array in model.parameters()),
        "history": [list(look) for look in history],
        "valid": min(look.valid for look in history),
        "test": judged(net, model, data, "test", JUDGE["elbo"], seed),
    }
    if latent:
        found |= latent_figures(model, data, seed)
    model.cpu()
    if seed == FIRST_SEED:
        found |= music(net, model, data)
    return found


def latent_figures(model, data: Data, seed: int) -> dict:
    """The two terms of the ELBO, and the tighter bound."""
    chance = torch.Generator().manual_seed(1000 + seed)
    x, lengths = data["test"]
    tight = sequence_bound.importance(model, x, lengths, JUDGE["importance"], chance)
    whole = sequence_bound.bound(model, x, lengths, JUDGE["elbo"], chance)
    return {"importance": float(-tight.sum() / lengths.sum()), "misfit": whole["misfit"], "kl": whole["kl"]}


def music(net: str, model, data: Data) -> dict:
    """What a net plays by itself: a few rolls, and what can be counted in many."""
    played = model.dream(PLAY["frames"], PLAY["many"], torch.Generator().manual_seed(1)).numpy()
    shown = [[np.flatnonzero(frame).tolist() for frame in played[:, b]] for b in range(PLAY["shown"])]
    return {"played": shown, "counts": counts(played, np.full(PLAY["many"], PLAY["frames"]), data)}


def counts(played: np.ndarray, lengths: np.ndarray, data: Data) -> dict:
    """Of rolls: notes in a frame, frames of four notes, notes that go on, frames known from training, rubs."""
    train = data.parts["train"]
    known = {train.rolls[t, b].tobytes() for b, length in enumerate(train.lengths) for t in range(length)}
    frames = [played[t, b] for b, length in enumerate(lengths) for t in range(length)]
    sizes = np.array([frame.sum() for frame in frames])
    steady = sum((played[1:n, b] * played[: n - 1, b]).sum() for b, n in enumerate(lengths))
    before = sum(played[: n - 1, b].sum() for b, n in enumerate(lengths))
    return {
        "notes": float(sizes.mean()),
        "four": float((sizes == 4).mean()),
        "three or four": float(((sizes == 3) | (sizes == 4)).mean()),
        "go on": float(steady / before),
        "known": float(np.mean([frame.astype(np.float32).tobytes() in known for frame in frames])),
        "rub": float(np.mean([(frame[1:] * frame[:-1]).any() for frame in frames])),  # two notes a semitone apart
    }


def counting(data: Data) -> dict:
    """The two rivals that only count."""
    found = {}
    for name, memory in (("independent", False), ("markov", True)):
        chances = rolls.count(*data["train"], memory)
        found[name] = {part: rolls.counted_nats(chances, *data[part]) for part in ("valid", "test")}
    return found


def kept(work: Path, net: str, seed: int, data: Data) -> dict:
    """The result of a run, read if it is there and written if not."""
    name = f"{net.replace(', ', '-').replace(' ', '-')}-{seed}"
    file, checkpoint = work / f"{name}.json", work / f"{name}.pt"
    if not file.exists():
        result = {"net": net, "seed": seed} | learn(net, seed, data, checkpoint)
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(result))
        draft.replace(file)
    result = json.loads(file.read_text())
    tqdm.write(f"{net} {seed}: test {result['test']:.3f} ({result['seconds']:.0f} s)")
    return result


def keep_weights(work: Path, folder: Path, large: bool) -> dict:
    """The weights of the first seed's latent models, small, for the page; they are those of the last checkpoint."""
    digests = {}
    for net in ("dmm", "vrnn"):
        model = build(net, FIRST_SEED)
        model.load_state_dict(torch.load(work / f"{net}-{FIRST_SEED}.pt", weights_only=True)["best"])
        name = f"chorales_{net}" + ("_large" if large else "")
        digests[net] = {"file": name, "sha256": module_weights.keep(model, name, folder)}
    return digests


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="random starts of each net")
    parser.add_argument("--device", default="cpu", help="where to train, for example cuda")
    parser.add_argument("--large", action="store_true", help="larger nets, hours on one core; needs --out")
    parser.add_argument("--work", type=Path, default=ROOT / "_build" / "chorales", help="where results lie")
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    for flag in ("toy", "large"):
        if getattr(given, flag) and not given.out:
            parser.error(f"--{flag} needs --out: it must not replace the record")
    given.weights = module_weights.FOLDER
    if given.large:
        given.work, given.weights = given.work.with_name("chorales_large"), Path(given.out).parent
        for net, changed in LARGE.items():
            NETS[net] |= changed
    if given.toy:
        given.work, given.seeds = Path(tempfile.mkdtemp()), 1
        given.weights = given.work
        atexit.register(shutil.rmtree, given.work)
        for settings in NETS.values():
            settings |= {"steps": 2, "hidden": 8}
        JUDGE.update(elbo=1, importance=2)
        PLAY.update(frames=8, many=2, shown=1)
    return given


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    work = given.work / record["code"]  # what other code has made is no part of this record
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    data = Data(given.device)
    settings = {"stretch": STRETCH, "nets": NETS, "judge": JUDGE, "play": PLAY, "seeds": given.seeds}
    jobs = [(net, seed) for seed in range(FIRST_SEED, FIRST_SEED + given.seeds) for net in NETS]
    runs = [kept(work, *job, data) for job in tqdm(jobs, disable=None)]
    test = data.parts["test"]
    record |= {
        "settings": settings | {"device": given.device},
        "data": {
            "sha256": chorales.SHA256,
            "notes": [chorales.LOWEST, chorales.NOTES],
            "chorales": {part: len(batch.lengths) for part, batch in data.parts.items()},
            "frames": {part: int(batch.lengths.sum()) for part, batch in data.parts.items()},
        },
        "counting": counting(data),
        "test chorales": counts(test.rolls, test.lengths, data),
        "weights": keep_weights(work, given.weights, given.large),
        "runs": runs,
    }
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
