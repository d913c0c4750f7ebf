package connector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminServer is the operators' HTTP: whether the process lives, whether it can make progress, and
// its figures. It holds nothing of any candidate and needs no credentials; it is meant for the
// loopback or a private address.
type adminServer struct {
	http     *http.Server
	listener net.Listener
}

// listenAdmin takes the address, so that a port that is in use is known at once; serve answers on
// it. ready says why the process can't make progress, in words for an operator; nil means that it
// can.
func listenAdmin(addr string, ready func() error, figures prometheus.Gatherer) (*adminServer, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on the admin address (ADMIN_ADDR): %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(figures, promhttp.HandlerOpts{}))
	return &adminServer{&http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, l}, nil
}

// addr is the address that was taken, with the port that port 0 became.
func (s *adminServer) addr() string { return s.listener.Addr().String() }

// serve answers until ctx ends, and lets requests under way finish for a second.
func (s *adminServer) serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.http.Shutdown(end)
	})
	defer stop()
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the admin address: %w", err)
	}
	return nil
}
