// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// noWebSocketYet reports whether our relay lacks WebSocket; it then shows that
// a browser client is told so instead of being left with a broken stream.
func noWebSocketYet(t *testing.T, r *relay) bool {
	t.Helper()
	if isOriginal() {
		return false
	}
	req, err := http.NewRequest("GET", r.url("/derp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{
		"Connection":             {"Upgrade"},
		"Upgrade":                {"websocket"},
		"Sec-Websocket-Version":  {"13"},
		"Sec-Websocket-Key":      {"AAAAAAAAAAAAAAAAAAAAAA=="},
		"Sec-Websocket-Protocol": {"derp"},
	}
	res, err := r.scraper.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("got %s, want %d", res.Status, http.StatusUpgradeRequired)
	}
	return true
}

// notBuiltYet reports whether our relay lacks what the caller tests. It then
// shows instead that the flag for it stops the start with one sentence: a flag
// that is understood but not built must never be passed over in silence.
func notBuiltYet(t *testing.T, flag, value string) bool {
	t.Helper()
	if isOriginal() {
		return false
	}
	cmd := exec.Command(underTest.bin, "--tls=off", "-a", "127.0.0.1:0", "--stun=false", flag, value)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("%s: exit status %d, want 2", flag, cmd.ProcessState.ExitCode())
	}
	for _, want := range []string{flag, "not built yet"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s: no %q in %q", flag, want, out)
		}
	}
	return true
}
