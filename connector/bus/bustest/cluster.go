package bustest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Cluster is several servers that replicate streams among them.
type Cluster struct {
	Servers []*Server
}

// Member is one server of a cluster whose others may run in other processes.
type Member struct {
	// Options say how it runs; required is Dir.
	Options
	// Name is the server's own; required.
	Name string
	// ClusterPort is where it listens for the others, on the loopback; required.
	ClusterPort int
	// Peers are the cluster ports of all members.
	Peers []int
}

// StartMember runs one server of a cluster and waits until it takes connections. That may be when
// it has seen the others: start all of them together. Clients are not told of the other members'
// addresses.
func StartMember(m Member) (*Server, error) {
	var routes []*url.URL
	for _, p := range m.Peers {
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(p))})
	}
	one := m.Options
	one.Configure = func(so *server.Options) {
		so.ServerName = m.Name
		so.Cluster = server.ClusterOpts{Name: "embedded", Host: "127.0.0.1", Port: m.ClusterPort, NoAdvertise: true}
		so.Routes = routes
		if m.Configure != nil {
			m.Configure(so)
		}
	}
	s := &Server{opts: one, port: m.Port}
	return s, s.start()
}

// StartCluster runs n servers, which store in folders of their own under o.Dir, and waits until
// they have chosen a leader. o.Port is not used: each takes a free one.
func StartCluster(n int, o Options) (*Cluster, error) {
	ports, err := FreePorts(n)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Servers: make([]*Server, n)}
	started := make(chan error, n)
	for i := range n {
		one := Member{Options: o, Name: fmt.Sprintf("embedded-%d", i), ClusterPort: ports[i], Peers: ports}
		one.Dir, one.Port = filepath.Join(o.Dir, strconv.Itoa(i)), 0
		// Together: none is ready before it has seen the others.
		go func() {
			var err error
			c.Servers[i], err = StartMember(one)
			started <- err
		}()
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
		if s != nil && s.Server != nil {
			s.Stop()
		}
	}
}

// Ports of FreePorts lie below those that systems give to outgoing connections, else one of these
// could take a port before it is listened on, or while its server is away.
const lowestPort, highestPort = 15_000, 32_000

// ports counts those that were tried, from anywhere on: whoever was given one may not listen yet
// when the next one is looked for.
var ports = struct {
	sync.Mutex
	tried int
}{tried: rand.IntN(highestPort - lowestPort)}

// FreePorts finds ports that nobody listens on: every member must know all of them before any
// listens.
func FreePorts(n int) ([]int, error) {
	ports.Lock()
	defer ports.Unlock()
	var free []int
	for try := 0; len(free) < n; try++ {
		ports.tried++
		port := lowestPort + ports.tried%(highestPort-lowestPort)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			if try > 100*n {
				return nil, err
			}
			continue
		}
		defer l.Close()
		free = append(free, port)
	}
	return free, nil
}
