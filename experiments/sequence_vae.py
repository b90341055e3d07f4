"""A sequence model with one latent: what keeps the latent in use, what that costs, and what the latent knows.

Words: names in twenty languages, one decoder without a latent beside models with one, trained plainly, with
annealing, with word dropout, with both, and with free bits. Every figure of the test words is in nats a word:
the ELBO and its two sides, the importance-weighted bound with up to 200 draws, the units in use, and whether
the language of a word can be read off its latent. Of each training the parameters with the best ELBO on the
validation words are kept. Chains: short sequences with a planted cause, and how often a reader of the latent
finds it. Settings and the numbers of updates were chosen with the seeds 0 and 1, which are not in the record.
One network of the words is kept in `experiments/weights/sequence_vae_words.npz`, in half precision.
Every finished run leaves a file, and a killed experiment goes on.
"""

import argparse
import atexit
import hashlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse import probes  # noqa: E402
from rnncourse.data import chains, name_words  # noqa: E402
from rnncourse.gpu import bounds, latent, training, word_vae  # noqa: E402
from rnncourse.params import map_arrays, named_arrays  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

WEIGHTS = ROOT / "experiments" / "weights" / "sequence_vae_words.npz"
SEEDS = (10, 11, 12, 13)
WORDS = {"features": 24, "hidden": 64, "latent": 8, "batch": 64, "steps": 1500, "rate": 4e-3, "looks": 10}
CHAINS = {
    "features": 8,
    "hidden": 24,
    "latent": 2,
    "batch": 64,
    "rate": 1e-2,
    "length": 16,
    "train": 4000,
    "test": 1000,
}
CAUSES = {"favouring": 400, "turning": 1000}  # kinds of chains, and updates for each
DRAWS = 200
KINDS = {
    "no latent": {},
    "plain": {},
    "annealing": {"warm": 0.5},
    "word dropout": {"share": 0.5},
    "annealing, word dropout": {"warm": 0.5, "share": 0.5},
    "free bits": {"floor": 0.25},
    "more free bits": {"floor": 1.0},
}
KEPT = "more free bits"
PLANTED = {"plain": {}, "annealing": {"warm": 0.5}, "free bits": {"floor": 0.5}}


