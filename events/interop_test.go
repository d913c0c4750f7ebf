package events_test

import (
	"context"
	"testing"
	"time"

	sdknats "github.com/cloudevents/sdk-go/protocol/nats_jetstream/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"

	"github.com/comeet-connector/comeet-connector/connector/bus/bustest"
	"github.com/comeet-connector/comeet-connector/events"
)

// jetStream is a server with a stream of sourced events.
func jetStream(t *testing.T) (*nats.Conn, nats.JetStreamContext) {
	t.Helper()
	server, err := bustest.Start(bustest.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	nc, err := nats.Connect(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "CANDIDATES", Subjects: []string{"candidate.>"}}); err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// TestSDKSends: what a service sends through the JetStream binding of the CloudEvents SDK is read,
// and comes back as the SDK's own event.
func TestSDKSends(t *testing.T) {
	t.Parallel()
	nc, js := jetStream(t)
	sender, err := sdknats.NewSenderFromConn(nc, "CANDIDATES", events.SourcedSubject("acme"), nil)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := js.SubscribeSync(events.SourcedSubject("acme"))
	if err != nil {
		t.Fatal(err)
	}
	for name, force := range map[string]func(context.Context) context.Context{
		"structured": binding.WithForceStructured, "binary": binding.WithForceBinary,
	} {
		// No use of New: the service knows the SDK alone.
		e := event.New()
		e.SetID(name)
		e.SetSource(source)
		e.SetType(events.TypeSourced)
		e.SetTime(clock)
		e.SetSubject("src-10293")
		e.SetExtension(events.ExtTraceparent, traceparent)
		e.SetExtension("rank", 7)
		if err := e.SetData(event.ApplicationJSON, typicalPerson()); err != nil {
			t.Fatal(err)
		}
		if err := sender.Send(force(t.Context()), binding.ToMessage(&e)); err != nil {
			t.Fatal(err)
		}
		m, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		got, err := events.Decode(events.Header(m.Header), m.Data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if name == "binary" {
			e.SetExtension("rank", "7") // headers have no types
		}
		if diff := cmp.Diff(events.Event{Event: e, Data: typicalPerson()}, got); diff != "" {
			t.Errorf("%s: -sent +read: %s", name, diff)
		}
	}
}

// TestSDKReceives: the SDK's receiver reads what Encode writes, on every kind of event.
func TestSDKReceives(t *testing.T) {
	t.Parallel()
	nc, js := jetStream(t)
	consumer, err := sdknats.NewConsumerFromConn(nc, "CANDIDATES", "candidate.>", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	opened := make(chan error, 1)
	go func() { opened <- consumer.OpenInbound(ctx) }()
	for _, e := range []event.Event{typicalSourced(), typicalClaimed(), typicalAccepted(), typicalFailed(), typicalStatusChanged()} {
		header, body, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.PublishMsg(&nats.Msg{Subject: e.Type() + ".acme", Header: header, Data: body}); err != nil {
			t.Fatal(err)
		}
		m, err := consumer.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got, err := binding.ToEvent(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Finish(nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&e, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("-published +received: %s", diff)
		}
		data, err := events.DataOf(*got)
		if err != nil || data.EventType() != e.Type() {
			t.Errorf("data %+v, %v", data, err)
		}
	}
	cancel()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
