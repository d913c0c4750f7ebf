package connector_test

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/connector/ops"
	"github.com/comeet-connector/comeet-connector/events"
)

// A position was closed by mistake, and candidates for it were refused. When it is open again, an operator replays what was refused for
// that one reason. The operator needs the bus alone, no credentials of Comeet.
func Example_replay() {
	ctx, stop := context.WithTimeout(context.Background(), bustest.Stretch(20*time.Second))
	defer stop()
	fake := comeettest.New()
	defer fake.Close()
	natsURL, end, err := startBus()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer end()
	c, err := connector.New(connector.Config{
		NATSURL: natsURL, BaseURL: fake.URL(), AdminAddr: "off", EventsMaxBytes: 1 << 30, Log: zerolog.Nop(), PositionsInterval: time.Second,
		Accounts: []connector.Account{{
			Name: "default", Credentials: comeet.StaticCredentials(comeettest.DefaultAPIKey, comeettest.DefaultSecret),
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	running, drain := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(running) }()
	defer func() {
		drain()
		if err := <-ended; err != nil {
			fmt.Println(err)
		}
	}()
	<-c.Ready()

	recruiter := fake.Recruiter("default")
	_ = recruiter.ClosePosition(comeettest.DefaultPositionUID)
	_, err = publishOne(ctx, natsURL)
	fmt.Println("first:", err)
	_ = recruiter.ReopenPosition(comeettest.DefaultPositionUID)

	operator, err := ops.Open(ctx, ops.Config{NATSURL: natsURL})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer operator.Close()
	letters, err := operator.List(ctx, ops.LetterFilter{Reason: events.ReasonPositionClosed})
	if err != nil {
		fmt.Println(err)
		return
	}
	var seqs []uint64
	for _, l := range letters {
		seqs = append(seqs, l.Seq)
	}
	// Anyway, since the connector may not have read the positions since then. It reads them before it refuses again.
	err = operator.Replay(ctx, seqs, ops.ReplayOptions{Anyway: true}, func(r ops.Replayed) {
		fmt.Println("replayed:", r.Sent)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	outcome, err := firstOutcome(ctx, natsURL, events.TypeAccepted)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("then:", outcome.Data.(*events.Accepted).Outcome)
	// Output:
	// first: position_closed: the position is closed (uid 87.405); publish for another one, or set a fallback position
	// replayed: true
	// then: created
}
