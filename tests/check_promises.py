#!/usr/bin/env python3
"""SECURITY.md and docs/durability.md name the test of each promise: every name must be one that there is.

Usage: check_promises.py        (from anywhere; reads the sources, builds nothing)
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [ROOT / "SECURITY.md", ROOT / "docs" / "durability.md"]
DECLARED = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)", re.MULTILINE)


def main():
    suites = {}
    for source in (ROOT / "tests").rglob("*_test.cc"):
        for suite, name in DECLARED.findall(source.read_text()):
            suites.setdefault(suite, set()).add(name)
    scripts = {path.name for path in (ROOT / "tests").rglob("*.py")} | {path.name for path in (ROOT / "tests").rglob("*.cc")}
    fuzzed = {path.name for path in (ROOT / "tests" / "fuzz" / "corpus").iterdir()}
    wrong = []
    named = 0
    for page in PAGES:
        text = page.read_text()
        for suite, name in re.findall(r"`(\w+Test)\.(\w+|\*)`", text):
            named += 1
            if suite not in suites or (name != "*" and name not in suites[suite]):
                wrong.append(f"{page.name}: there is no test {suite}.{name}")
        for script in re.findall(r"`(?:tests/\w+/)?(\w+\.(?:py|cc))`", text):
            named += 1
            if script not in scripts:
                wrong.append(f"{page.name}: there is no {script}")
    for target in re.findall(r"`(\w+)`", " ".join(re.findall(r"fuzz targets ([^|;\n]*)", PAGES[0].read_text()))):
        named += 1
        if target not in fuzzed:
            wrong.append(f"SECURITY.md: there is no fuzz target {target}")
    if named < 30:
        wrong.append(f"only {named} names were found: the pages or this script have changed")
    print(*wrong or [f"{named} tests are named, and all are there"], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
