#!/usr/bin/env python3
"""A program outside the tree finds, builds with and runs against the installed client library.

Installs the component `client` into a temporary prefix, moves that somewhere else (nothing in it may depend on where
it was), builds the installed examples against it through CMake, and one through pkg-config, and runs them.

Usage: package_test.py --build BUILD --source SOURCE --binary BUILD/tools/tidelog --compiler g++
"""

import argparse
import pathlib
import subprocess
import tempfile

from example_runs import RUNS, run_examples

WARNINGS = "-Wall -Wextra -Wpedantic -Wshadow -Werror"


def run(*command, **options):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    if result.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{result.stdout[-8000:]}\n{result.stderr[-8000:]}")
    return result.stdout


def check_no_path_of(prefix, forbidden):
    """Text files of the package must not name the tree or the build they came from."""
    texts = [path for path in prefix.rglob("*") if path.suffix in (".cmake", ".pc", ".h", ".txt", ".cc")]
    assert len(texts) > 10, texts
    for path in texts:
        for word in forbidden:
            assert str(word) not in path.read_text(), f"{path} names {word}"


def check_versions(prefix, version, scratch):
    """The package is found under its own version and refuses others."""
    major, minor, _ = version.split(".")
    for asked, found in ((f"{major}.{minor}", True), (f"{major}.{int(minor) + 1}", False), ("99", False)):
        project = scratch / f"version-{asked}"
        project.mkdir()
        (project / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.20)\nproject(P LANGUAGES CXX)\n"
            f"find_package(Tidelog {asked} QUIET)\n"
            f"if(NOT \"${{Tidelog_FOUND}}\" STREQUAL \"{int(found)}\")\n"
            "  message(FATAL_ERROR \"found: ${Tidelog_FOUND}, considered: ${Tidelog_CONSIDERED_VERSIONS}\")\nendif()\n")
        run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={prefix}")


def check_pkg_config(prefix, compiler, version, scratch):
    """Without CMake: flags from pkg-config are enough."""
    directory = next(prefix.rglob("tidelog-client.pc")).parent
    flags = run("pkg-config", "--cflags", "--libs", "tidelog-client",
                env={"PKG_CONFIG_PATH": str(directory), "PATH": "/usr/bin:/bin"}).split()
    assert run("pkg-config", "--modversion", "tidelog-client",
               env={"PKG_CONFIG_PATH": str(directory), "PATH": "/usr/bin:/bin"}).strip() == version
    source = next(prefix.rglob("examples/topics.cc"))
    run(compiler, "-std=c++20", source, "-o", scratch / "with_pkg_config", *flags)
    # It links and starts; against nobody it says so.
    result = subprocess.run([str(scratch / "with_pkg_config"), "127.0.0.1:1"], capture_output=True, text=True,
                            check=False, timeout=120)
    assert result.returncode == 1 and "CONNECTION_FAILED" in result.stderr, result


def main():
    parser = argparse.ArgumentParser()
    for name in ("build", "source", "binary", "compiler", "version"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidelog-package-") as directory:
        scratch = pathlib.Path(directory)
        run("cmake", "--install", options.build, "--component", "client", "--prefix", scratch / "installed")
        prefix = scratch / "moved"
        (scratch / "installed").rename(prefix)
        check_no_path_of(prefix, [pathlib.Path(options.source).resolve(), pathlib.Path(options.build).resolve(),
                                  scratch])
        check_versions(prefix, options.version, scratch)
        check_pkg_config(prefix, options.compiler, options.version, scratch)

        examples = next(prefix.rglob("examples/CMakeLists.txt")).parent
        build = scratch / "build"
        run("cmake", "-S", examples, "-B", build, f"-DCMAKE_CXX_COMPILER={options.compiler}",
            f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_FLAGS={WARNINGS}")
        run("cmake", "--build", build, "-j2")
        run_examples(build, options.binary)
        print(f"{len(RUNS)} programs built with {options.compiler} and run")


main()
