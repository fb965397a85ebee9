// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait for something that is expected to happen. It is
// far above what a loaded machine needs and is only spent by a failing test.
const patience = 10 * time.Second

// quiet is how long a test listens for something that must not come.
const quiet = 300 * time.Millisecond

const (
	ours     = "ours"
	original = "original"
)

// program is a relay binary and what it needs beyond the original's flags.
type program struct {
	bin  string
	kind string
	args []string
}

// underTest is the relay that DERPER_BIN names.
var underTest program

// theOriginal is Tailscale's derper for tests that need both programs; its bin
// is empty when ORIGINAL_DERPER_BIN is not set.
var theOriginal = program{kind: original}

func isOriginal() bool { return underTest.kind == original }

func loadEnvironment() error {
	underTest.bin = os.Getenv("DERPER_BIN")
	if underTest.bin == "" {
		return fmt.Errorf("DERPER_BIN is not set: it must hold the path of the relay under test")
	}
	if _, err := os.Stat(underTest.bin); err != nil {
		return fmt.Errorf("DERPER_BIN: %v", err)
	}
	switch kind := os.Getenv("DERPER_KIND"); kind {
	case "", ours:
		underTest.kind = ours
		underTest.args = append([]string{"--workers=2"}, strings.Fields(os.Getenv("DERPER_ARGS"))...)
	case original:
		underTest.kind = original
	default:
		return fmt.Errorf("DERPER_KIND is %q: it must be %q or %q", kind, ours, original)
	}
	theOriginal.bin = os.Getenv("ORIGINAL_DERPER_BIN")
	return nil
}

// helperProgram returns the path in an environment variable; a test that needs
// the program fails without it, as a skipped test would look like a passed one.
func helperProgram(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s is not set", variable)
	}
	return path
}

func TestMain(m *testing.M) {
	if err := loadEnvironment(); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// waitFor polls until done reports true.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
