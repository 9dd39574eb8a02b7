"""docs/reproductions.md from bench/results/papers/*.json.

python -m bench.papers [--check]
"""

from __future__ import annotations

import argparse
import sys

from bench.papers import shown


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.papers", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where the page would change"
    )
    if parser.parse_args().check:
        stale = shown.differing()
        print("\n".join(f"not what the results say: {path}" for path in stale) or "the page is up to date")
        return 1 if stale else 0
    shown.write()
    print(f"wrote {shown.PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
