#!/usr/bin/env python3
"""Every example program does what it says, against a real broker.

Usage: examples_test.py --binary BUILD/tools/tidelog --programs BUILD/client/examples
"""

import argparse

from example_runs import run_examples

parser = argparse.ArgumentParser()
parser.add_argument("--binary", required=True)
parser.add_argument("--programs", required=True)
options = parser.parse_args()
run_examples(options.programs, options.binary)
