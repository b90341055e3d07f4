"""What every test runs under: one thread, repeatable draws, and the equation ledger's rules."""

import os
import sys
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy or torch is first imported

import hypothesis  # noqa: E402
import pytest  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent))
import proof  # noqa: E402

from tools import ledger  # noqa: E402

hypothesis.settings.register_profile("course", derandomize=True, deadline=None)
hypothesis.settings.load_profile("course")

LONGEST = ("test_site.py", "test_exercises.py")  # a browser on every page; every notebook against every mutant
_config: pytest.Config  # the running session's: the report hook below is not handed one
PROOFS = pytest.StashKey[list]()
SKIPPED = pytest.StashKey[set]()


def pytest_addoption(parser):
    parser.addoption("--write-ledger", action="store_true", help="write ledger.json from a whole, green run")


def pytest_configure(config):
    global _config
    _config = config
    config.addinivalue_line("markers", "verifies(label, oracle): proves a labelled equation against an oracle")
    config.addinivalue_line("markers", "cuda: needs a CUDA device")
    config.stash[PROOFS], config.stash[SKIPPED] = [], set()
    if config.getoption("write_ledger") and (part := _part_asked_for(config)):
        raise pytest.UsageError(f"--write-ledger needs every proof to run, but only a part was asked for: {part}")


def _part_asked_for(config) -> str:
    """What keeps this run from being whole, in the words of the command line; "" if nothing does."""
    options = config.option
    narrowed = {
        " ".join(config.args): config.args_source is config.ArgsSource.ARGS,
        f"-m {options.markexpr}": options.markexpr not in ("", "verifies"),
        f"-k {options.keyword}": options.keyword,
        "--deselect": options.deselect,
        "--ignore": options.ignore or options.ignore_glob,
        "--last-failed": getattr(options, "lf", False),
        "--stepwise": getattr(options, "stepwise", False),
        "--collect-only": options.collectonly,
    }
    return ", ".join(what for what, holds in narrowed.items() if holds)


def pytest_collection_modifyitems(items):
    """Begin with what takes longest; skip what needs a device that is not here, asking torch only if need be."""
    items.sort(key=lambda item: item.path.name not in LONGEST)  # or one process ends long after the other
    needy = [item for item in items if item.get_closest_marker("cuda")]
    if needy:
        import torch

        if not torch.cuda.is_available():
            for item in needy:
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Note what a proof compared, and fail one that compared nothing."""
    with proof.recording() as comparisons:
        result = yield
    marks = [mark.args for mark in item.iter_markers("verifies")]
    if marks and not comparisons:
        labels = ", ".join(label for label, _ in marks)
        pytest.fail(f"verifies {labels}, but compared nothing (or zeros alone) through agree()", pytrace=False)
    for label, oracle in marks:
        row = {"label": label, "test": _test(item.nodeid), "oracle": oracle}
        row["error"], row["tolerance"] = (max(column) for column in zip(*comparisons, strict=True))
        item.user_properties.append(("proof", row))
    return result


def pytest_runtest_logreport(report):
    """Gather the proofs, under xdist too, where they come from the workers."""
    if report.when == "call":
        _config.stash[PROOFS] += [row for name, row in report.user_properties if name == "proof"]
    if report.skipped:
        _config.stash[SKIPPED].add(_test(report.nodeid))


def _test(nodeid: str) -> str:
    return nodeid.split("[")[0]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Write the ledger after a whole, green run; on the controller only, where all the proofs are."""
    config = session.config
    if not config.getoption("write_ledger") or hasattr(config, "workerinput"):
        return
    if exitstatus != pytest.ExitCode.OK:
        print("\nledger.json is left as it was: not every proof passed.")
        return
    ledger.write(config.stash[PROOFS], kept=config.stash[SKIPPED])
