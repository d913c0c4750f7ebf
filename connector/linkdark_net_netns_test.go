//go:build netns

package connector_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

// The hub is a network namespace in which the test binary runs a second time, with the bus, Comeet and
// the test itself in it. Each replica is a process in a namespace of its own. Two pairs of virtual
// cables join it to the hub: one to the bus, one to a bridge behind which Comeet is. No namespace has a
// name or a way out, so all of them vanish with their processes, however these end.

// hubEnv tells the test binary that it runs in the hub.
const hubEnv = "CONNECTOR_TEST_HUB"

// inHub runs the test that calls it once more, in a hub, with those of its scenarios that -run asks for.
func inHub(t *testing.T, deadline string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root; run this test as root, or leave the tag netns out")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatalf("this test needs the command ip, install iproute2: %v", err)
	}
	_, scenarios, _ := strings.Cut(flag.Lookup("test.run").Value.String(), "/")
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$/"+scenarios, "-test.timeout="+deadline, "-test.parallel=64", fmt.Sprint("-test.v=", testing.Verbose()))
	cmd.Env = append(os.Environ(), hubEnv+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok && failed.Exited() {
		t.Fatal("failed in its network namespace, as printed above")
	}
	if err != nil {
		t.Fatalf("could not run in a network namespace: %v", err)
	}
}

const noIPv6 = "/proc/sys/net/ipv6/conf/%s/disable_ipv6"

// prepareHub prepares the namespace that this process runs in.
func prepareHub(t *testing.T) {
	t.Helper()
	// IPv6 would speak on its own initiative, where nothing may be heard.
	for _, of := range []string{"all", "default"} {
		if err := os.WriteFile(fmt.Sprintf(noIPv6, of), []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	ip(t, "link set lo up")
}

// ip runs commands of ip(8), one a line.
func ip(t testing.TB, commands ...string) {
	t.Helper()
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ip: %v: %s in:\n%s", err, bytes.TrimSpace(out), strings.Join(commands, "\n"))
	}
}

var segments atomic.Int64

// segment is one scenario's network towards Comeet.
type segment struct {
	number   int64
	bridge   string
	replicas int
}

// newSegment makes the bridge behind which Comeet is.
func newSegment(t testing.TB) *segment {
	t.Helper()
	n := segments.Add(1)
	p := &segment{number: n, bridge: fmt.Sprint("br", n)}
	ip(t,
		// The bridge has an address of its own: that of a cable, which is what it takes otherwise,
		// would be heard there too once that cable is off the bridge.
		fmt.Sprintf("link add %s address %s type bridge mcast_snooping 0", p.bridge, p.mac(1)),
		fmt.Sprintf("addr add %s/24 dev %s", p.comeet(), p.bridge),
		fmt.Sprintf("link set %s up", p.bridge))
	t.Cleanup(func() { ip(t, "link del "+p.bridge) })
	return p
}

func (p *segment) mac(host int) string     { return fmt.Sprintf("02:00:00:00:%02x:%02x", p.number, host) }
func (p *segment) address(host int) string { return fmt.Sprintf("10.2.%d.%d", p.number, host) }
func (p *segment) comeet() string          { return p.address(1) }
func (p *segment) bus(replica int) string  { return fmt.Sprintf("10.%d.%d.1", 100+replica, p.number) }

// farReplica is a replica in a namespace of its own.
type farReplica struct {
	*process
	name string
	// host is its address towards Comeet.
	host string
	// cable is the hub's end of its way to Comeet, bridge where it is plugged in.
	cable, bridge string
}

// enter starts a replica in a namespace of its own. Its configuration names the bus's port in place
// of a URL.
func (p *segment) enter(t testing.TB, c child, env ...string) *farReplica {
	t.Helper()
	p.replicas++
	r, host := p.replicas, 10+p.replicas
	a := &farReplica{name: c.Replica, host: p.address(host), cable: fmt.Sprintf("c%dr%d", p.number, r), bridge: p.bridge}
	cmd := exec.Command("/bin/sh", "-c", strings.Join([]string{
		"set -e",
		"read -r _",
		// Neighbours are fixed: a host that asks for one in vain tells its own programs that nobody
		// is there, which a cut further down a real network does not.
		fmt.Sprintf("if [ -e %[1]s ]; then echo 1 >%[1]s; fi", fmt.Sprintf(noIPv6, "all")),
		"ip link set lo up",
		fmt.Sprintf("ip addr add %s/24 dev comeet", a.host),
		"ip link set comeet up",
		fmt.Sprintf("ip neigh replace %s lladdr %s dev comeet nud permanent", p.comeet(), p.mac(1)),
		fmt.Sprintf("ip addr add %s/24 dev bus", strings.TrimSuffix(p.bus(r), "1")+"2"),
		"ip link set bus up",
		`exec "$0"`,
	}, "\n"), os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	begin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.NATSURL = "nats://" + net.JoinHostPort(p.bus(r), c.NATSURL)
	a.process = startChildBy(t, cmd, c)
	pid := cmd.Process.Pid
	// A killed process leaves its connections to the kernel; the namespace must stay for them as a
	// host does.
	kept, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kept.Close() })
	bus := fmt.Sprintf("b%dr%d", p.number, r)
	ip(t,
		fmt.Sprintf("link add %s type veth peer name comeet address %s netns %d", a.cable, p.mac(host), pid),
		fmt.Sprintf("link set %s master %s up", a.cable, p.bridge),
		fmt.Sprintf("neigh replace %s lladdr %s dev %s nud permanent", a.host, p.mac(host), p.bridge),
		fmt.Sprintf("link add %s type veth peer name bus netns %d", bus, pid),
		fmt.Sprintf("addr add %s/24 dev %s", p.bus(r), bus),
		fmt.Sprintf("link set %s up", bus))
	t.Cleanup(func() { ip(t, "link del "+a.cable, "link del "+bus) })
	if _, err := begin.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	return a
}

