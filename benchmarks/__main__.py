"""Run the benchmarks: each in a process of its own, one after the other.

    python -m benchmarks [NAME ...] [--quick] [--md | --csv]

A module ``bench_NAME`` gives its tables by ``tables(quick)``, or prints them itself when it is run.
"""

from __future__ import annotations

import argparse
import importlib
import runpy
import subprocess
import sys

from benchmarks.common import Table, conditions

#: The benchmarks; of those that print their tables themselves, what makes them quick.
BENCHMARKS: dict[str, list[str]] = {
    "accuracy": [],
    "pansharpen": ["--side", "1024"],
    "sharpen": ["--repeats", "1", "--side", "600"],
    "training": ["--seeds", "0"],
    "temporal": [],
    "enhance": [],
    "tiles": [],
    "scaling": [],
    "memory": [],
    "product": ["128"],
    "gdal": [],
    "networks": [],
    "sts": [],
    "ssr": [],
    "hsms": [],
    "spatiotemporal": [],
    "spectral": [],
}


def main(argv: list[str] | None = None) -> int:
    """Run what was asked for; returns how many benchmarks failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all if none: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="small inputs: a look, not a measurement")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--md", dest="form", action="store_const", const="md", help="Markdown")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="comma-separated values")
    args = parser.parse_args(argv)
    unknown = set(args.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {sorted(unknown)[0]!r}: one of {', '.join(BENCHMARKS)}")
    if len(args.names) == 1:
        run_here(args.names[0], args.quick, args.form or "text")
        return 0
    put(conditions(), args.form or "text")
    flags = [*(["--quick"] if args.quick else []), *([f"--{args.form}"] if args.form else [])]
    return sum(run_apart(name, flags) for name in args.names or BENCHMARKS)


def run_here(name: str, quick: bool, form: str) -> None:
    """One benchmark in this process."""
    module = f"benchmarks.bench_{name}"
    tables = getattr(importlib.import_module(module), "tables", None)
    if tables is None:
        sys.argv = [module, *(BENCHMARKS[name] if quick else [])]
        runpy.run_module(module, run_name="__main__")
        return
    for table in tables(quick):
        put(table, form)


def run_apart(name: str, flags: list[str]) -> bool:
    """One benchmark in a process of its own, so that none meets another's memory; whether it failed."""
    failed = subprocess.run([sys.executable, "-m", "benchmarks", name, *flags], check=False).returncode != 0
    if failed:
        print(f"benchmark {name} failed", file=sys.stderr)
    return failed


def put(table: Table, form: str) -> None:
    """Print a table."""
    print({"text": table.as_text, "md": table.as_md, "csv": table.as_csv}[form](), flush=True)


if __name__ == "__main__":
    sys.exit(main())
