// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// varz returns the values on /debug/varz by name, with labels in alphabetical
// order.
func (r *relay) varz() map[string]float64 {
	r.t.Helper()
	values, err := r.scrape()
	if err != nil {
		r.t.Fatal(err)
	}
	return values
}

func (r *relay) scrape() (map[string]float64, error) {
	res, err := r.scraper.Get(r.url("/debug/varz"))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		return nil, fmt.Errorf("/debug/varz: %s: %s", res.Status, body)
	}
	values := make(map[string]float64)
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := lines.Text()
		space := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || space < 0 {
			continue
		}
		if v, err := strconv.ParseFloat(line[space+1:], 64); err == nil {
			values[sortLabels(line[:space])] = v
		}
	}
	return values, lines.Err()
}

// sortLabels makes the order of labels, which means nothing, the same everywhere.
func sortLabels(name string) string {
	base, labels, ok := strings.Cut(strings.TrimSuffix(name, "}"), "{")
	if !ok {
		return name
	}
	sorted := strings.Split(labels, ",")
	slices.Sort(sorted)
	return base + "{" + strings.Join(sorted, ",") + "}"
}

func (r *relay) metric(name string) float64 {
	r.t.Helper()
	v, ok := r.varz()[name]
	if !ok {
		r.t.Fatalf("/debug/varz has no %s", name)
	}
	return v
}

func (r *relay) waitMetric(t *testing.T, name string, want float64) {
	t.Helper()
	var got float64
	defer func() {
		if t.Failed() {
			t.Logf("%s was %v", name, got)
		}
	}()
	waitFor(t, name+" to be "+strconv.FormatFloat(want, 'f', -1, 64), func() bool {
		got = r.metric(name)
		return got == want
	})
}

// workerConnections returns the connections of each worker of our relay.
func (r *relay) workerConnections() map[string]float64 {
	r.t.Helper()
	const prefix = "derper_worker_connections{worker=\""
	counts := make(map[string]float64)
	for name, v := range r.varz() {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			counts[strings.TrimSuffix(rest, "\"}")] = v
		}
	}
	if len(counts) == 0 {
		r.t.Fatalf("/debug/varz has no derper_worker_connections")
	}
	return counts
}
