// Package bustest runs a real nats-server with JetStream inside the process, for tests and for the
// sandbox. Nothing that ships in the sidecar may import it.
package bustest

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Options says how a server runs. The zero value of a field means its default.
type Options struct {
	// Dir is where JetStream stores; required.
	Dir string
	// Port to listen on, on the loopback. 0 takes a free one, -1 listens nowhere: clients join in
	// process.
	Port int
	// SyncAlways makes every write durable before it is acknowledged, as what we ship is configured
	// to.
	SyncAlways bool
	// MaxPayload is the largest message, in bytes. Defaults to the server's 1 MiB.
	MaxPayload int32
	// Configure changes the server's own options last, e.g. for users and their permissions. nil
	// changes nothing.
	Configure func(*server.Options)
}

// Server is one running server. It can be stopped and started again over the same data. Only
// InProcessConn may be called while it is restarted.
type Server struct {
	*server.Server
	opts Options
	port int
	up   atomic.Pointer[server.Server]
}

// Start runs a server and waits until it takes connections.
func Start(o Options) (*Server, error) {
	s := &Server{opts: o, port: o.Port}
	return s, s.start()
}

// Restart stops the server, if it still runs, and starts it again on the same port over the same
// data.
func (s *Server) Restart() error {
	s.Stop()
	return s.start()
}

// Stop ends the server and waits until it is gone.
func (s *Server) Stop() {
	s.up.Store(nil)
	s.Shutdown()
	s.WaitForShutdown()
}

// InProcessConn joins the server that runs now.
func (s *Server) InProcessConn() (net.Conn, error) {
	up := s.up.Load()
	if up == nil {
		return nil, errors.New("the server is stopped")
	}
	return up.InProcessConn()
}

func (s *Server) start() error {
	o := &server.Options{
		ServerName: "embedded", Host: "127.0.0.1", Port: s.port, DontListen: s.port == -1, JetStream: true, StoreDir: s.opts.Dir,
		NoSigs: true, NoLog: true, SyncAlways: s.opts.SyncAlways, MaxPayload: s.opts.MaxPayload,
	}
	if s.port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if s.opts.Configure != nil {
		s.opts.Configure(o)
	}
	srv, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("nats-server: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		srv.Shutdown()
		return errors.New("nats-server did not become ready; is the port free and the directory writable?")
	}
	s.Server = srv
	s.up.Store(srv)
	if a, ok := srv.Addr().(*net.TCPAddr); ok {
		s.port = a.Port
	}
	return nil
}
