#!/usr/bin/env python3
"""Fails on an #include that points against the dependency directions of ARCHITECTURE.md.

Usage: tests/check_includes.py [ROOT]        checks the tree
       tests/check_includes.py --self-test   shows that forbidden includes are found
"""

import pathlib
import re
import sys
import tempfile

# Module (a folder; the longest that fits wins) and the modules whose headers it may include.
ALLOWED = {
    "base": set(),
    "wire": {"base"},
    "wire/transport": {"base", "wire"},
    "log": {"base", "wire", "log/io"},
    "log/io": {"base"},
    "replication": {"base", "wire", "log", "log/io"},
    "broker": {"base", "wire", "wire/transport", "log", "log/io", "replication"},
    "client": {"base", "wire", "wire/transport"},
    "client/include": set(),
    "tools": {"base", "wire", "log", "log/io", "replication", "broker", "client/include"},
    "bench": {"base", "wire", "log", "client", "client/include"},
}
# A library's header, and the only places that may include it.
LIBRARIES = [
    (re.compile(r"liburing"), ("log/io/", "bench/calibrate/")),
    (re.compile(r"asio(\.hpp|/)"), ("wire/transport/",)),
    (re.compile(r"flatbuffers/|.*_generated\.h"), ("wire/", "broker/", "client/", "tests/", "bench/")),
    (re.compile(r"spdlog/"), ("base/logging.cc",)),
    (re.compile(r"xxhash\.h"), ("base/checksum.cc",)),
    (re.compile(r"(lz4|zstd)"), ("wire/",)),
    (re.compile(r"prometheus/"), ("broker/",)),
    (re.compile(r"httplib\.h"), ("broker/", "tools/bench/", "tests/integration/")),
    (re.compile(r"CLI/"), ("tools/", "bench/")),
    (re.compile(r"toml"), ("broker/", "tools/")),
    (re.compile(r"nlohmann/"), ("base/logging.cc", "broker/", "replication/", "tools/", "tests/", "bench/")),
]
# Public headers are C++20 for anybody: nothing but the standard library and each other.
PUBLIC = "client/include/"
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def module_of(path):
    fitting = [name for name in ALLOWED if path.startswith(name + "/")]
    return max(fitting, key=len) if fitting else None


def included_module(header):
    if header.startswith("tidelog/"):
        return "client/include"
    return module_of(header)


def complaints_about(path, text):
    module = module_of(path)
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        header = match.group(2)
        target = included_module(header)
        where = f"{path}:{number}: includes {header}"
        if target is not None and module is not None and target != module:
            # A part may include its own whole (client/include belongs to client) in one direction only.
            own_public = module == "client" and target == "client/include"
            if target not in ALLOWED[module] and not own_public:
                yield f"{where}, but {module} may not depend on {target}"
        for pattern, places in LIBRARIES:
            is_library = target is None or header.endswith("_generated.h")
            if is_library and pattern.match(header) and not path.startswith(places):
                yield f"{where}, which only {', '.join(places)} may include"
        if path.startswith(PUBLIC) and target != "client/include" and not re.fullmatch(r"[a-z_0-9]+", header):
            yield f"{where}, but public headers include only the standard library and each other"


def check(root):
    complaints = []
    for folder in ("base", "wire", "log", "replication", "broker", "client", "tools", "tests", "bench"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".h", ".cc"):
                relative = path.relative_to(root).as_posix()
                complaints += complaints_about(relative, path.read_text(encoding="utf-8"))
    return complaints


def self_test():
    planted = {
        "base/a.h": '#include "wire/frame.h"\n',
        "log/b.cc": '#include "broker/shard.h"\n',
        "log/c.cc": "#include <liburing.h>\n",
        "client/d.cc": '#include "log/journal.h"\n',
        "client/include/tidelog/e.h": '#include "base/result.h"\n',
        "client/include/tidelog/f.h": "#include <fmt/format.h>\n",
        "replication/g.cc": "#include <asio.hpp>\n",
        "log/m.cc": '#include "wire/protocol_generated.h"\n',
        "tools/h.cc": '#include "client/connection.h"\n',
    }
    sound = {
        "log/io/i.cc": '#include <liburing.h>\n#include "base/result.h"\n',
        "broker/j.cc": '#include "replication/replica.h"\n#include "wire/protocol_generated.h"\n',
        "client/k.cc": '#include "tidelog/producer.h"\n#include "wire/frame.h"\n',
        "client/include/tidelog/l.h": '#include <vector>\n#include "tidelog/record.h"\n',
    }
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        for path, text in {**planted, **sound}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        found = {complaint.split(":")[0] for complaint in check(root)}
    missed, invented = set(planted) - found, found - set(planted)
    for path in sorted(missed):
        print(f"not found: {path} {planted[path].strip()}")
    for path in sorted(invented):
        print(f"wrongly refused: {path}")
    return not missed and not invented


def main():
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(0 if self_test() else 1)
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent)
    complaints = check(root)
    print("\n".join(complaints) if complaints else "every include points the allowed way")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
