package owner

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Names that differ in one character share the accounts evenly, and one that leaves moves only what
// it had.
func TestOwnerOf(t *testing.T) {
	t.Parallel()
	const accounts = 3000
	members := []string{"replica-1", "replica-2", "replica-3"}
	served := map[string]int{}
	for n := range accounts {
		account := fmt.Sprint("account", n)
		before := ownerOf(account, members)
		served[before]++
		if after := ownerOf(account, members[:2]); before != "replica-3" && after != before {
			t.Errorf("%s moves from %s to %s although its owner stays", account, before, after)
		}
	}
	for _, m := range members {
		if n := served[m]; n < accounts/4 || n > accounts/2 {
			t.Errorf("%s serves %d of %d", m, n, accounts)
		}
	}
	if got := ownerOf("account", nil); got != "" {
		t.Errorf("%q owns an account, but nobody is alive", got)
	}
}

// Own waits until this replica is a member, and its context ends when it is none any more.
func TestOwnEndsWithOwnership(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &Members{self: "me", ttl: time.Second}
		got := make(chan context.Context)
		go func() {
			owned, release, err := m.Own(t.Context(), "acme")
			if err != nil {
				t.Error(err)
			}
			defer release()
			got <- owned
			<-owned.Done()
			close(got)
		}()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("it owns an account before anybody is known to be alive")
		default:
		}
		m.see(map[string]time.Time{"me": time.Now()})
		owned := <-got
		m.see(map[string]time.Time{"me": time.Now()})
		synctest.Wait()
		if owned.Err() != nil {
			t.Error("it ended although nothing has changed")
		}
		m.see(map[string]time.Time{"another": time.Now()})
		<-got
		if m.Owns("acme") {
			t.Error("it still owns the account")
		}
	})
}

// A member lives as long as it renews its key, whatever keys are there.
func TestMembersLiveByTheirAge(t *testing.T) {
	t.Parallel()
	server := time.Now().Add(-5 * time.Hour) // no clock of this host is asked
	m := &Members{self: "me", ttl: 10 * time.Second}
	for _, tt := range []struct {
		name         string
		ages         map[string]time.Duration
		live, ghosts []string
	}{
		{"alone", map[string]time.Duration{"me": 0}, []string{"me"}, nil},
		{"all renew", map[string]time.Duration{"me": 3 * time.Second, "a": 0, "b": 9 * time.Second}, []string{"a", "b", "me"}, nil},
		{"a server that is late with its marks", map[string]time.Duration{"me": 0, "a": 25 * time.Second}, []string{"a", "me"}, nil},
		{"one fell silent", map[string]time.Duration{"me": 0, "a": 31 * time.Second}, []string{"me"}, nil},
		{"ghosts", map[string]time.Duration{"me": 0, "a": 10 * time.Minute, "b": 24 * time.Hour}, []string{"me"}, []string{"a", "b"}},
		{"this one fell silent", map[string]time.Duration{"me": time.Minute, "a": 0}, []string{"a"}, nil},
		{"nobody", nil, nil, nil},
	} {
		renewed := map[string]time.Time{}
		for key, age := range tt.ages {
			renewed[key] = server.Add(-age)
		}
		m.see(renewed)
		live, _ := m.live.Get()
		ghosts, _ := m.ghosts.Get()
		if !slices.Equal(live, tt.live) || !slices.Equal(ghosts, tt.ghosts) {
			t.Errorf("%s: %v live and %v are ghosts, want %v and %v", tt.name, live, ghosts, tt.live, tt.ghosts)
		}
	}
}
