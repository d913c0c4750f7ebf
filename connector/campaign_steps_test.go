package connector_test

import (
	"context"
	"fmt"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

// points are where a replica may fall: at a message of the flow that goes to the bus.
var points = []string{
	"candidate.submission.claimed.", "candidate.submission.accepted.", "candidate.submission.failed.", "candidate.status.changed.",
	"deadletter.candidate.sourced.", "$KV." + bus.CursorsBucket + ".poll.", "$KV." + bus.CursorsBucket + ".budget.", "$JS.ACK.",
}

// step lets one thing happen.
func (c *campaign) step(offices map[string]*office) {
	switch c.IntN(20) {
	case 0, 1, 2, 3, 4, 5:
		c.source()
	case 6, 7, 8, 9:
		c.fault()
	case 10:
		f := []comeettest.Fault{comeettest.HTMLPage(503), comeettest.Refuse(), comeettest.Drop(), comeettest.Hang()}[c.IntN(4)]
		scope := comeettest.Scope{}
		if c.coin() {
			scope.Account = c.account()
		}
		c.tell("outage of %+v: %v", scope, f)
		c.fake.OutageOf(scope, f)
		c.elapse(c.ms(400))
		c.fake.RecoverOf(scope)
		c.tell("outage over")
	case 11, 12:
		c.start()
	case 13, 14:
		c.strike()
	case 15:
		if c.clustered || c.IntN(3) == 0 {
			i, down := c.IntN(len(c.nats.urls())), c.ms(300)
			if leader, ok := c.leader(); ok && c.coin() {
				i = leader
			}
			if c.coin() {
				if ps, ok := c.nats.(processes); ok {
					down *= 5
					c.tell("nats-server %d hangs for %v", i, down)
					c.disarm = append(c.disarm, ps.hang(i, down))
					return
				}
			}
			c.tell("nats-server %d dies and is back after %v", i, down)
			if err := c.nats.crash(i, down); err != nil {
				c.Fatal(err)
			}
		}
	case 16:
		if running := c.running(); len(running) > 0 {
			r, lag := running[c.IntN(len(running))], c.ms(20)
			c.tell("network of %s slows down by %v", r.name, lag)
			r.proxy.lag.Store(int64(lag))
			time.AfterFunc(c.ms(500), func() { r.proxy.lag.Store(0) })
		}
	case 17:
		c.operate()
	case 18, 19:
		account := c.account()
		o := offices[account]
		o.uids = o.uids[:0]
		for uid := range c.read().statuses(account) {
			o.uids = append(o.uids, uid)
		}
		for range 1 + c.IntN(4) {
			o.act()
		}
		c.tell("recruiters of %s at work", account)
	}
}

// leader is the server of a cluster that leads the events stream.
func (c *campaign) leader() (i int, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s, err := c.js.Stream(ctx, bus.EventsStream)
	if err != nil || s.CachedInfo().Cluster == nil {
		return 0, false
	}
	_, err = fmt.Sscanf(s.CachedInfo().Cluster.Leader, serverName+"%d", &i)
	return i, err == nil
}

// source publishes events.
func (c *campaign) source() {
	for range 1 + c.IntN(6) {
		c.sent++
		id := fmt.Sprint("e", c.sent)
		switch d := person(c.sent); {
		case c.IntN(3) > 0:
			if c.IntN(4) == 0 {
				d.Position = events.Position{CustomID: "DA-1"}
			}
			account := c.account()
			c.publishTo(account, source, id, d)
			if c.IntN(6) == 0 {
				c.publishTo(account, source, id+"-again", d)
			}
		case c.IntN(4) == 0:
			// Another service counts its candidates alike.
			d.Candidate.ID = fmt.Sprintf("src-%d", c.sent-1)
			c.publishTo(c.account(), "/sourcing/other", id, d)
		case c.clustered:
			// What has no readable identity must not be published twice, as an acknowledgement that is lost makes us do.
			d.Position = events.Position{UID: "99.999"}
			c.publishTo("default", source, id, d)
			c.published[len(c.published)-1].want = string(events.ReasonPositionNotFound)
		default:
			c.publishAny(c.Rand, c.sent)
		}
	}
	c.tell("%d events in all", c.sent)
}

// fault lets something go wrong with the next request of a route.
func (c *campaign) fault() {
	fs := []comeettest.Fault{
		comeettest.DropAfter(), comeettest.Drop(), comeettest.HTMLPage(503), comeettest.ActThen(comeettest.HTMLPage(502)),
		comeettest.ActThen(comeettest.Redirect()), comeettest.Empty(), comeettest.ActThen(comeettest.Truncated()), comeettest.ActThen(comeettest.Hang()),
		comeettest.Hang(), comeettest.WrongJSON(), comeettest.ActThen(comeettest.WrongJSON()), comeettest.Delay(200 * time.Millisecond),
		comeettest.DelayAnswer(200 * time.Millisecond), comeettest.APIError(500, "internal_error"), comeettest.HTMLPage(403), comeettest.HTMLPage(404),
		comeettest.HTMLPage(400), comeettest.ActThen(comeettest.HTMLPage(400)), comeettest.APIError(401, "unauthorized"),
	}
	routes := []comeettest.Route{
		comeettest.CreateCandidate, comeettest.CreateCandidate, comeettest.CreateCandidate, comeettest.ListCandidates, comeettest.RetrieveCandidate,
		comeettest.ListDeletedCandidates, comeettest.ListPositions,
	}
	f, route := fs[c.IntN(len(fs))], routes[c.IntN(len(routes))]
	switch c.IntN(8) {
	case 0:
		// A capability that Comeet denies. To read candidates is not among them: blind, and with a recruiter's move at the same moment,
		// both nets of settling would be down.
		f, route = comeettest.APIError(403, "no_permission"), []comeettest.Route{comeettest.CreateCandidate, comeettest.ListPositions}[c.IntN(2)]
	case 1:
		if c.limited {
			f = comeettest.Throttle(0)
		}
	}
	c.fake.Script(route, f)
	c.tell("fault on %s: %v", route, f)
}

// strike hits a replica.
func (c *campaign) strike() {
	running := c.running()
	if len(running) == 0 {
		return
	}
	r := running[c.IntN(len(running))]
	long := time.Duration(200+c.IntN(1200)) * time.Millisecond
	switch c.IntN(6) {
	case 0:
		c.tell("%s is killed", r.name)
		r.kill()
	case 1:
		c.tell("%s freezes for %v", r.name, long)
		r.freeze()
		time.AfterFunc(long, r.thaw)
	case 2:
		if len(running) > 1 {
			c.tell("%s is stopped in order", r.name)
			r.stop()
		}
	case 3, 4:
		t := trip{subject: points[c.IntN(len(points))], stored: c.coin()}
		if c.coin() {
			t.frozen, t.heard = long, c.coin()
		}
		c.disarm = append(c.disarm, r.arm(t, c.tell))
		c.tell("%s will fall at %+v", r.name, t)
	case 5:
		acts := c.coin()
		c.tell("%s will die when a candidate is next posted (acted: %v)", r.name, acts)
		c.disarm = append(c.disarm, c.fake.Control(comeettest.CreateCandidate, func(comeettest.Request) (comeettest.Fault, bool) {
			c.tell("%s dies while a candidate is posted", r.name)
			r.kill()
			if acts {
				return comeettest.DropAfter(), true
			}
			return comeettest.Drop(), true
		}))
	}
}

// operate is what operators, and the world at large, do.
func (c *campaign) operate() {
	account := c.account()
	switch c.IntN(4) {
	case 0:
		c.tell("account %s is paused", account)
		c.asOperator(func(ctx context.Context, o *ops.Client) error { return o.PauseAccount(ctx, account, "drawn") })
	case 1:
		c.tell("account %s is resumed", account)
		c.resume(account)
	case 2:
		c.tell("the consumer of %s is deleted", account)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = c.js.DeleteConsumer(ctx, bus.SourcedStream, "comeet-"+account) // it may not exist yet
	case 3:
		if !c.sweeps && c.jumps > 0 {
			return // a clock that is set back, and forward again before the next complete poll, is the sweep's
		}
		c.offset += time.Duration(c.IntN(41)-20) * time.Second
		c.tell("Comeet's clock jumps to an offset of %v", c.offset)
		c.fake.SetClockOffset(c.offset)
		c.jumps++
	}
}

func (c *campaign) resume(account string) {
	c.asOperator(func(ctx context.Context, o *ops.Client) error {
		_, err := o.ResumeAccount(ctx, account)
		return err
	})
}

func (c *campaign) asOperator(do func(context.Context, *ops.Client) error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	o, err := ops.Open(ctx, ops.Config{NATSURL: c.NATSURL})
	if err != nil {
		c.Fatal(err)
	}
	defer o.Close()
	if err := do(ctx, o); err != nil {
		c.Fatal(err)
	}
}
