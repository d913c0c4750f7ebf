package connector_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
)

// While Comeet denies reading, nothing is lost: the cursor waits.
func TestDeniedPollCatchesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(quick, func(c *connector.Config) { c.PollOverlap, c.DeniedRetry = time.Millisecond, 300*time.Millisecond })
	uids := w.follow(3)
	r := w.fake.Recruiter("default")
	r.Deny(comeettest.ReadOwnCandidates, comeettest.ReadOtherCandidates)
	refused := w.fake.Counts().ByRoute[comeettest.ListCandidates]
	w.counted("a denied poll", func(c comeettest.Counts) bool { return c.ByRoute[comeettest.ListCandidates] > refused })
	for _, uid := range uids {
		if err := r.Hire(uid); err != nil {
			t.Fatal(err)
		}
	}
	w.counted("a denied trial", func(c comeettest.Counts) bool { return c.ByRoute[comeettest.ListCandidates] > refused+1 })
	for _, uid := range uids {
		if n := len(w.read().statuses("default")[uid]); n != 1 {
			t.Errorf("candidate %s has %d status events while nobody may read it", uid, n)
		}
	}
	r.Grant(comeettest.ReadOwnCandidates, comeettest.ReadOtherCandidates)
	for _, uid := range uids {
		w.eventuallyTrue(uid)
		w.inOrder(uid)
	}
	w.check()
}

// refuse answers each look at a candidate with a fault, until it is allowed again.
func (w *world) refuse(uid string, f comeettest.Fault) (allow func()) {
	var mu sync.Mutex
	refused := true
	var arm func()
	arm = func() {
		w.fake.Control(comeettest.RetrieveCandidate, func(q comeettest.Request) (comeettest.Fault, bool) {
			mu.Lock()
			defer mu.Unlock()
			if !refused || !strings.HasSuffix(q.Path, "/"+uid) {
				return comeettest.Fault{}, false
			}
			arm()
			return f, true
		})
	}
	arm()
	return func() {
		mu.Lock()
		defer mu.Unlock()
		refused = false
	}
}

// One candidate that Comeet cannot show holds up neither the others nor the cursor, and is told when Comeet can, however far
// the cursor has moved by then.
func TestUnreadableCandidateHoldsUpNobody(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]comeettest.Fault{
		"an error page": comeettest.HTMLPage(500), "not authorised": comeettest.APIError(401, "unauthorized"), "no uid": comeettest.Answer(200, "{}"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			conf := func(c *connector.Config) {
				c.PollInterval, c.PollOverlap, c.AdminAddr = 50*time.Millisecond, 100*time.Millisecond, "127.0.0.1:0"
			}
			first := w.run(conf)
			uids := w.follow(4)
			r := w.fake.Recruiter("default")
			allow := w.refuse(uids[0], f)
			for _, uid := range uids {
				if err := r.Delete(uid); err != nil {
					t.Fatal(err)
				}
			}
			at := w.truth("default", uids[0]).TimeHiringProcessUpdated
			for _, uid := range uids[1:] {
				w.eventuallyTrue(uid)
			}
			w.eventually("the cursor to leave the deletion behind", func() bool {
				return w.cursors().pollStarted("poll.default").After(at.Add(3 * time.Second))
			})
			if shown := metrics(t, first); !strings.Contains(shown, `comeet_connector_poll_unread_candidates{account="default"} 1`) {
				t.Errorf("the unread candidate is not counted")
			}
			first.stop(w)
			if st := w.last(uids[0]); st.Deleted {
				t.Error("a candidate counts as deleted before it was looked at: it may have been merged")
			}
			allow()
			second := w.run(conf)
			w.eventuallyTrue(uids[0])
			w.eventually("nobody to be left", func() bool {
				return strings.Contains(metrics(t, second), `comeet_connector_poll_unread_candidates{account="default"} 0`)
			})
			w.check()
		})
	}
}

// What a list calls deleted, and at whose address Comeet has nothing, is deleted, but not at once: a gateway may say so for a
// while. Many of them are no sign of a sick Comeet.
func TestDeletedWithoutAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeWith(comeettest.WithSwitches(comeettest.Switches{DeletedGetPage: 410, MergedInDeleted: true})))
	w.run(quick, func(c *connector.Config) { c.PollOverlap = time.Second })
	uids := w.follow(12)
	r := w.fake.Recruiter("default")
	allow := w.refuse(uids[11], comeettest.HTMLPage(404))
	if err := r.Merge(uids[11], uids[10]); err != nil {
		t.Fatal(err)
	}
	for _, uid := range uids[:10] {
		if err := r.Delete(uid); err != nil {
			t.Fatal(err)
		}
	}
	// After a few polls the next one is held up.
	few, checked := make(chan struct{}), make(chan struct{})
	polls := 0
	remove := w.fake.Control(comeettest.ListCandidates, func(comeettest.Request) (comeettest.Fault, bool) {
		if polls++; polls == 6 {
			close(few)
			<-checked
		}
		return comeettest.Fault{}, false
	})
	<-few
	for _, uid := range uids {
		if st := w.last(uid); st.Deleted || st.Merged {
			t.Errorf("candidate %s is told to be gone after few polls", uid)
		}
	}
	remove()
	close(checked)
	allow()
	for _, uid := range append(uids[:10:10], uids[11]) {
		w.eventuallyTrue(uid)
		w.inOrder(uid)
	}
	if strings.Contains(w.logs.String(), "breaker open") {
		t.Error("the breaker has opened")
	}
	w.check()
}

// A candidate that this integration may not see any more, told by 403, is no verdict on the permission to read. If a list calls it
// deleted, it is.
func TestForbiddenCandidateHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(quick)
	uids := w.follow(4)
	r := w.fake.Recruiter("default")
	w.refuse(uids[0], comeettest.APIError(403, "no_permission"))
	for _, uid := range uids {
		if err := r.Delete(uid); err != nil {
			t.Fatal(err)
		}
	}
	for _, uid := range uids {
		w.eventuallyTrue(uid)
	}
	if strings.Contains(w.logs.String(), "Comeet denies") {
		t.Error("one candidate's address has denied reading")
	}
	w.check()
}
