"""Write requirements.txt: one exact pin for every package, with markers for every system.

NVIDIA's packages are left out on purpose. The default Linux build of torch pins its own,
exactly; the CPU build needs none, and naming them here would pull gigabytes for everybody.
Triton stays: it is the version that this torch pins, and its interpreter runs beside the CPU build.
"""

import argparse
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHOSEN = "numpy==2.4.6\ntorch==2.13.0\n"
BROUGHT_BY_TORCH = re.compile(r"^(nvidia|cuda)[-\w]*==")
HEADER = """\
# The exact environment of the book and its tests. Made by `make lock` from pyproject.toml.
# On Linux, torch brings the NVIDIA packages of its own build; the README says how to avoid that.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--newest", action="store_true", help="free what is chosen by hand as well")
    newest = parser.parse_args().newest
    constraints = ROOT / "_build" / "constraints.txt"
    constraints.parent.mkdir(exist_ok=True)
    constraints.write_text("" if newest else CHOSEN)
    command = "uv pip compile pyproject.toml --all-extras --universal --python-version 3.11"
    quiet = f"--no-annotate --no-header --quiet --constraints {constraints}"
    locked = subprocess.run(
        [*command.split(), *quiet.split()], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    lines = [line for line in locked.splitlines() if not BROUGHT_BY_TORCH.match(line)]
    (ROOT / "requirements.txt").write_text(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
