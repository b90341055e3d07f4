"""List the experiment records that are older than their code; run again those that are named.

A record carries the hash of its script and of the library files that the script uses.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse import records  # noqa: E402
from tools.fingerprint import digest, library_files  # noqa: E402

PACKAGES = ("numpy", "torch")


def scripts() -> list[Path]:
    """The experiments, in order."""
    return sorted((ROOT / "experiments").glob("*.py"))


def code_hash(script: Path) -> str:
    """The hash of a script and of what it uses of the library."""
    used = [file for file in library_files(script.read_text(encoding="utf-8")) if "rnncourse" in file.parts]
    return digest(script, *used)


def write(record: dict, script: str, out: str | None = None) -> Path:
    """Write a record in one go: a reader finds the old one or the new one, never half of one.

    Args:
        record: :func:`circumstances`, taken before the work began, and the results.
        script: ``__file__`` of the experiment.
        out: where to; the committed record unless given.

    Returns:
        Where it was written.
    """
    target = Path(out) if out else records.path(Path(script).stem)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.write_text(json.dumps(_rounded(record), indent=1) + "\n", encoding="utf-8")
    draft.replace(target)
    return target


def circumstances(script: str) -> dict:
    """What must be known to run an experiment again; ``script`` is its ``__file__``."""
    file = Path(script).resolve()
    return {
        "command": " ".join(["python", file.relative_to(ROOT).as_posix(), *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "code": code_hash(file),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "machine": f"{platform.machine()}, {os.environ.get('OMP_NUM_THREADS', 'any number of')} thread(s)",
    }


def states() -> dict[str, str]:
    """For each experiment: fresh, stale (its code has moved on), or missing."""
    return {script.stem: state(script) for script in scripts()}


def state(script: Path, folder: Path = records.FOLDER) -> str:
    """Whether the record of a script is fresh, stale or missing."""
    if not records.path(script.stem, folder).is_file():
        return "missing"
    return "fresh" if records.load(script.stem, folder).get("code") == code_hash(script) else "stale"


def run(name: str) -> None:
    """Run an experiment at full size, in one thread."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    subprocess.run([sys.executable, ROOT / "experiments" / f"{name}.py"], cwd=ROOT, env=os.environ | single, check=True)


def _rounded(value):
    """Numbers to six digits: more is noise, and makes every new record differ everywhere."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments to run again")
    parser.add_argument("--stale", action="store_true", help="run again all that are stale or missing")
    parser.add_argument("--check", action="store_true", help="fail if one is stale or missing")
    given = parser.parse_args()
    known = states()
    unknown = set(given.names) - set(known)
    if unknown:
        parser.error(f"no experiment {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    for name in dict.fromkeys([*given.names, *(n for n, s in known.items() if given.stale and s != "fresh")]):
        run(name)
    known = states()
    for name, what in known.items():
        print(f"{what:8} {name}")
    return int(given.check and set(known.values()) != {"fresh"})


if __name__ == "__main__":
    sys.exit(main())
