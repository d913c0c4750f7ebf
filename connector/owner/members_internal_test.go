package owner

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
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
		m := &Members{self: "me"}
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
		m.see(map[string]struct{}{"me": {}})
		owned := <-got
		m.see(map[string]struct{}{"me": {}})
		synctest.Wait()
		if owned.Err() != nil {
			t.Error("it ended although nothing has changed")
		}
		m.see(map[string]struct{}{"another": {}})
		<-got
		if m.Owns("acme") {
			t.Error("it still owns the account")
		}
	})
}