def trained(kind: dict, sizes: dict, symbols: int, latent: int, words, steps: int, seed: int, valid=None):
    """A model and how its training went."""
    model = word_vae.WordVAE(symbols, sizes["features"], sizes["hidden"], latent, seed)
    batch = word_vae.sampled(words, sizes["batch"], int(steps * kind.get("warm", 0)), seed)
    loss = word_vae.objective(kind.get("floor", 0.0), kind.get("share", 0.0))
    looks = max(1, steps // sizes.get("looks", 1))
    return model, training.fit(
        model, batch, loss, training.Settings(steps, sizes["rate"], every=looks, seed=seed), valid
    )


def negative_elbo(tokens):
    """What a look measures: the ELBO of all words with the same noise at every look."""
    words = torch.from_numpy(tokens)

    def valid(model):
        torch.manual_seed(0)
        said, kl = model(words)
        return float((kl.sum(dim=1) - said).mean())

    return valid


@torch.no_grad()
def measured(model, tokens: np.ndarray, seed: int) -> dict:
    """Both sides of the ELBO, the bound at several numbers of draws, and the units in use."""
    words = torch.from_numpy(tokens)
    torch.manual_seed(seed)
    if not model.latent:
        said = model(words)[0]
        return {"reconstruction": float(said.mean()), "kl": 0.0, "elbo": float(said.mean())}
    q = model.read(words)
    p = latent.standard(q)
    said, logs = [], []
    for _ in range(DRAWS):
        z = latent.sample(q, torch.randn_like(q.mean))
        said.append(model.write(words, z))
        logs.append(bounds.log_weights(said[-1][None], z[None], q, p)[0])
    said, logs, kl = torch.stack(said), torch.stack(logs), latent.kl_units(q, p)
    shares = torch.softmax(logs, dim=0)
    some = [k for k in (1, 2, 5, 10, 20, 50, 100, 200) if k <= DRAWS]
    return {
        "reconstruction": float(said.mean()),
        "kl": float(kl.sum(dim=1).mean()),
        "elbo": float((said.mean(dim=0) - kl.sum(dim=1)).mean()),
        "units": kl.mean(dim=0).tolist(),
        "active": int(bounds.active_units(q.mean).sum()),
        "draws": some,
        # disjoint groups of K draws, so that small K is averaged over many
        "bound": [float(bounds.importance(logs[: DRAWS // k * k].view(k, DRAWS // k, -1)).mean()) for k in some],
        "effective": float((1 / (shares**2).sum(dim=0)).mean()),  # draws that share the weight, of all
    }


@torch.no_grad()
def read_off(model, known, labels, asked, right, probe, seed: int) -> dict:
    """How often a plain reader finds the class: from the means of q, and from draws."""
    if not model.latent:
        return {}
    torch.manual_seed(seed)
    q, r = (model.read(torch.from_numpy(tokens)) for tokens in (known, asked))
    a, b = (latent.sample(one, torch.randn_like(one.mean)).numpy() for one in (q, r))
    means = probe(q.mean.numpy(), labels, r.mean.numpy())
    return {"means": float((means == right).mean()), "draws": float((probe(a, labels, b) == right).mean())}


def words_of(name: str, seed: int, keep: Path | None) -> dict:
    """Train on words; every figure of the test words."""
    data = name_words.load()
    symbols = len(data.alphabet) + 2
    size = 0 if name == "no latent" else WORDS["latent"]
    valid = negative_elbo(data.valid.tokens)
    model, history = trained(KINDS[name], WORDS, symbols, size, data.train.tokens, WORDS["steps"], seed, valid)
    if keep:
        save(word_vae.exported(model), keep)
    found = {
        "test": measured(model, data.test.tokens, seed),
        "train": measured(model, data.train.tokens[:, :700], seed),
    }
    language = (data.train.tokens, data.train.labels, data.test.tokens, data.test.labels, probes.linear, seed)
    found["language"] = read_off(model, *language)
    return found | {"step": [one.step for one in history], "valid": [one.valid for one in history]}


def letters_tell() -> dict:
    """What the language probe is to be compared with: the most frequent language, and counts of letters."""
    data = name_words.load()

    def counts(tokens):
        return np.array([np.bincount(word, minlength=len(data.alphabet) + 2)[1:] for word in tokens.T])

    found = probes.linear(counts(data.train.tokens), data.train.labels, counts(data.test.tokens))
    common = np.bincount(data.train.labels).argmax()
    right = data.test.labels
    return {"letters": float((found == right).mean()), "most frequent": float((common == right).mean())}


def cause_of(chain: str, name: str, seed: int) -> dict:
    """Train on sequences with a planted cause; is it in the latent?"""
    P = getattr(chains, chain)()
    rng = np.random.default_rng(seed)
    known, asked = (chains.draw(rng, P, CHAINS[part], CHAINS["length"]) for part in ("train", "test"))
    size = 0 if name == "no latent" else CHAINS["latent"]
    model, _ = trained(PLANTED.get(name, {}), CHAINS, len(P) + 1, size, known.words, CAUSES[chain], seed)
    truth = np.logaddexp.reduce(chains.log_joint(P, asked.words), axis=0).mean()
    best = float((chains.bayes(P, asked.words) == asked.causes).mean())
    found = {"test": measured(model, asked.words, seed), "truth": float(truth), "bayes": best}
    found["cause"] = read_off(model, known.words, known.causes, asked.words, asked.causes, probes.nearest_mean, seed)
    return found


def save(params, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    half = map_arrays(lambda array: array.astype(np.float16), params)
    np.savez_compressed(file, **dict(named_arrays(half)))


def jobs(weights: Path):
    """Everything to do: labels, and how. One network of the words is kept."""
    for seed in SEEDS:
        for name in KINDS:
            keep = weights if (name, seed) == (KEPT, SEEDS[0]) else None
            yield {"task": "words", "kind": name, "seed": seed}, lambda n=name, s=seed, k=keep: words_of(n, s, k)
        for chain in CAUSES:
            for name in ("no latent", *PLANTED):
                yield {"task": chain, "kind": name, "seed": seed}, lambda c=chain, n=name, s=seed: cause_of(c, n, s)


def kept(work: Path, labels: dict, make) -> dict:
    """The result of a run, read if it is there and written if not."""
    file = work / ("-".join(map(str, labels.values())).replace(", ", "+").replace(" ", "_") + ".json")
    if not file.exists():
        begun = time.process_time()
        result = labels | make() | {"seconds": time.process_time() - begun}
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(result))
        draft.replace(file)
    result = json.loads(file.read_text())
    brief = {key: round(result["test"][key], 3) for key in ("elbo", "reconstruction", "kl")}
    print(f"{file.stem}: {brief} ({result['seconds']:.0f} s)", flush=True)
    return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "_build" / "sequence_vae", help="where results lie")
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy and not given.out:
        parser.error("--toy needs --out: a toy must not replace the record")
    given.weights = WEIGHTS
    if given.toy:
        global DRAWS
        DRAWS = 2
        given.work = Path(tempfile.mkdtemp())
        given.weights = given.work / "weights.npz"
        atexit.register(shutil.rmtree, given.work)
        WORDS.update(steps=2, looks=2)
        CHAINS.update(train=40, test=40)
        CAUSES.update(favouring=2, turning=2)
    return given


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    work = given.work / record["code"]  # what other code has made is no part of this record
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    seeds = SEEDS[:1] if given.toy else SEEDS
    runs = [kept(work, *job) for job in jobs(given.weights) if job[0]["seed"] in seeds]
    digest = hashlib.sha256(given.weights.read_bytes()).hexdigest()
    settings = {"words": WORDS, "chains": CHAINS, "causes": CAUSES, "draws": DRAWS, "kinds": KINDS, "planted": PLANTED}
    settings |= {"kept": KEPT, "seeds": list(seeds)}
    record |= {"settings": settings, "weights": digest, "letters": letters_tell(), "runs": runs}
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
