package bustest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Cluster is several servers that replicate streams among them.
type Cluster struct {
	Servers []*Server
}

// StartCluster runs n servers, which store in folders of their own under o.Dir, and waits until they have chosen a leader. o.Port is
// not used: each takes a free one.
func StartCluster(n int, o Options) (*Cluster, error) {
	ports, err := freePorts(n)
	if err != nil {
		return nil, err
	}
	var routes []*url.URL
	for _, p := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(p))})
	}
	c := new(Cluster)
	started := make(chan error, n)
	for i := range n {
		one := Options{Dir: filepath.Join(o.Dir, strconv.Itoa(i)), SyncAlways: o.SyncAlways, MaxPayload: o.MaxPayload}
		one.Configure = func(so *server.Options) {
			so.ServerName = fmt.Sprintf("embedded-%d", i)
			so.Cluster = server.ClusterOpts{Name: "embedded", Host: "127.0.0.1", Port: ports[i]}
			so.Routes = routes
			if o.Configure != nil {
				o.Configure(so)
			}
		}
		s := &Server{opts: one}
		c.Servers = append(c.Servers, s)
		// Together: none is ready before it has seen the others.
		go func() { started <- s.start() }()
	}
	for range n {
		err = errors.Join(err, <-started)
	}
	if err == nil {
		err = c.awaitLeader(30 * time.Second)
	}
	if err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) awaitLeader(limit time.Duration) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); <-poll.C {
		for _, s := range c.Servers {
			// All must have joined, else a stream with as many replicas finds no room.
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(c.Servers) {
				return nil
			}
		}
	}
	return errors.New("the cluster chose no leader")
}

// URL names all servers.
func (c *Cluster) URL() string {
	var urls []string
	for _, s := range c.Servers {
		urls = append(urls, s.ClientURL())
	}
	return strings.Join(urls, ",")
}

// Leader is the server that leads a stream, nil if none does right now.
func (c *Cluster) Leader(stream string) *Server {
	for _, s := range c.Servers {
		if s.Running() && s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			return s
		}
	}
	return nil
}

// Stop ends all servers.
func (c *Cluster) Stop() {
	for _, s := range c.Servers {
		if s.Server != nil {
			s.Stop()
		}
	}
}

// freePorts finds ports for the routes, which every server must know before any listens.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
