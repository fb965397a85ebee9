# SPDX-License-Identifier: BSD-3-Clause
"""Shows that scripts/check-rooms catches what it is for. Usage: check_rooms_test.py CHECK_ROOMS"""

import os
import subprocess
import sys
import tempfile
import unittest

CHECK = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "scripts/check-rooms"

CLEAN = {
    "derper/main.c": ['"server/server.h"', '"doctor/doctor.h"', "<stdio.h>"],
    "derper/doctor/doctor.c": ['"doctor/doctor.h"', '"io/stream.h"', '"base/log.h"'],
    "derper/server/server.c": ['"server/server.h"', '"web/routes.h"', '"mesh/mesh.h"', '"access/access.h"',
                               '"relay/worker.h"', '"io/stream.h"', '"proto/frame.h"', '"base/log.h"',
                               '"stun/responder.h"', '"certgen/acme.h"', "<uv.h>", "<openssl/ssl.h>"],
    "derper/web/routes.c": ['"web/routes.h"', '"relay/worker.h"', '"io/http.h"', '"base/text.h"'],
    "derper/mesh/mesh.c": ['"relay/worker.h"', '"io/stream.h"', '"base/log.h"'],
    "derper/access/access.c": ['"base/key.h"', "<jansson.h>"],
    "derper/relay/worker.c": ['"io/stream.h"', '"proto/frame.h"', '"base/wheel.h"', "<uv.h>"],
    "derper/io/stream.c": ['"proto/frame.h"', '"base/list.h"', "<openssl/ssl.h>", "<sys/socket.h>"],
    "derper/proto/login.c": ['"proto/login.h"', '"base/key.h"', "<jansson.h>", "<sodium.h>"],
    "derper/base/key.c": ['"base/key.h"', "<sodium.h>", "<sys/types.h>"],
    "stun/codec.c": ['"codec.h"', '"stun/codec.h"', "<uv.h>"],
    "certgen/acme.c": ['"acme.h"', '"certgen/acme.h"', "<openssl/x509.h>"],
}

OFFENCES = [
    ("derper/base/key.c", '"proto/frame.h"'),
    ("derper/base/key.h", '"io/stream.h"'),
    ("derper/base/key.c", "<uv.h>"),
    ("derper/base/key.c", "<openssl/evp.h>"),
    ("derper/base/key.c", "<jansson.h>"),
    ("derper/base/key.c", '"stun/codec.h"'),
    ("derper/proto/frame.c", "<uv.h>"),
    ("derper/proto/frame.c", "<openssl/evp.h>"),
    ("derper/proto/frame.c", '"uv.h"'),
    ("derper/proto/frame.c", '"io/stream.h"'),
    ("derper/io/stream.c", '"relay/worker.h"'),
    ("derper/io/stream.c", '"certgen/acme.h"'),
    ("derper/relay/worker.c", '"server/server.h"'),
    ("derper/relay/worker.c", '"web/routes.h"'),
    ("derper/relay/worker.c", '"stun/responder.h"'),
    ("derper/access/access.c", '"relay/worker.h"'),
    ("derper/access/access.c", '"proto/frame.h"'),
    ("derper/access/access.c", '"io/http.h"'),
    ("derper/mesh/mesh.c", '"access/access.h"'),
    ("derper/web/routes.c", '"proto/frame.h"'),
    ("derper/web/routes.c", '"mesh/mesh.h"'),
    ("derper/web/routes.c", '"server/server.h"'),
    ("derper/server/server.c", '"doctor/doctor.h"'),
    ("derper/main.c", '"relay/worker.h"'),
    ("derper/main.c", '"base/log.h"'),
    ("derper/relay/deep/part.c", '"server/server.h"'),
    ("stun/codec.c", '"base/log.h"'),
    ("stun/codec.c", "<base/log.h>"),
    ("stun/codec.c", '"certgen/acme.h"'),
    ("stun/codec.c", '"derper/base/log.h"'),
    ("certgen/acme.c", '"io/http.h"'),
    ("certgen/acme.c", '"../derper/base/log.h"'),
    ("certgen/acme.c", '"stun/codec.h"'),
    ("derper/io/stream.c", '"../relay/worker.h"'),
    ("derper/io/stream.c", '"attic/old.h"'),
    ("derper/attic/old.c", '"base/log.h"'),
]


class CheckRooms(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        for path, headers in CLEAN.items():
            self.write(path, "".join(f"#include {header}\n" for header in headers))

    def write(self, path, text):
        path = os.path.join(self.folder.name, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def run_check(self, root=None):
        done = subprocess.run([sys.executable, CHECK, root or self.folder.name], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        return done.returncode, done.stdout.splitlines()

    def test_clean_tree(self):
        self.assertEqual(self.run_check(), (0, []))

    def test_each_offence_alone(self):
        for path, header in OFFENCES:
            with self.subTest(path=path, header=header):
                before = "".join(f"#include {h}\n" for h in CLEAN.get(path, []))
                self.write(path, f"// a comment\n\n#include {header}\n{before}")
                code, lines = self.run_check()
                self.assertEqual(code, 1)
                self.assertEqual(len(lines), 1, lines)
                number = 1 if "attic/old.c" in path else 3
                self.assertTrue(lines[0].startswith(f"{path}:{number}: "), lines)
                if path in CLEAN:
                    self.write(path, before)
                else:
                    os.remove(os.path.join(self.folder.name, path))

    def test_all_offences_are_told(self):
        self.write("derper/base/key.c", '#include "io/a.h"\n# include  "relay/b.h"\n')
        self.write("stun/codec.c", '\t#\tinclude "base/log.h"\n')
        code, lines = self.run_check()
        self.assertEqual(code, 1)
        self.assertEqual([line.split(": ")[0] for line in lines],
                         ["derper/base/key.c:1", "derper/base/key.c:2", "stun/codec.c:1"])

    def test_comments_and_text_are_no_includes(self):
        self.write("derper/base/key.c", '// #include "io/a.h"\nconst char *s = "#include <uv.h>";\n')
        self.assertEqual(self.run_check(), (0, []))

    def test_folder_without_sources_is_an_error(self):
        with tempfile.TemporaryDirectory() as empty:
            self.assertEqual(self.run_check(empty)[0], 2)


if __name__ == "__main__":
    unittest.main()
