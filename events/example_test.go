package events_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/comeet-connector/comeet-connector/events"
)

// A sourcing service publishes a candidate: publish body with header on the subject, with JetStream, and wait for the
// acknowledgement.
func ExampleEncode() {
	event := events.New("https://sourcing.example/linkedin", "0190a6c4-7d52", &events.Sourced{
		Candidate: events.Candidate{ID: "src-10293", FirstName: "Noor", LastName: "Lindqvist", Email: "noor@example.test"},
		Position:  events.Position{UID: "87.405"},
	})
	event.SetTime(time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC))
	event.SetExtension(events.ExtTraceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

	header, body, err := events.Encode(event)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(events.SourcedSubject("acme"))
	fmt.Println(header["Content-Type"][0])
	fmt.Printf("%s\n", body)
	// Output:
	// candidate.sourced.acme
	// application/cloudevents+json
	// {"specversion":"1.0","id":"0190a6c4-7d52","source":"https://sourcing.example/linkedin","type":"candidate.sourced","time":"2031-02-03T04:05:06Z","datacontenttype":"application/json","dataschema":"urn:comeet-connector:candidate.sourced:1","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","data":{"candidate":{"id":"src-10293","first_name":"Noor","last_name":"Lindqvist","email":"noor@example.test"},"position":{"uid":"87.405"}}}
}

// Mistakes come back at once, and all together.
func ExampleInvalidError() {
	_, _, err := events.Encode(events.New("https://sourcing.example/linkedin", "1", &events.Sourced{
		Candidate: events.Candidate{ID: "noor@example.test", FirstName: "Noor"},
		Position:  events.Position{Name: "Engineer", UID: "87.405"},
	}))
	if invalid, ok := errors.AsType[*events.InvalidError](err); ok {
		for _, violation := range invalid.Violations {
			fmt.Println(violation)
		}
	}
	// Output:
	// /data/candidate/id must match ^[A-Za-z0-9._:-]{1,100}$
	// /data/candidate/last_name must not be blank
	// /data/position must have exactly one of uid, custom_id, name
}

// A reader of the feed. Types and values that it doesn't know may appear at any time.
func ExampleDecode() {
	read := func(header events.Header, body []byte) {
		event, err := events.Decode(header, body)
		if err != nil {
			fmt.Println("not of this contract:", err)
			return
		}
		switch data := event.Data.(type) {
		case *events.Accepted:
			fmt.Printf("%s is at Comeet as %s (%s)\n", data.CandidateID, data.CandidateUID, data.Outcome)
		case *events.Failed:
			fmt.Printf("%s was refused: %s; %s\n", data.CandidateID, data.Reason, data.Message)
		case *events.StatusChanged:
			fmt.Printf("%s is now %s", data.CandidateID, data.Status)
			for _, step := range data.CurrentSteps { // none after the end, such as a hire; or several
				fmt.Printf(", in %s", step.Name)
			}
			fmt.Println()
		}
	}
	for _, e := range []event.Event{typicalAccepted(), typicalFailed(), typicalStatusChanged(), typicalHired()} {
		header, body, err := events.Encode(e) // as the connector does
		if err != nil {
			fmt.Println(err)
			return
		}
		read(header, body)
	}
	// Output:
	// src-10293 is at Comeet as 3C.7F2A1 (created)
	// src-10293 was refused: refused; Comeet refused the candidate; correct the event and publish it again
	// src-10293 is now In progress, in Technical interview
	// src-10293 is now Hired
}

// A sourcing service picks the outcomes of its own by a header, without reading the others.
func ExampleHeader() {
	header, _, err := events.Encode(typicalAccepted())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(header[events.HeaderSourcedSource][0], header[events.HeaderSourcedID][0])
	// Output: https://sourcing.example/li 0190a6c4
}
