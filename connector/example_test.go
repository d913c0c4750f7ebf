package connector_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
	"github.com/comeet-connector/comeet-connector/connector"
	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
)

// Run a connector inside your own program: here one candidate of a sourcing service, up to its outcome. In production the bus is yours,
// BaseURL is left out, and the credentials come from a file or the environment.
func Example() {
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
		NATSURL: natsURL, BaseURL: fake.URL(), AdminAddr: "off", EventsMaxBytes: 1 << 30, Log: zerolog.Nop(),
		Accounts: []connector.Account{{
			Name: "default", Credentials: comeet.StaticCredentials(comeettest.DefaultAPIKey, comeettest.DefaultSecret),
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	running, drain := context.WithCancel(ctx)
	defer drain()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(running) }()
	select {
	case <-c.Ready():
	case err := <-ended:
		fmt.Println("did not start:", err)
		return
	}

	outcome, err := publishOne(ctx, natsURL)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(outcome.Outcome, "at position", outcome.PositionUID, "for event", outcome.Sourced.ID)
	fmt.Println("candidates at Comeet:", len(fake.Candidates("default")))

	drain() // as a SIGTERM does: what is in hand comes to its end
	fmt.Println("ended with", <-ended)
	// Output:
	// created at position 87.405 for event a7c1
	// candidates at Comeet: 1
	// ended with <nil>
}

// publishOne is the other side, a sourcing service that publishes one event and follows its outcome.
func publishOne(ctx context.Context, natsURL string) (*events.Accepted, error) {
	nc, err := nats.Connect(natsURL)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	header, body, err := events.Encode(events.New("/sourcing/scout", "a7c1", &events.Sourced{
		Candidate: events.Candidate{ID: "src-10293", FirstName: "Noor", LastName: "Lindqvist", Email: "noor@example.test"},
		Position:  events.Position{UID: comeettest.DefaultPositionUID},
	}))
	if err != nil {
		return nil, err
	}
	if _, err := js.PublishMsg(ctx, &nats.Msg{Subject: events.SourcedSubject("default"), Header: header, Data: body}); err != nil {
		return nil, err
	}
	outcome, err := firstOutcome(ctx, natsURL, "candidate.submission.*")
	if err != nil {
		return nil, err
	}
	switch d := outcome.Data.(type) {
	case *events.Accepted:
		return d, nil
	case *events.Failed:
		return nil, fmt.Errorf("%s: %s", d.Reason, d.Message)
	}
	return nil, fmt.Errorf("%s is no outcome", outcome.Type())
}

// firstOutcome waits for the first outcome of a type.
func firstOutcome(ctx context.Context, natsURL, kind string) (events.Event, error) {
	nc, err := nats.Connect(natsURL)
	if err != nil {
		return events.Event{}, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return events.Event{}, err
	}
	outcomes, err := js.OrderedConsumer(ctx, "CANDIDATE_EVENTS", jetstream.OrderedConsumerConfig{FilterSubjects: []string{kind + ".default.>"}})
	if err != nil {
		return events.Event{}, err
	}
	for {
		msg, err := outcomes.Next(jetstream.FetchContext(ctx))
		if err != nil {
			return events.Event{}, err
		}
		event, err := events.Decode(msg.Headers(), msg.Data())
		if err != nil || event.Type() != events.TypeClaimed { // a claim is the connector's own note
			return event, err
		}
	}
}

// startBus runs a bus in this process.
func startBus() (url string, end func(), err error) {
	dir, err := os.MkdirTemp("", "example-bus-")
	if err != nil {
		return "", nil, err
	}
	server, err := bustest.Start(bustest.Options{Dir: dir})
	if err != nil {
		return "", nil, err
	}
	return server.ClientURL(), func() {
		server.Stop()
		_ = os.RemoveAll(dir)
	}, nil
}
