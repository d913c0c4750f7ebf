package connector_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

// servers is what a world's bus runs on.
type servers interface {
	// urls are the addresses of all servers.
	urls() []string
	// crash ends one server the hard way, or the nearest that its kind can do, and starts it again some time later.
	crash(i int, down time.Duration) error
	stop()
}

// embedded is one server in this process. It can only be ended in order.
type embedded struct{ *bustest.Server }

func (e embedded) urls() []string { return []string{e.ClientURL()} }
func (e embedded) stop()          { e.Stop() }

func (e embedded) crash(_ int, down time.Duration) error {
	e.Stop()
	<-time.After(down)
	return e.Restart()
}

// The test binary is also a nats-server that tests kill.
const serverEnv = "CONNECTOR_TEST_SERVER"

// serverChild is what such a process is told. With peers it is one of a cluster.
type serverChild struct {
	Dir, Name         string
	Port, ClusterPort int
	Peers             []int
}

// main runs the server until standard input ends, as it does when the test is over or dies.
func (c serverChild) main() error {
	o := bustest.Options{Dir: c.Dir, Port: c.Port}
	var s *bustest.Server
	var err error
	if len(c.Peers) > 0 {
		s, err = bustest.StartMember(bustest.Member{Options: o, Name: c.Name, ClusterPort: c.ClusterPort, Peers: c.Peers})
	} else {
		s, err = bustest.Start(o)
	}
	if err != nil {
		return err
	}
	fmt.Println(serverUp)
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Stop()
	return nil
}

const (
	serverUp   = "up"
	serverName = "server-"
)

// processes are nats-servers in processes of their own.
type processes []*serverProcess

type serverProcess struct {
	child serverChild
	cmd   *exec.Cmd
	stdin io.Closer
}

// startServers starts one server, or a cluster of several.
func startServers(t testing.TB, n int) processes {
	t.Helper()
	ports, err := bustest.FreePorts(2 * n)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ps := make(processes, n)
	began := make(chan error, n)
	for i := range ps {
		c := serverChild{Dir: filepath.Join(dir, strconv.Itoa(i)), Port: ports[i]}
		if n > 1 {
			c.Name, c.ClusterPort, c.Peers = fmt.Sprint(serverName, i), ports[n+i], ports[n:]
		}
		ps[i] = &serverProcess{child: c}
		go func() { began <- ps[i].start() }()
	}
	for range ps {
		err = errors.Join(err, <-began)
	}
	if err != nil {
		ps.stop()
		t.Fatal(err)
	}
	return ps
}

func (p *serverProcess) start() error {
	raw, err := json.Marshal(p.child)
	if err != nil {
		return err
	}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), serverEnv+"="+string(raw)), os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == serverUp {
			return nil
		}
	}
	_ = p.cmd.Wait()
	return errors.New("a nats-server did not come up")
}

// kill ends the process as a crash does.
func (p *serverProcess) kill() {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.stdin.Close()
	}
}

func (ps processes) urls() []string {
	var urls []string
	for _, p := range ps {
		urls = append(urls, "nats://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(p.child.Port)))
	}
	return urls
}

func (ps processes) crash(i int, down time.Duration) error {
	ps[i].kill()
	<-time.After(down)
	return ps[i].start()
}

// hang stops a server for some time, as a disk does that does not answer; goOn ends that early.
func (ps processes) hang(i int, d time.Duration) (goOn func()) {
	p := ps[i].cmd.Process
	_ = p.Signal(syscall.SIGSTOP)
	goOn = func() { _ = p.Signal(syscall.SIGCONT) }
	time.AfterFunc(d, goOn)
	return goOn
}

func (ps processes) stop() {
	for _, p := range ps {
		p.kill()
	}
}
