// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{plain: true})
	a, b := r.connect(t), r.connect(t)
	if got, want := a.ServerPublicKey(), r.publicKey(); got != want {
		t.Errorf("key is %v, want %v", got, want)
	}
	a.send(b.pub, "in the clear")
	b.expectPacket(a.pub, "in the clear")
	b.send(a.pub, strings.Repeat("x", derp.MaxPacketSize))
	a.expectPacket(b.pub, strings.Repeat("x", derp.MaxPacketSize))
	r.stop()
}

// TestDevMode runs itself once more in a network namespace of its own where
// that is allowed, as --dev has one fixed port on all addresses.
func TestDevMode(t *testing.T) {
	t.Parallel()
	const inside = "INTEROP_INSIDE_NAMESPACE"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDevMode$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if os.Getuid() != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err == nil || errors.As(err, &exit) {
			t.Logf("in a namespace:\n%s", out)
			if err != nil {
				t.Fail()
			}
			return
		}
		t.Logf("no namespace (%v), using the port of this machine", err)
	} else if err := bringUpLoopback(); err != nil {
		t.Fatal(err)
	}
	if !portIsFree(3340) {
		t.Fatal("port 3340 is in use")
	}

	const meshKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	dev := setup{dev: true}
	if isOriginal() { // ours does not mesh yet
		dev.env = []string{"TAILSCALE_DERPER_MESH_KEY=" + meshKey}
	}
	r := startRelay(t, dev)
	a, b := r.connect(t), r.connect(t)
	first := a.ServerPublicKey()
	a.send(b.pub, "in dev mode")
	b.expectPacket(a.pub, "in dev mode")
	if _, err := os.Stat(r.keyFile); !os.IsNotExist(err) {
		t.Errorf("a key file was written: %v", err)
	}

	if isOriginal() {
		watcher := r.watch(t, meshKey)
		watcher.waitPresent(a.pub)
		watcher.Close()
	}
	a.Close()
	b.Close()

	r.restart()
	c := r.connect(t)
	if c.ServerPublicKey() == first {
		t.Error("the key is the same after a restart")
	}
	r.stop()
}

func bringUpLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

func TestKeepsServingAfterClientsLeave(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	for range 20 {
		priv := key.NewNode()
		c := r.connectAs(t, priv)
		c.Close()
	}
	r.waitMetric(t, "derp_current_connections", 0)
	r.waitMetric(t, "derp_accepts", 20)
	r.stop()
}
