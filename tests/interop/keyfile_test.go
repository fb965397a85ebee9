// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"tailscale.com/types/key"
)

func TestKeyFileIsMade(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "folder", "derper.key")
	r := startRelay(t, setup{plain: true, keyFile: path, args: nil})
	served := r.connect(t).ServerPublicKey()
	if got := readKeyFile(t, path).Public(); got != served {
		t.Errorf("the file holds %v, the relay serves %v", got, served)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, want 0600", info.Mode())
	}
	before := readFile(t, path)
	r.restart()
	if got := r.connect(t).ServerPublicKey(); got != served {
		t.Errorf("the key changed from %v to %v in a restart", served, got)
	}
	if readFile(t, path) != before {
		t.Error("the file changed in a restart")
	}
}

func TestKeyFileOfTailscalesLibrary(t *testing.T) {
	t.Parallel()
	priv := key.NewNode()
	text, err := json.MarshalIndent(struct{ PrivateKey key.NodePrivate }{priv}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "derper.key")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r := startRelay(t, setup{keyFile: path})
	if got := r.connect(t).ServerPublicKey(); got != priv.Public() {
		t.Errorf("the relay serves %v, want %v", got, priv.Public())
	}
}

// TestFilesOfTheOtherProgram lets one program make the key and the certificate
// and has the other take over, both ways.
func TestFilesOfTheOtherProgram(t *testing.T) {
	t.Parallel()
	if theOriginal.bin == "" {
		t.Skip("ORIGINAL_DERPER_BIN is not set; this test needs both programs")
	}
	for _, test := range []struct {
		name         string
		first, later program
	}{
		{"from the original", theOriginal, underTest},
		{"to the original", underTest, theOriginal},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := setup{program: test.first, port: freePort(t), stunPort: freePort(t)}
			first := startRelay(t, s)
			served, pin := first.connect(t).ServerPublicKey(), first.pin()
			first.stop()

			s.keyFile, s.certDir = first.keyFile, first.certDir
			before := readFile(t, s.keyFile) + readFile(t, first.certFile())
			s.program = test.later
			later := startRelay(t, s)
			c := later.connect(t) // pinned to the same certificate
			if got := c.ServerPublicKey(); got != served {
				t.Errorf("the key changed from %v to %v", served, got)
			}
			if later.pin() != pin {
				t.Error("the pin changed")
			}
			later.stop()
			if readFile(t, s.keyFile)+readFile(t, first.certFile()) != before {
				t.Error("the files changed")
			}
		})
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
