// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestHTTPEndpoints(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	for _, test := range []struct {
		method, path string
		header       string // sent, as "name: value"
		status       int
		body         string // "*": anything but nothing, "?": anything
		want         string // received, as "name: value"
	}{
		{"GET", "/derp/probe", "", 200, "", "Access-Control-Allow-Origin: *"},
		{"HEAD", "/derp/probe", "", 200, "", "Access-Control-Allow-Origin: *"},
		{"GET", "/derp/latency-check", "", 200, "", "Access-Control-Allow-Origin: *"},
		{"GET", "/derp/latency-check", "", 200, "", "Content-Length: 0"},
		{"POST", "/derp/latency-check", "", 405, "bogus probe method", ""},
		{"GET", "/generate_204", "", 204, "", "Cache-Control: no-cache, no-store, must-revalidate, no-transform, max-age=0"},
		{"GET", "/generate_204", "X-Tailscale-Challenge: ts_a.b-c:9", 204, "", "X-Tailscale-Response: response ts_a.b-c:9"},
		{"GET", "/generate_204", "X-Tailscale-Challenge: a b", 204, "", "X-Tailscale-Response: "},
		{"GET", "/generate_204", "X-Tailscale-Challenge: " + strings.Repeat("a", 64), 204, "", "X-Tailscale-Response: response " + strings.Repeat("a", 64)},
		{"GET", "/generate_204", "X-Tailscale-Challenge: " + strings.Repeat("a", 65), 204, "", "X-Tailscale-Response: "},
		{"GET", "/robots.txt", "", 200, "User-agent: *\nDisallow: /", "X-Frame-Options: DENY"},
		{"GET", "/", "", 200, "*", "X-Content-Type-Options: nosniff"},
		{"GET", "/", "", 200, "*", "Content-Type: text/html; charset=utf-8"},
		{"GET", "/no/such/page", "", 200, "*", "X-Frame-Options: DENY"},
		{"GET", "/bootstrap-dns", "", 200, "?", "Content-Type: application/json"},
		{"GET", "/debug/varz", "", 200, "*", ""},
		{"GET", "/debug/", "X-Forwarded-For: 127.0.0.1", 403, "debug access denied", ""},
		{"GET", "/debug/check", "", 200, "*", ""},
	} {
		if test.path == "/bootstrap-dns" && !isOriginal() {
			continue // not built yet: a page like any unknown one
		}
		name := strings.TrimSpace(test.method + " " + test.path + " " + test.header)
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(test.method, r.url(test.path), nil)
			if err != nil {
				t.Fatal(err)
			}
			if name, value, ok := strings.Cut(test.header, ": "); ok {
				req.Header.Set(name, value)
			}
			res, err := r.scraper.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != test.status {
				t.Errorf("got %s, want %d", res.Status, test.status)
			}
			if got := strings.TrimSpace(string(body)); got != test.body && test.body != "?" && (test.body != "*" || got == "") {
				t.Errorf("body is %q, want %q", got, test.body)
			}
			if name, value, ok := strings.Cut(test.want, ": "); ok {
				if got := res.Header.Get(name); got != value {
					t.Errorf("%s is %q, want %q", name, got, value)
				}
			}
		})
	}
}

func TestHomePageFlag(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		home, location string
		status         int
	}{
		{"blank", "", 200},
		{"https://example.com/relay", "https://example.com/relay", 302},
	} {
		t.Run(test.home, func(t *testing.T) {
			r := startRelay(t, setup{plain: true, args: []string{"--home", test.home}})
			res, err := r.scraper.Get(r.url("/"))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != test.status || res.Header.Get("Location") != test.location {
				t.Errorf("got %s to %q, want %d to %q", res.Status, res.Header.Get("Location"), test.status, test.location)
			}
			if test.home == "blank" && len(body) != 0 {
				t.Errorf("body is %q", body)
			}
		})
	}
}

func TestWithoutDERP(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{args: []string{"--derp=false"}})
	res, err := r.scraper.Get(r.url("/derp"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusNotFound || strings.TrimSpace(string(body)) != "derp server disabled" {
		t.Errorf("got %s %q", res.Status, body)
	}
}
