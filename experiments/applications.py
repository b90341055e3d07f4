"""Nets beside plain rivals: whose name, new names, roles in code, opinions, gestures, sunspots, a random walk.

Every net is trained from several starts; data and settings are the same for all starts of a kind. Settings
were chosen on the validation parts, with start 0, which is not among those of the record (10, 11, ...).
The test parts were read at the end; a first run was broken off, for a slip in the comparison with naive Bayes, and
the net that makes up names was given twice the updates in this one. Every finished run leaves a file, and a killed
experiment goes on.
"""

import argparse
import atexit
import json
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse import scores  # noqa: E402
from rnncourse.data import code_roles, gestures, names, sentiment, sunspots  # noqa: E402
from rnncourse.gpu import forecaster, readers, speller, training  # noqa: E402
from rnncourse.lds_params import init_lds  # noqa: E402
from rnncourse.reference import forecast, kalman, kalman_ahead, lds_em, naive_bayes, tagger, viterbi  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

FIRST_SEED = 10
SEEDS = {"languages": 3, "quarter": 3, "made up": 3, "roles": 3, "opinions": 3, "gestures": 3, "sunspots": 5, "walk": 5}
BAYES = {"longest": 4, "smoothing": 0.2}
LANGUAGES = {"hidden": 128, "features": 32, "dropout": 0.4, "decay": 0.01, "steps": 900, "rate": 4e-3, "size": 64}
MADE_UP = {"hidden": 128, "features": 48, "dropout": 0.2, "steps": 2000, "rate": 4e-3, "size": 64, "draws": 50}
ROLES = {"hidden": 64, "features": 24, "dropout": 0.1, "steps": 450, "rate": 6e-3, "size": 64}
OPINIONS = {"hidden": 32, "features": 16, "steps": 300, "rate": 1e-2, "size": 64, "train": 2000, "test": 1000}
GESTURES = {"hidden": 64, "steps": 700, "rate": 5e-3, "size": 32, "T": 80, "warm": 25, "ahead": 20}
SUNSPOTS = {"hidden": 12, "steps": 300, "rate": 5e-3, "ahead": 12, "decay": 0.01}
WALK = {"hidden": 32, "steps": 250, "rate": 5e-3, "size": 32, "T": 150, "warm": 20, "ahead": 10, "test": 400}
ORDERS = (1, 2, 3, 5, 9, 12, 16, 20, 24)  # of autoregressions, to choose among
STATES = (2, 4, 6, 8)  # of linear systems, to choose among
ITERATIONS = 60


@cache
def all_names() -> names.Names:
    return names.load()


@cache
def all_lines() -> code_roles.Roles:
    return code_roles.load()


def named(part: names.Labelled, alphabet: str) -> tuple:
    tokens = names.encode(part.words, alphabet)
    return tokens, readers.at_end(tokens, part.labels)


def bags(words) -> list:
    return [naive_bayes.grams(f"^{word}$", BAYES["longest"]) for word in words]


def wrong(model, asked) -> float:
    said, true = readers.said(model, *asked)
    return float((said != true).mean())


def train_reader(settings: dict, model, learn, choose, seed: int):
    training.fit(
        *(model, readers.shuffled(*learn, settings["size"], seed), readers.loss),
        training.Settings(
            settings["steps"], settings["rate"], decay=settings.get("decay", 0), every=looks(settings), seed=seed
        ),
        valid=lambda model: wrong(model, choose),
    )
    return model


