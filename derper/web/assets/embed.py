#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes a C source that holds files byte by byte.

Usage: embed.py OUTPUT FILE...

For a file "style.css", the source defines `const struct asset asset_style_css`.
"""

import os
import re
import sys

BYTES_A_LINE = 20


def identifier(path):
    return "asset_" + re.sub(r"\W", "_", os.path.basename(path))


def definition(path):
    with open(path, "rb") as file:
        data = file.read()
    name = identifier(path)
    lines = [f"static const char {name}_data[] = {{"]
    for i in range(0, len(data), BYTES_A_LINE):
        row = data[i:i + BYTES_A_LINE]
        lines.append("    " + " ".join(f"'\\x{byte:02x}'," for byte in row))
    lines.append("};")
    lines.append(f"const struct asset {name} = {{{name}_data, {len(data)}}};")
    return "\n".join(lines)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    parts = ['#include "web/assets.h"'] + [definition(path) for path in sys.argv[2:]]
    with open(sys.argv[1], "w", encoding="ascii") as out:
        out.write("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
