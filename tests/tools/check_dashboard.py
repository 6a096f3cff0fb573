#!/usr/bin/env python3
"""Every query of the dashboard names metrics that docs/metrics.md lists, and only labels they have.

Usage: check_dashboard.py DASHBOARD.json METRICS.md
"""

import json
import re
import sys

# What a query may say beside metrics.
FUNCTIONS = {"sum", "rate", "irate", "increase", "histogram_quantile", "max", "min", "avg", "by", "le", "time",
             "clamp_min", "label_replace"}


def listed_metrics(document):
    """Name -> (type, labels) of every row of the table."""
    metrics = {}
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \|", document, re.MULTILINE):
        metrics[name] = (kind, set() if labels.strip() == "-" else {one.strip() for one in labels.split(",")})
    return metrics


def queries(panel):
    for target in panel.get("targets", []):
        yield panel.get("title", "?"), target["expr"]
    for inner in panel.get("panels", []):
        yield from queries(inner)


def problems_of(expr, metrics):
    # Grafana's own variables, strings and durations are no metrics.
    bare = re.sub(r'"[^"]*"|\$__?\w+|\[[^\]]*\]', " ", expr)
    labels = set(re.findall(r"\b(\w+)\s*(?:=~|!~|!=|=)", re.sub(r"\$\w+", "x", expr)))
    for group in re.findall(r"\bby\s*\(([^)]*)\)", expr):
        labels |= {one.strip() for one in group.split(",")}
    names = set(re.findall(r"\b[a-z_][a-z0-9_]*\b", bare)) - FUNCTIONS - labels
    allowed = {"job", "instance", "le"}
    for name in sorted(names):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        if name in metrics and metrics[name][0] != "histogram":
            allowed |= metrics[name][1]
        elif base in metrics and metrics[base][0] == "histogram" and base != name:
            allowed |= metrics[base][1]
        else:
            yield f"no metric '{name}'"
    if not names:
        yield "names no metric"
    for label in sorted(labels - allowed):
        yield f"no label '{label}'"
    if re.search(r"\b(?<!rate\()(?<!increase\()\w+_total\b", expr):
        yield "a counter is shown without rate() or increase()"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        dashboard = json.load(file)
    with open(sys.argv[2], encoding="utf-8") as file:
        metrics = listed_metrics(file.read())
    if not metrics:
        sys.exit(f"{sys.argv[2]} lists no metrics")
    # The check itself finds what it is there for.
    for wrong in ("rate(tidelog_no_such_total[1m])", 'tidelog_ready{colour="x"}', "tidelog_received_bytes_total",
                  "rate(tidelog_request_seconds[1m])"):
        if not list(problems_of(wrong, metrics)):
            sys.exit(f"the check overlooks {wrong}")
    found = [(title, expr) for panel in dashboard["panels"] for title, expr in queries(panel)]
    failed = False
    for title, expr in found:
        for problem in problems_of(expr, metrics):
            print(f"panel '{title}': {problem}: {expr}")
            failed = True
    if len(found) < 10:
        print(f"only {len(found)} queries were found")
        failed = True
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
