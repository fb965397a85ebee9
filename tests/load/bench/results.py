# SPDX-License-Identifier: BSD-3-Clause
"""Results as they are kept in a file, a line of JSON each, and read again: {"run": what was measured where},
{"cell": a setting}, {"result": of one round of one program in a cell}, {"attempt": each run of the generator},
{"commands": those that were run}."""
import dataclasses
import json

from .cells import Baseline, Cell
from .runs import lossy, spoilt

BUSY_SHARE = 0.10  # of all cores, before anything was started
SPOILT_SHARE = 0.25  # of all attempts


class Results:
    """Of one or several files; later ones add rounds, and settings."""

    def __init__(self, out=None):
        self.out = out
        self.runs = []  # what scripts/bench says of each
        self.cells = {}
        self.rounds = {}  # by the cell's name and the program's label
        self.attempts = self.spoilt = 0

    def keep(self, line):
        """Takes a line, and writes it where new results go."""
        if self.out:
            self.out.write(json.dumps(line, default=dataclasses.asdict) + "\n")
            self.out.flush()
        self.take(line)

    def take(self, line):
        (kind, content), = line.items()
        if kind == "run":
            self.runs.append(content)
        elif kind == "commands":
            self.runs[-1]["commands"] = content
        elif kind == "cell":
            cell = content if isinstance(content, Cell) else restored(content)
            self.cells.setdefault(cell.name, cell)
        elif kind == "result":
            self.rounds.setdefault((content["cell"], content["label"]), []).append(content)
        elif kind == "attempt" and not self.searches(content["cell"]):
            self.attempts += 1
            self.spoilt += spoilt(content)

    def searches(self, name):
        """In a search for the highest rate, that the generator comes late is no accident."""
        return name in self.cells and self.cells[name].runner == "sweep"

    def load(self, path):
        with open(path, encoding="utf-8") as file:
            for line in file:
                self.take(json.loads(line))

    def of(self, cell, label):
        return self.rounds.get((cell.name, label), [])

    def group(self, name):
        return [cell for cell in self.cells.values() if cell.group == name]

    def programs(self):
        """Names of the columns: ours, theirs, and others."""
        names = []
        for run in self.runs:
            names += [name for name in run["programs"] if name not in names]
        return names

    def reasons_against(self):
        """Why these figures do not show speed."""
        for run in self.runs:
            if run["busy_share"] > BUSY_SHARE:
                yield (f"before the run of {run['start']}, other programs had {100 * run['busy_share']:.0f} % of the "
                       "machine's time")
        if self.spoilt > SPOILT_SHARE * self.attempts:
            yield f"{self.spoilt} of {self.attempts} runs were spoilt by other programs"


def restored(fields):
    baselines = [Baseline(**b) for b in fields.pop("baselines")]
    return Cell(**fields, baselines=baselines)


def usable(result, figure):
    return result["valid"] and (figure.with_loss or not lossy(result))
