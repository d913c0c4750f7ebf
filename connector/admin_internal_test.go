package connector

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestHealthAndFigures(t *testing.T) {
	t.Parallel()
	figures := prometheus.NewRegistry()
	figures.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "a_figure", Help: "of the test"}))
	var trouble atomic.Pointer[string]
	s, err := listenAdmin("127.0.0.1:0", func() error {
		if why := trouble.Load(); why != nil {
			return errors.New(*why)
		}
		return nil
	}, figures)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx) }()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string, status int, text string) {
		t.Helper()
		resp, err := client.Get("http://" + s.addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status || !strings.Contains(string(body), text) {
			t.Errorf("%s: %d %q (%v), want %d with %q", path, resp.StatusCode, body, err, status, text)
		}
	}
	get("/livez", 200, "ok")
	get("/readyz", 200, "ok")
	get("/metrics", 200, "a_figure 0")
	get("/elsewhere", 404, "")
	why := "not connected to the bus"
	trouble.Store(&why)
	get("/livez", 200, "ok")
	get("/readyz", 503, why)

	if _, err := listenAdmin(s.addr(), nil, figures); err == nil || !strings.Contains(err.Error(), "ADMIN_ADDR") {
		t.Errorf("a taken address: %v, want an error that names ADMIN_ADDR", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}
