# SPDX-License-Identifier: BSD-3-Clause
"""The programs of a comparison: our relay and the generator in release mode, Tailscale's derper."""
import os
import re
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
INTEROP = os.path.join(ROOT, "tests", "interop")
GO_AT_LEAST = (1, 26, 6)


class BuildFailed(Exception):
    pass


def run(command, folder=ROOT, env=None):
    done = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def build_own(folder, targets):
    """Builds targets of this tree in release mode, in a build folder of its own."""
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        run(["meson", "setup", folder, "--buildtype=release"])
    run(["ninja", "-C", folder, *targets])


def go_env():
    return dict(os.environ, GOTOOLCHAIN="local")


def new_enough(go):
    try:
        version = run([go, "env", "GOVERSION"], INTEROP, go_env())
    except (OSError, BuildFailed):
        return False
    numbers = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", version)
    return bool(numbers) and tuple(int(n or 0) for n in numbers.groups()) >= GO_AT_LEAST


def find_go():
    for go in (shutil.which("go"), os.environ.get("GO")):
        if go and new_enough(go):
            return go
    raise BuildFailed("no go of at least 1.26.6 in PATH: name one in GO, or give --theirs a built derper")


def build_theirs(folder):
    os.makedirs(folder, exist_ok=True)
    run([find_go(), "build", "-p", "2", "-buildvcs=false", "-o", folder + os.sep, "tailscale.com/cmd/derper"],
        INTEROP, go_env())
    return os.path.join(folder, "derper")


def version_of(binary):
    try:
        done = subprocess.run([binary, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=10)
        return " ".join(done.stdout.split()) or "unknown"
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"


def module_version():
    """The Tailscale version that tests/interop requires."""
    with open(os.path.join(INTEROP, "go.mod"), encoding="utf-8") as file:
        found = re.search(r"tailscale\.com (v\S+)", file.read())
    return found[1] if found else "unknown"


def commit():
    """Of this tree, and whether it holds changes that are not committed."""
    try:
        name = run(["git", "rev-parse", "--short", "HEAD"]).strip()
        changed = run(["git", "status", "--porcelain", "--untracked-files=no"]).strip()
    except (OSError, BuildFailed):
        return "no commit known"
    return f"commit {name}" + (" with changes" if changed else "")
