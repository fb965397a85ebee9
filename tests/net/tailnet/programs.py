# SPDX-License-Identifier: BSD-3-Clause
"""The programs that a tailnet is made of, built once: Tailscale's from the module of tests/interop, Headscale from a
module of its own, since the two want different versions of the same packages, and our wire."""
import os
import re
import shutil
import subprocess

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(os.path.dirname(HERE))
FOLDER = os.path.join(ROOT, "build", "net")
MODULES = {
    os.path.join(ROOT, "tests", "interop"): ["tailscale.com/cmd/tailscale", "tailscale.com/cmd/tailscaled",
                                             "tailscale.com/cmd/derper"],
    os.path.join(HERE, "headscale"): ["github.com/juanfont/headscale/cmd/headscale"],
}
GO_AT_LEAST = (1, 26, 6)


class BuildFailed(Exception):
    pass


def run(words, folder):
    done = subprocess.run(words, cwd=folder, env=dict(os.environ, GOTOOLCHAIN="local"), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def new_enough(version):
    numbers = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", version)
    return bool(numbers) and tuple(int(n or 0) for n in numbers.groups()) >= GO_AT_LEAST


def find_go():
    for go in (shutil.which("go"), os.environ.get("GO")):
        if go and new_enough(run([go, "env", "GOVERSION"], HERE)):
            return go
    raise BuildFailed("no go of at least 1.26.6 in PATH: name one in GO")


def is_newer(file, than):
    return os.path.exists(file) and all(os.path.getmtime(file) >= os.path.getmtime(t) for t in than)


def build_go(module, packages, folder, sources=()):
    """Builds what is missing or older than the module's requirements and our sources. Returns the programs' paths by
    name."""
    os.makedirs(folder, exist_ok=True)
    paths = {os.path.basename(package): os.path.join(folder, os.path.basename(package)) for package in packages}
    if not all(is_newer(path, [os.path.join(module, "go.mod"), *sources]) for path in paths.values()):
        run([find_go(), "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", folder + os.sep,
             *packages], module)
        for path in paths.values():
            os.utime(path)  # Go leaves a program alone that would come out the same
    return paths


def build(folder=FOLDER):
    """Builds what is missing or out of date. Returns the programs' paths by name."""
    paths = {}
    for module, packages in MODULES.items():
        paths.update(build_go(module, packages, folder))
    source = os.path.join(HERE, "wire.c")
    paths["wire"] = os.path.join(folder, "wire")
    if not is_newer(paths["wire"], [source]):
        run([os.environ.get("CC", "cc"), "-O2", "-Wall", "-Wextra", "-Werror", "-o", paths["wire"], source], HERE)
    return paths