def looks(settings: dict) -> int:
    return max(1, settings["steps"] // 6)


def bayes(found: names.Names, share: float = 1.0) -> naive_bayes.NaiveBayes:
    kept = np.random.default_rng(0).permutation(len(found.train.words))[: int(share * len(found.train.words))]
    words = [found.train.words[i] for i in kept]
    return naive_bayes.fit(bags(words), found.train.labels[kept], len(found.languages), BAYES["smoothing"])


def tell_languages(seed: int, share: float = 1.0) -> dict:
    """A GRU that reads a name to its end, and naive Bayes; alone and added up."""
    found = all_names()
    learn, choose, test = (named(part, found.alphabet) for part in (found.train, found.valid, found.test))
    kept = np.random.default_rng(0).permutation(learn[0].shape[1])[: int(share * learn[0].shape[1])]
    learn = tuple(part[:, kept] for part in learn)
    s = LANGUAGES
    model = readers.Reader(
        len(found.alphabet) + 2, len(found.languages), "gru", False, s["features"], s["hidden"], s["dropout"], seed
    )
    train_reader(s | {"steps": int(s["steps"] * max(share, 0.5))}, model, learn, choose, seed)
    said, true = readers.said(model, *test)
    counted = naive_bayes.log_posterior(bayes(found, share), bags(found.test.words))
    with torch.no_grad():
        tokens, answers = map(torch.from_numpy, test)
        scored = model(tokens).transpose(0, 1)[(answers != readers.NO_ANSWER).T].log_softmax(dim=1).numpy()
    result = {
        "test": float((said == true).mean()),
        "f1": float(scores.f1(scores.confusion(said, true, len(found.languages))).mean()),
        "bayes": float((counted.argmax(axis=1) == true).mean()),
        "together": float(((counted + scored).argmax(axis=1) == true).mean()),
        "right of both": float(((counted.argmax(axis=1) == true) & (said == true)).mean()),
    }
    if share == 1.0:
        result["confusion"] = scores.confusion(said, true, len(found.languages)).tolist()
    return result


def spelled(part: names.Labelled, alphabet: str) -> tuple[np.ndarray, np.ndarray]:
    return speller.spelled(names.encode(part.words, alphabet), part.labels, len(alphabet) + 2)


def make_up(seed: int) -> dict:
    """A GRU that spells names of a language that it is told; a Markov chain of order three does the same."""
    found, s = all_names(), MADE_UP
    learn, choose, test = (spelled(part, found.alphabet) for part in (found.train, found.valid, found.test))
    V, K = len(found.alphabet) + 2, len(found.languages)
    model = speller.Speller(V, K, s["features"], s["hidden"], s["dropout"], seed)

    def nats(model, part) -> float:
        with torch.no_grad():
            return float(speller.loss(model, *map(torch.from_numpy, part))[0])

    training.fit(
        *(model, readers.shuffled(*learn, s["size"], seed), speller.loss),
        training.Settings(s["steps"], s["rate"], every=looks(s), seed=seed),
        valid=lambda model: nats(model, choose),
    )
    rng = np.random.default_rng([seed, 1])
    labels = np.repeat(np.arange(K), s["draws"])
    drawn = speller.write(model, labels, rng.random((names.LONGEST + 6, len(labels))))
    ended = (drawn == speller.END).any(axis=0)
    letters = "□□" + found.alphabet
    words = ["".join(letters[c] for c in column if c) for column in drawn.T]
    judge = bayes(found)
    return {
        "test": nats(model, test),
        "ended": float(ended.mean()),
        "net": judged(words, labels, found, judge),
        "markov": judged(markov(found, labels, rng), labels, found, judge),
        "samples": {found.languages[k]: words[k * s["draws"] : k * s["draws"] + 4] for k in range(K)},
    }


def markov(found: names.Names, labels: np.ndarray, rng: np.random.Generator, order: int = 3) -> list[str]:
    """Names whose every letter was drawn from what followed the last three in names of that language."""
    after = defaultdict(list)
    for word, label in zip(found.train.words, found.train.labels.tolist(), strict=True):
        padded = "^" * order + word + "$"
        for i in range(order, len(padded)):
            after[label, padded[i - order : i]].append(padded[i])
    words = []
    for label in labels.tolist():
        word = "^" * order
        while not word.endswith("$") and len(word) < names.LONGEST + 6 + order:
            choices = after[label, word[-order:]]
            word += choices[rng.integers(len(choices))]
        words.append(word[order:].rstrip("$"))
    return words


def judged(words: list[str], labels: np.ndarray, found: names.Names, judge) -> dict:
    """How many names are new, how many are real all the same, and how many the judge gives to their language."""
    old, real = set(found.train.words), set(found.valid.words) | set(found.test.words)
    new = np.array([word not in old for word in words])
    said = naive_bayes.log_posterior(judge, bags(words)).argmax(axis=1)
    return {
        "new": float(new.mean()),
        "real": float(np.mean([word in real for word in words])),
        "recognised": float((said == labels).mean()),
        "recognised, new": float((said == labels)[new].mean()),
    }


def tag(kind: str, seed: int) -> dict:
    """Roles of names: an LSTM that reads forwards, or both ways; by name of role, too."""
    found, s = all_lines(), ROLES
    parts = [code_roles.encode(lines, found.vocabulary) for lines in (found.train, found.valid, found.test)]
    parts = [(tokens, np.where(roles < 0, readers.NO_ANSWER, roles)) for tokens, roles in parts]
    V, K = len(found.vocabulary) + 2, len(code_roles.ROLES)
    model = readers.Reader(V, K, "lstm", kind == "both ways", s["features"], s["hidden"], s["dropout"], seed)
    train_reader(s, model, *parts[:2], seed)
    said, true = readers.said(model, *parts[2])
    return {"test": float((said == true).mean())} | by_role(said, true)


def by_role(said, true) -> dict:
    counts = scores.confusion(said, true, len(code_roles.ROLES))
    return {"recall": (np.diagonal(counts) / counts.sum(axis=1)).tolist(), "f1": float(scores.f1(counts).mean())}


def tag_by_counting() -> dict:
    """The most frequent role, the most frequent after the token before, and an HMM."""
    found = all_lines()
    (x, roles), _, (x_test, roles_test) = (
        code_roles.encode(lines, found.vocabulary) for lines in (found.train, found.valid, found.test)
    )
    K, V = len(code_roles.ROLES), len(found.vocabulary) + 2
    tags, lengths = np.where(roles >= 0, roles, K + x), (x != 0).sum(axis=0)
    model = tagger.fit(tags, x, K + V, V, lengths, smoothing=1e-3)
    pieces = []
    for a in range(0, x_test.shape[1], 100):
        some = x_test[:, a : a + 100]
        pieces.append(viterbi.path(model, some, (some != 0).sum(axis=0))[0])
    path, asked = np.concatenate(pieces, axis=1), roles_test >= 0
    true = roles_test[asked]
    before, before_test = (np.concatenate([np.zeros_like(t[:1]), t[:-1]]) for t in (x, x_test))
    after, after_test = (np.concatenate([t[1:], np.zeros_like(t[:1])]) for t in (x, x_test))

    def table(keys, keys_test) -> float:
        counts = defaultdict(Counter)
        for key, role in zip(keys[roles >= 0].tolist(), roles[roles >= 0].tolist(), strict=True):
            counts[key][role] += 1
        said = [counts[k].most_common(1)[0][0] if counts[k] else 0 for k in keys_test[asked].tolist()]
        return float(np.mean(np.array(said) == true))

    said = np.where(path[asked] < K, path[asked], 0)
    return {
        "test": float((said == true).mean()),
        "majority": table(0 * x, 0 * x_test),
        "token before": table(before, before_test),
        "tokens before and after": table(before * V + after, before_test * V + after_test),
        "asked": int(asked.sum()),
        "digest": found.digest,
    } | by_role(said, true)


def opine(seed: int) -> dict:
    """Praise or blame: an LSTM, and naive Bayes on words and on pairs of words."""
    s = OPINIONS
    learn, choose, test = (
        sentiment.pairs(np.random.default_rng([seed, part]), size)
        for part, size in enumerate((s["train"], s["test"], s["test"]))
    )
    parts = [(sentiment.encode(p.words), p.labels) for p in (learn, choose, test)]
    parts = [(tokens, readers.at_end(tokens, labels)) for tokens, labels in parts]
    V = len(sentiment.VOCABULARY) + 1
    model = readers.Reader(V, 2, "lstm", False, s["features"], s["hidden"], seed=seed)
    train_reader(s, model, *parts[:2], seed)
    result = {"test": 1 - wrong(model, parts[2])}
    for longest in (1, 2, 3, 4):
        count = [[naive_bayes.grams(words, longest) for words in p.words] for p in (learn, test)]
        fitted = naive_bayes.fit(count[0], learn.labels, 2)
        said = naive_bayes.log_posterior(fitted, count[1]).argmax(axis=1)
        result[f"bag of {longest}"] = float((said == test.labels).mean())
    return result


def squared(forecasts, future) -> np.ndarray:
    """Mean squared error for each distance; both (h, N, O)."""
    return ((forecasts - future) ** 2).mean(axis=(1, 2))


def linear_rivals(learn, choose, test, ahead: int, warm: int) -> dict:
    """Persistence, AR(p) and a Kalman filter, p and the number of states chosen by the mean over all distances."""

    def autoregression(order, series):
        past, future = forecast.windows(series, warm, ahead)
        return squared(forecast.ahead(forecast.fit(learn, order), past, ahead), future)

    def filtered(params, series):
        known, _ = kalman.forward(params, series)
        errors = []
        for t in range(warm - 1, len(series) - ahead):
            said = kalman_ahead.forward(params, known.means[t], known.covariances[t], ahead)
            errors.append(((said.means - series[t + 1 : t + 1 + ahead]) ** 2).mean(axis=(1, 2)))
        return np.mean(errors, axis=0)

    orders = [p for p in ORDERS if p <= warm]
    order = min(orders, key=lambda p: autoregression(p, choose).mean())
    systems = {}
    for H in STATES:
        begin = init_lds(np.random.default_rng(H), H, learn.shape[2], radius=0.95)
        systems[H] = lds_em.fit(begin, learn, iterations=ITERATIONS).params
    H = min(STATES, key=lambda H: filtered(systems[H], choose).mean())
    past, future = forecast.windows(test, warm, ahead)
    return {
        "persistence": squared(forecast.persistence(past, ahead), future).tolist(),
        "autoregression": autoregression(order, test).tolist(),
        "kalman": filtered(systems[H], test).tolist(),
        "order": order,
        "states": H,
    }


def tensor(series) -> torch.Tensor:
    return torch.from_numpy(np.asarray(series, np.float32))


def net_errors(model, series, ahead: int, warm: int) -> np.ndarray:
    """Squared error of a forecaster for each distance, over the same origins as ``forecast.windows``."""
    with torch.no_grad():
        said = model(tensor(series)).numpy()[warm - 1 : len(series) - ahead]
    future = np.stack([series[warm + j : len(series) - ahead + 1 + j] for j in range(ahead)], axis=1)
    return ((said - future) ** 2).mean(axis=(0, 2, 3))


def watch(s: dict, model, learn, choose, seed: int, ahead: int, warm: int):
    """Train a forecaster on batches of whole sequences."""

    def batch(step: int) -> training.Batch:
        if learn.shape[1] > s.get("size", 1):
            some = learn[:, np.random.default_rng([seed, step]).choice(learn.shape[1], s["size"], replace=False)]
        else:
            some = learn
        return training.Batch(tensor(some), tensor(forecaster.targets(some, ahead, warm)))

    training.fit(
        *(model, batch, forecaster.loss),
        training.Settings(s["steps"], s["rate"], decay=s.get("decay", 0), every=max(1, s["steps"] // 20), seed=seed),
        valid=lambda model: float(net_errors(model, choose, ahead, warm).mean()),
    )
    return model


def moving_hands() -> tuple:
    s = GESTURES
    return tuple(gestures.gestures(np.random.default_rng([7, part]), 300, s["T"]) for part in range(3))


def gesture_net(seed: int) -> dict:
    s, (learn, choose, test) = GESTURES, moving_hands()
    model = forecaster.Forecaster(3, s["ahead"], "gru", s["hidden"], seed=seed)
    watch(s, model, learn, choose, seed, s["ahead"], s["warm"])
    errors = net_errors(model, test, s["ahead"], s["warm"])
    return {"test": float(errors.mean()), "errors": errors.tolist()}


def gesture_rivals() -> dict:
    learn, choose, test = moving_hands()
    found = linear_rivals(learn, choose, test, GESTURES["ahead"], GESTURES["warm"])
    return {"test": float(np.mean(found["autoregression"]))} | found


def years() -> tuple:
    """1700-1880 to learn from, 1881-1920 to choose by, 1921-2008 to test on; each with the 20 years before."""
    series = sunspots.scaled()[:, None, None]
    return series[:181], series[161:221], series[201:]


def sunspot_net(seed: int) -> dict:
    s, (learn, choose, test) = SUNSPOTS, years()
    model = forecaster.Forecaster(1, s["ahead"], "gru", s["hidden"], seed=seed)
    watch(s, model, learn, choose, seed, s["ahead"], 20)
    errors = net_errors(model, test, s["ahead"], 20)
    return {"test": float(errors.mean()), "errors": errors.tolist(), "variance": float(test[20:].var())}


def sunspot_rivals() -> dict:
    found = linear_rivals(*years(), SUNSPOTS["ahead"], 20)
    return {"test": float(np.mean(found["autoregression"]))} | found


def walks(rng, count: int) -> np.ndarray:
    return rng.standard_normal((WALK["T"], count, 1)).cumsum(axis=0)


def walk(seed: int) -> dict:
    """A net, an autoregression and persistence on a random walk, each beside h; fresh walks for every start."""
    s = WALK
    learn, choose, test = (walks(np.random.default_rng([seed, part]), s["test"]) for part in range(3))
    model = forecaster.Forecaster(1, s["ahead"], "gru", s["hidden"], differences=True, seed=seed)
    watch(s, model, learn, choose, seed, s["ahead"], s["warm"])
    past, future = forecast.windows(test, s["warm"], s["ahead"])
    fitted = forecast.fit(learn, 5)
    with torch.no_grad():
        said = model(tensor(test)).numpy()[s["warm"] - 1 : s["T"] - s["ahead"]]
    said = said.transpose(1, 0, 2, 3).reshape(s["ahead"], -1, 1)
    origins = s["T"] - s["warm"] - s["ahead"] + 1

    def by_walk(forecasts) -> np.ndarray:
        return ((forecasts - future) ** 2).reshape(s["ahead"], origins, s["test"]).mean(axis=1)

    errors = {
        "net": by_walk(said),
        "autoregression": by_walk(forecast.ahead(fitted, past, s["ahead"])),
        "persistence": by_walk(forecast.persistence(past, s["ahead"])),
    }
    result = {"test": float(errors["net"].mean())} | {name: e.mean(axis=1).tolist() for name, e in errors.items()}
    for name in ("net", "autoregression"):
        lost = errors[name] - errors["persistence"]  # walk by walk: walks are independent, steps of one are not
        result[f"{name}, lost"] = lost.mean(axis=1).tolist()
        result[f"{name}, error"] = (lost.std(axis=1, ddof=1) / np.sqrt(s["test"])).tolist()
    return result


def jobs(seeds: dict):
    """Everything to do: its labels and how."""
    yield {"task": "roles", "net": "counting", "seed": 0}, tag_by_counting
    yield {"task": "gestures", "net": "rivals", "seed": 0}, gesture_rivals
    yield {"task": "sunspots", "net": "rivals", "seed": 0}, sunspot_rivals
    makers = {
        "languages": tell_languages,
        "quarter": lambda seed: tell_languages(seed, 0.25),
        "made up": make_up,
        "opinions": opine,
        "gestures": gesture_net,
        "sunspots": sunspot_net,
        "walk": walk,
    }
    for task, make in makers.items():
        for seed in range(FIRST_SEED, FIRST_SEED + seeds[task]):
            yield {"task": task, "net": "net", "seed": seed}, lambda m=make, n=seed: m(n)
    for seed in range(FIRST_SEED, FIRST_SEED + seeds["roles"]):
        for kind in ("forwards", "both ways"):
            yield {"task": "roles", "net": kind, "seed": seed}, lambda k=kind, n=seed: tag(k, n)


def kept(work: Path, labels: dict, make) -> dict:
    """The result of a run, read if it is there and written if not."""
    file = work / ("-".join(str(part).replace(" ", "-") for part in labels.values()) + ".json")
    if not file.exists():
        begun = time.perf_counter()
        result = labels | make() | {"seconds": time.perf_counter() - begun}
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(result))
        draft.replace(file)
    result = json.loads(file.read_text())
    print(f"{file.stem}: {result['test']:.4f} ({result['seconds']:.0f} s)", flush=True)
    return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "_build" / "applications", help="where results lie")
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy and not given.out:
        parser.error("--toy needs --out: a toy must not replace the record")
    if given.toy:
        global STATES, ITERATIONS, SEEDS
        given.work = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, given.work)
        STATES, ITERATIONS, SEEDS = (2,), 2, dict.fromkeys(SEEDS, 1)
        for settings in (LANGUAGES, MADE_UP, ROLES, OPINIONS, GESTURES, SUNSPOTS, WALK):
            settings |= {"steps": 2, "hidden": 4}
        MADE_UP["draws"], WALK["test"] = 2, 40
        OPINIONS.update(train=50, test=50)
    return given


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    work = given.work / record["code"]  # what other code has made is no part of this record
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    runs = [kept(work, *job) for job in jobs(SEEDS)]
    settings = {"bayes": BAYES, "languages": LANGUAGES, "made up": MADE_UP, "roles": ROLES, "opinions": OPINIONS}
    settings |= {"gestures": GESTURES, "sunspots": SUNSPOTS, "walk": WALK, "seeds": SEEDS, "orders": ORDERS}
    settings |= {"states": STATES, "iterations": ITERATIONS}
    record |= {"settings": settings, "source": all_names().source, "runs": runs}
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
