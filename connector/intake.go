package connector

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// maxAckPending is what the bus is told of how many events may be out. It has to be more than the
// workers: an event that was put back to come again, and those that a crashed replica held, count
// until they come, and must not keep the others waiting. It needs no exact bound, since what is
// fetched is bounded by permits.
func maxAckPending(workers int) int { return workers + 1000 }

// take is the first step of the flow: a free worker, a permit to send one request, and only then
// one event. So nothing ages in a queue of ours, and while Comeet is down or the budget is spent
// nothing is fetched at all.
//
// It ends when ctx does, after the events in hand have come to an end of their own.
func (a *account) take(ctx context.Context) error {
	workers := make(chan struct{}, a.cfg.Workers)
	pool := workerPool{next: make(chan delivery), handle: func(d delivery) {
		defer func() { <-workers }()
		a.handle(ctx, d.msg, d.permit)
	}}
	defer pool.wait()
	for {
		a.progress.asking.Store(false)
		permits, err := a.permits(ctx, workers)
		if err != nil {
			return nil
		}
		a.progress.asking.Store(true)
		// Interrupted is asked for after the permits were given: what closes it from now on makes
		// them void.
		pull, cancel := context.WithCancel(ctx)
		stop := cancelOn(pull, cancel, a.gate.Interrupted(comeet.CanSubmit), a.capacity.Full())
		err = a.consumer.Fetch(pull, len(permits), func(m *bus.Msg) {
			pool.take(delivery{m, permits[0]})
			permits = permits[1:]
		})
		cancel()
		stop()
		for _, p := range permits {
			p.Release()
			<-workers
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, bus.ErrAssetDeleted):
			return err
		case err != nil && !errors.Is(err, context.Canceled):
			a.log.Warn().Err(err).Msg("could not fetch; trying again")
			if !bus.Sleep(ctx, time.Second) {
				return nil
			}
		}
	}
}

// permits waits until at least one worker is free, the ledger has room and one request may be sent,
// and takes what else is free right now.
func (a *account) permits(ctx context.Context, workers chan struct{}) ([]*comeet.Permit, error) {
	select {
	case workers <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if len(workers) > cap(workers)-cap(workers)/8 {
		// Nearly all workers are busy. Yield once: workers that finish now can share one pull,
		// which costs both sides as much as several messages.
		runtime.Gosched()
	}
	if err := a.capacity.wait(ctx); err != nil {
		<-workers
		return nil, err
	}
	first, err := a.gate.Acquire(ctx, comeet.Submit, comeet.CanSubmit)
	if err != nil {
		<-workers
		return nil, err
	}
	permits := []*comeet.Permit{first}
	for len(permits) < a.cfg.Workers {
		select {
		case workers <- struct{}{}:
		default:
			return permits, nil
		}
		p, ok := a.gate.TryAcquire(comeet.Submit, comeet.CanSubmit)
		if !ok {
			<-workers
			return permits, nil
		}
		permits = append(permits, p)
	}
	return permits, nil
}

// delivery is one event and the permit that it was fetched with.
type delivery struct {
	msg    *bus.Msg
	permit *comeet.Permit
}

// workerPool handles deliveries in goroutines that are used again: the stack of one has grown to
// what the work needs, which saves a tenth of the CPU under a backlog. An idle one ends soon: with
// a thousand accounts, each would keep its own.
type workerPool struct {
	handle func(delivery)
	next   chan delivery
	wg     sync.WaitGroup
}

func (p *workerPool) take(d delivery) {
	select {
	case p.next <- d:
	default:
		p.wg.Go(func() { p.work(d) })
	}
}

func (p *workerPool) work(d delivery) {
	for open := true; open; {
		p.handle(d)
		select {
		case d, open = <-p.next:
		case <-time.After(100 * time.Millisecond):
			return
		}
	}
}

// wait ends the idle workers and waits for the others.
func (p *workerPool) wait() {
	close(p.next)
	p.wg.Wait()
}

// cancelOn cancels when one of two signals comes; the returned function waits until it no longer
// listens.
func cancelOn(ctx context.Context, cancel context.CancelFunc, one, other <-chan struct{}) func() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-one:
			cancel()
		case <-other:
			cancel()
		case <-ctx.Done():
		}
	}()
	return func() { <-done }
}
