package bus_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
)

// oldServer answers as a nats-server of that version does to who joins it, and to nothing else: any request is an error.
func oldServer(t *testing.T, version string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "INFO {\"server_id\":\"X\",\"version\":%q,\"jetstream\":true,\"headers\":true,\"max_payload\":1048576,\"proto\":1}\r\n", version)
		for in := bufio.NewScanner(c); in.Scan(); {
			switch verb, _, _ := strings.Cut(in.Text(), " "); verb {
			case "CONNECT":
			case "PING":
				fmt.Fprint(c, "PONG\r\n")
			default:
				t.Errorf("a server of version %s was asked: %s", version, in.Text())
				return
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return "nats://" + l.Addr().String()
}

func TestEnsureOnAnOldServer(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2.10.29", "2.11.9", "v2.2.0", "1.4.1", "2.11.0-RC.1"} {
		b := connect(t, oldServer(t, version), nil)
		err := b.Ensure(soon(t), layout)
		if err == nil || !strings.Contains(err.Error(), "the nats-server is "+version+"; 2.12 or newer is needed") {
			t.Errorf("%s: %v", version, err)
		}
		b.Close()
	}
}

// Where there is too little room, that is said with what to do, and nothing is made.
func TestEnsureWithoutRoom(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		configure func(*server.Options)
		says      []string
	}{
		"of the server": {func(o *server.Options) { o.JetStreamMaxStore = 10 << 20 }, []string{"it needs 64 MiB", "set EVENTS_MAX_BYTES lower", "max_file_store"}},
		"of the account": {func(o *server.Options) {
			a := server.NewAccount("SMALL")
			o.Accounts = []*server.Account{a}
			o.Users = []*server.User{{Username: "u", Password: "p", Account: a}}
			o.NoAuthUser = "u"
		}, []string{"it needs 64 MiB", "this account may store 10 MiB"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, bustest.Options{Configure: tt.configure})
			if name == "of the account" {
				a, err := s.LookupAccount("SMALL")
				if err != nil {
					t.Fatal(err)
				}
				if err := a.EnableJetStream(map[string]server.JetStreamAccountLimits{"": {MaxMemory: -1, MaxStore: 10 << 20, MaxStreams: -1, MaxConsumers: -1}}, nil); err != nil {
					t.Fatal(err)
				}
			}
			b := connect(t, s.ClientURL(), nil)
			err := b.Ensure(soon(t), layout)
			if err == nil {
				t.Fatal("it fits")
			}
			for _, says := range tt.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%v does not say %q", err, says)
				}
			}
			if strings.Contains(err.Error(), "raise the stream's max_bytes") {
				t.Errorf("%v advises the opposite", err)
			}
			if have := configs(t, library(t, s.ClientURL())); len(have) > 0 {
				t.Errorf("made nevertheless: %v", have)
			}
		})
	}
}
