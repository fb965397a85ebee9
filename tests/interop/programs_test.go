// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tailscale.com/tailcfg"
)

// TestDerpprobe has Tailscale's prober look at the relay: its certificate,
// STUN, relaying and bandwidth. Its TLS probe knows no pins, so the certificate
// is a root for it, and its relaying probe wants a name.
func TestDerpprobe(t *testing.T) {
	t.Parallel()
	r := startRelay(t, withHostname(t))
	derpMap := tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{900: {
		RegionID:   900,
		RegionCode: "test",
		RegionName: "Test",
		Nodes:      []*tailcfg.DERPNode{r.node()},
	}}}
	text, err := json.Marshal(derpMap)
	if err != nil {
		t.Fatal(err)
	}
	mapFile := filepath.Join(t.TempDir(), "map.json")
	if err := os.WriteFile(mapFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out := runProgram(t, []string{"SSL_CERT_FILE=" + r.certFile()}, helperProgram(t, "DERPPROBE_BIN"),
		"--once", "--spread=false", "--derp-map", "file://"+mapFile,
		"--bw-interval", "1s", "--bw-probe-size-bytes", "500000")
	for _, probe := range []string{"derpmap-probe", "derp/test/900a/tls", "derp/test/900a/udp", "derp/test/900a/900a/mesh", "derp/test/900a/900a/bw"} {
		if !strings.Contains(out, "good: "+probe+": ") {
			t.Errorf("no good result of %s", probe)
		}
	}
	if t.Failed() || strings.Contains(out, "bad: ") {
		t.Errorf("output of derpprobe:\n%s", out)
	}
}

func TestStunc(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	out := runProgram(t, nil, helperProgram(t, "STUNC_BIN"), "127.0.0.1", fmt.Sprint(r.stunPort))
	for _, line := range []string{
		fmt.Sprintf(`(?m)^from addr: .*127\.0\.0\.1.*:%d$`, r.stunPort),
		`(?m)^stun addr: 127\.0\.0\.1:[0-9]+$`,
	} {
		if !regexp.MustCompile(line).MatchString(out) {
			t.Errorf("stunc printed %q, which has no line %q", out, line)
		}
	}
}

func runProgram(t *testing.T, env []string, path string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(path), err, out)
	}
	return string(out)
}
