package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

// action is what the recruiter does to a candidate in Comeet's web app.
type action int

const (
	advance action = iota
	reject
	hire
	withdraw
	hold
	merge
	erase
)

// actions is a stretch of the recruiter's work; it is shuffled and done anew for ever.
var actions = []action{
	advance, advance, advance, advance, advance, advance, advance, advance, reject, reject, reject, hire, hire, withdraw, hold, merge, erase,
}

// poolSize bounds the candidates that the recruiter has an eye on; the oldest are forgotten first.
const poolSize = 200

// recruiter works on the candidates that the feed says are at Comeet. (Who deletes one before,
// while its submission is in doubt, gets it submitted again.)
type recruiter struct {
	app   comeettest.Recruiter
	view  *view
	rand  *rand.Rand
	rate  float64
	dealt []action
	pool  []applicant

	mu  sync.Mutex // guards new
	new []applicant
}

type applicant struct {
	id, uid string
	step    int
	held    bool
}

func newRecruiter(fake *comeettest.Server, v *view, s settings) *recruiter {
	return &recruiter{
		app: fake.Recruiter(comeettest.DefaultAccount), view: v, rand: rand.New(rand.NewPCG(s.Seed, 2)), rate: s.Rate / 3,
	}
}

// arrives tells the recruiter of a candidate.
func (r *recruiter) arrives(id, uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.new = append(r.new, applicant{id: id, uid: uid})
}

// run works until ctx ends.
func (r *recruiter) run(ctx context.Context) {
	for rest(ctx, time.Duration(float64(time.Second)/r.rate*(0.5+r.rand.Float64()))) {
		r.look()
		if len(r.pool) < 2 {
			continue
		}
		if len(r.dealt) == 0 {
			r.dealt = append(r.dealt, actions...)
			r.rand.Shuffle(len(r.dealt), func(i, j int) { r.dealt[i], r.dealt[j] = r.dealt[j], r.dealt[i] })
		}
		r.act(r.dealt[0])
		r.dealt = r.dealt[1:]
	}
}

// look takes up who has arrived.
func (r *recruiter) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pool = append(r.pool, r.new...)
	r.new = nil
	r.pool = r.pool[max(0, len(r.pool)-poolSize):]
}

// act does one thing to somebody, who leaves the pool when the process has ended.
func (r *recruiter) act(what action) {
	steps := comeettest.DefaultSteps()
	i := r.rand.IntN(len(r.pool))
	one := &r.pool[i]
	ends, did, detail := false, "", ""
	var err error
	switch {
	case one.held:
		one.held, did = false, "reopens"
		err = r.app.Reopen(one.uid)
	case what == advance && one.step+1 < len(steps):
		one.step++
		did, detail = "advances", "to "+steps[one.step].Name
		err = r.app.MoveToStep(one.uid, steps[one.step].Name)
	case what == hire, what == advance:
		ends, did = true, "hires"
		err = r.app.Hire(one.uid)
	case what == reject:
		ends, did, detail = true, "rejects", "Skills do not match"
		err = r.app.Reject(one.uid, detail)
	case what == withdraw:
		ends, did = true, "withdraws"
		err = r.app.Withdraw(one.uid)
	case what == hold:
		one.held, did = true, "holds"
		err = r.app.PutOnHold(one.uid)
	case what == merge:
		into := r.pool[(i+1)%len(r.pool)]
		ends, did, detail = true, "merges", "into "+into.id
		err = r.app.Merge(one.uid, into.uid)
	case what == erase:
		ends, did = true, "deletes"
		err = r.app.Delete(one.uid)
	}
	if err != nil {
		detail = err.Error()
	}
	r.view.line("recruiter", did, one.id, one.uid, detail, blue)
	if ends {
		r.pool = slices.Delete(r.pool, i, i+1)
	}
}