// cut takes the cable off the bridge: what either side sends is lost silently. It returns a
// check that it was so.
func (a *farReplica) cut(t testing.TB) (wasSilent func()) {
	t.Helper()
	ip(t, fmt.Sprintf("link set %s nomaster", a.cable))
	before := a.heard(t)
	return func() {
		t.Helper()
		if n := a.heard(t) - before; n != 0 {
			t.Errorf("%s heard %d frames while its link was dark", a.name, n)
		}
		if i, err := net.InterfaceByName(a.cable); err != nil || i.Flags&net.FlagRunning == 0 {
			t.Errorf("%s's link lost its carrier while it was dark: %v", a.name, err)
		}
		if n := a.icmp(); n != 0 {
			t.Errorf("%s's host got %d ICMP messages", a.name, n)
		}
	}
}

// mend plugs the cable in again.
func (a *farReplica) mend(t testing.TB) {
	t.Helper()
	ip(t, fmt.Sprintf("link set %s master %s", a.cable, a.bridge))
}

// heard counts the frames that the hub has sent into the cable.
func (a *farReplica) heard(t testing.TB) int {
	t.Helper()
	all, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(all)) {
		name, counts, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) != a.cable {
			continue
		}
		n, err := strconv.Atoi(strings.Fields(counts)[9])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Fatalf("no interface %s", a.cable)
	return 0
}

// icmp counts the ICMP messages that came to the replica's host, its own included. A dead process
// shows none.
func (a *farReplica) icmp() int {
	all, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/snmp", a.cmd.Process.Pid))
	for line := range strings.Lines(string(all)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Icmp:" && f[1] != "InMsgs" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

// stuck are the replica's connections to Comeet, by their own port, that hold bytes which Comeet
// has not acknowledged.
func (a *farReplica) stuck() map[string]bool {
	all, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", a.cmd.Process.Pid))
	ports := map[string]bool{}
	for line := range strings.Lines(string(all)) {
		// Local and remote address, state (01 is established), send and receive queue.
		f := strings.Fields(line)
		if len(f) < 5 || f[3] != "01" || !strings.HasSuffix(f[2], fmt.Sprintf(":%04X", comeetPort)) {
			continue
		}
		if out, _, _ := strings.Cut(f[4], ":"); strings.Trim(out, "0") != "" {
			_, port, _ := strings.Cut(f[1], ":")
			ports[port] = true
		}
	}
	return ports
}

// hubBus is a nats-server that all namespaces reach.
func hubBus(t testing.TB) servers {
	t.Helper()
	ports, err := bustest.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := bustest.Start(bustest.Options{Dir: t.TempDir(), Port: ports[0], Configure: func(o *server.Options) { o.Host = "0.0.0.0" }})
	if err != nil {
		t.Fatal(err)
	}
	return embedded{s}
}
