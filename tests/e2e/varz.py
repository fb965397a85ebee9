# SPDX-License-Identifier: BSD-3-Clause
"""A strict reader of the Prometheus text format: what it takes, promtool takes."""
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)(?: (-?\d+))?")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')
TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}
SUFFIXES = {
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
}


class FormatError(AssertionError):
    pass


class Samples(dict):
    """Values by name, or by name{label="value",...} with the labels in alphabetical order."""

    def __init__(self):
        super().__init__()
        self.types = {}
        self.labels = {}

    def family(self, name):
        """The samples of one family, by their labels."""
        return {
            tuple(sorted(labels.items())): self[key]
            for key, (sample, labels) in self.labels.items()
            if sample == name
        }

    def total(self, name, **labels):
        """The sum over all samples of that name that carry these labels."""
        return sum(
            self[key]
            for key, (sample, have) in self.labels.items()
            if sample == name and labels.items() <= have.items()
        )


def series(name, labels):
    if not labels:
        return name
    return name + "{" + ",".join(f'{k}="{labels[k]}"' for k in sorted(labels)) + "}"


def parse_labels(text, line):
    labels = {}
    position = 0
    while position < len(text):
        match = LABEL.match(text, position)
        if not match or match[1] in labels:
            raise FormatError(f"labels of {line!r}")
        labels[match[1]] = match[2]
        position = match.end()
    return labels


def parse_value(text, line):
    if text in ("+Inf", "-Inf", "NaN"):
        return float(text.replace("Inf", "inf"))
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
        raise FormatError(f"value of {line!r}")
    return float(text)


class Reader:
    def __init__(self, strict):
        self.strict = strict
        self.samples = Samples()
        self.helped = set()
        self.finished = set()
        self.current = None

    def complain(self, text):
        if self.strict:
            raise FormatError(text)

    def enter_family(self, family):
        if family == self.current:
            return
        if family in self.finished:
            self.complain(f"the samples of {family} do not stand together")
        self.finished.add(self.current)
        self.current = family

    def read_comment(self, line):
        words = line.split(" ", 3)
        if len(words) < 3 or words[1] not in ("HELP", "TYPE"):
            return
        family = words[2]
        if not re.fullmatch(NAME, family):
            raise FormatError(f"name in {line!r}")
        if words[1] == "HELP":
            if family in self.helped:
                self.complain(f"second HELP of {family}")
            self.helped.add(family)
        else:
            self.read_type(family, words[3] if len(words) > 3 else "")
        self.enter_family(family)

    def read_type(self, family, kind):
        if kind not in TYPES:
            raise FormatError(f"type {kind!r} of {family}")
        if family in self.samples.types:
            self.complain(f"second TYPE of {family}")
        if any(name == family for name, _ in self.samples.labels.values()):
            self.complain(f"TYPE of {family} behind its samples")
        self.samples.types[family] = kind

    def family_of(self, name):
        for family, kind in self.samples.types.items():
            if any(name == family + suffix for suffix in SUFFIXES.get(kind, ("",))):
                return family
        self.complain(f"no TYPE line before {name}")
        return name

    def read_sample(self, line):
        match = SAMPLE.fullmatch(line)
        if not match:
            raise FormatError(f"not a sample: {line!r}")
        name, labels = match[1], parse_labels(match[2] or "", line)
        self.enter_family(self.family_of(name))
        key = series(name, labels)
        if key in self.samples:
            self.complain(f"{key} appears twice")
        value = parse_value(match[3], line)
        if self.samples.types.get(name) == "counter" and not value >= 0:
            self.complain(f"counter with {line!r}")
        self.samples[key] = value
        self.samples.labels[key] = (name, labels)


def check_histogram(samples, name):
    buckets = samples.family(name + "_bucket")
    by_bound = sorted((float(dict(labels)["le"].replace("Inf", "inf")), value)
                      for labels, value in buckets.items())
    counts = [value for _, value in by_bound]
    if not by_bound or by_bound[-1][0] != math.inf:
        raise FormatError(f"histogram {name} lacks the bucket +Inf")
    if counts != sorted(counts):
        raise FormatError(f"the buckets of {name} are not cumulative")
    if samples[name + "_count"] != counts[-1] or name + "_sum" not in samples:
        raise FormatError(f"count and sum of {name}")


def parse(text, strict=True):
    reader = Reader(strict)
    if not text.endswith("\n"):
        raise FormatError("the last line has no end")
    for line in text[:-1].split("\n"):
        if line.startswith("#"):
            reader.read_comment(line)
        elif line:
            reader.read_sample(line)
    if strict:
        for family, kind in reader.samples.types.items():
            if kind == "histogram":
                check_histogram(reader.samples, family)
    return reader.samples
