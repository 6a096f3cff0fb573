"""What bench/run measured, as ratios to the limits of the same round, and as the tables of RESULTS.md."""

import statistics

# Name of the goal, the ratio that a round yields (None: not measured), how it compares, and the target.
# `r`: the figures of one round, {row: {what: value}}; `limit`: its limits, {name: value}.


def _unloaded_us(limit):
    """R + 1/F: what a durable append over loopback costs at the least."""
    return limit["round_trip_p50_us"] + limit["flush_p50_us"]


def small_row(outstanding, partitions):
    return f"1 KiB requests, {outstanding} outstanding, {partitions} partition{'s' if partitions > 1 else ''}"


LARGE_ROW = "64 KiB batches, 32 outstanding, 1 partition"
COMMITS_ROW = "1 KiB requests, 8 outstanding, 1 partition"
LIBRARY_ROW = "100-byte records, client library, 1 partition"
TAIL_ROW = "tail read, client library, 16 KiB batches"
FAN_OUT_ROW = "tail read by ten, client library, 16 KiB batches"
COLD_ROW = "cold replay, client library"
LATENCY_ROW = "one record at a time, ten tail consumers"
LIFE_ROW = "broker"
OPEN_LOOP = " at 70 % of saturation"


def goals(settings):
    """[(name, how, target, ratio(r, limit))] for what these settings measure."""
    listed = [
        ("durable produce, 64 KiB batches / B", ">=", 0.85,
         lambda r, limit: r[LARGE_ROW]["MB/s"] / limit["floor_64k_mb_s"]),
        ("the same / B1 (no goal)", "", None,
         lambda r, limit: r[LARGE_ROW]["MB/s"] / limit["framed_floor_64k_mb_s"]),
    ]
    for outstanding in settings.outstanding:
        one = small_row(outstanding, 1)
        if outstanding == 512:
            listed += [
                ("1 KiB requests, 512 outstanding / B", ">=", 0.6,
                 lambda r, limit, one=one: r[one]["requests/s"] / limit["floor_1k_512_s"]),
                ("1 KiB requests, 512 outstanding / B1", ">=", 0.75,
                 lambda r, limit, one=one: r[one]["requests/s"] / limit["framed_floor_1k_512_s"]),
            ]
        if outstanding == 1:
            listed.append(("unloaded acknowledgement, p50 / (R + 1/F)", "<=", 1.25,
                           lambda r, limit, one=one: r[one]["p50, us"] / _unloaded_us(limit)))
        for partitions in settings.partitions:
            row = small_row(outstanding, partitions)
            if partitions > 1:
                listed += [
                    (f"{row} / one partition's", ">=", 0.5,
                     lambda r, limit, row=row, one=one: r[row]["requests/s"] / r[one]["requests/s"]),
                    (f"{row}, p50 / one partition's", "<=", 2,
                     lambda r, limit, row=row, one=one: r[row]["p50, us"] / r[one]["p50, us"]),
                ]
            if partitions == 256 and outstanding == 512:
                listed.append((f"{row} / F256", ">=", 3, lambda r, limit, row=row:
                               r[row]["requests/s"] / limit["commits_256_files_s"]))
            listed.append((f"{row}, p99 at 70 % / (R + 1/F)", "<=", 4, lambda r, limit, row=row:
                           r[row + OPEN_LOOP]["p99, us"] / _unloaded_us(limit)))
    listed += [
        ("commits a second, one log, 8 outstanding / F2", ">=", 0.8,
         lambda r, limit: r[COMMITS_ROW]["journal writes/s"] / limit["two_flushes_s"]),
        ("100-byte records, million per second of broker CPU", ">=", 1,
         lambda r, limit: r[LIBRARY_ROW]["records"] / r[LIBRARY_ROW]["broker CPU, s"] / 1e6),
        ("100-byte records, client CPU / broker CPU", "<=", 1,
         lambda r, limit: r[LIBRARY_ROW]["client CPU, s"] / r[LIBRARY_ROW]["broker CPU, s"]),
        ("tail read, 16 KiB batches / N", ">=", 0.8,
         lambda r, limit: r[TAIL_ROW]["MB/s"] / limit["stream_64k_mb_s"]),
        ("ten tail consumers, end to end p50 / (acknowledgement p50 + R/2)", "<=", 1.3,
         lambda r, limit: r[LATENCY_ROW]["end to end p50, us"] /
         (r[LATENCY_ROW]["p50, us"] + limit["round_trip_p50_us"] / 2)),
        ("ten tail readers, broker CPU per GB sent / plain send", "<=", 1.2,
         lambda r, limit: r[FAN_OUT_ROW]["broker CPU-s/GB"] / limit["send_cpu_s_per_gb"]),
        ("cold replay / min(disk, N)", ">=", 0.8, lambda r, limit: r[COLD_ROW]["MB/s"] /
         min(limit["disk_read_mb_s"], limit["stream_64k_mb_s"])),
        ("written to disk per record byte, all of the load", "<=", 2.2,
         lambda r, limit: r[LIFE_ROW]["written per byte"]),
        ("idle with 1,000 partitions, % of a core", "<", 1,
         lambda r, limit: r[LIFE_ROW]["idle CPU, %"]),
        ("1,000 partitions, MiB over an empty broker", "<", 50,
         lambda r, limit: r[LIFE_ROW]["memory of 1,000 partitions, MiB"]),
        ("start after a clean stop, s", "<", 1, lambda r, limit: r[LIFE_ROW]["start after a clean stop, s"]),
        ("start after kill -9, s / (1 s + 1 s per GB)", "<", 1,
         lambda r, limit: r[LIFE_ROW]["start after kill -9, s"] / (1 + r[LIFE_ROW]["GB before kill -9"])),
    ]
    return listed


def _number(value):
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}"


def _spread(values):
    return f"{_number(statistics.median(values))} | {_number(min(values))} | {_number(max(values))}"


def limits_table(rounds):
    lines = ["| limit of the machine | median | min | max | what it is |", "|---|---|---|---|---|"]
    for limit in rounds[0]["limits"]:
        name = limit["name"]
        lines.append(f"| {name} | {_spread([one['limit'][name] for one in rounds])} | {limit['meaning']} |")
    return lines


def goals_table(rounds, settings):
    lines = ["| ratio, of each round to its own limits | median | min | max | goal | |", "|---|---|---|---|---|---|"]
    for name, how, target, ratio in goals(settings):
        values = [ratio(one["figures"], one["limit"]) for one in rounds]
        middle = statistics.median(values)
        if target is None:
            lines.append(f"| {name} | {_spread(values)} | | |")
            continue
        short = target / max(middle, 1e-9) if how == ">=" else middle / target
        verdict = "met" if short <= 1 else f"{short:.1f} x away"
        lines.append(f"| {name} | {_spread(values)} | {how} {target:g} | {verdict} |")
    return lines


def figures_tables(rounds):
    """Saturation and open loop apart, then what has rows of its own."""
    columns = ["MB/s", "requests/s", "p50, us", "p99, us", "p99.9, us", "broker CPU-s/GB", "client CPU-s/GB",
               "written per byte", "memory, MiB"]
    rows = rounds[0]["figures"]

    def middle(row, what):
        values = [one["figures"][row][what] for one in rounds if what in one["figures"][row]]
        return _number(statistics.median(values)) if values else ""

    lines = []
    for title, chosen in (
            ("closed loop: what saturates the broker; its latencies tell how much waits",
             [row for row in rows if not row.endswith(OPEN_LOOP) and row != LIFE_ROW]),
            ("open loop: latencies from when a request was due", [row for row in rows if row.endswith(OPEN_LOOP)])):
        lines += [f"| {title} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        lines += [f"| {row} | " + " | ".join(middle(row, what) for what in columns) + " |" for row in chosen]
        lines.append("")
    lines += ["| life of a broker | median | min | max |", "|---|---|---|---|"]
    lines += [f"| {what} | {_spread([one['figures'][LIFE_ROW][what] for one in rounds])} |" for what in rows[LIFE_ROW]]
    return lines
