// Package events is the contract between sourcing services, the connector and the readers of its
// feed: the Go types of the data of five event types, and how events become NATS messages and back.
// The JSON Schemas of package schemas are the source of truth, here and for other languages.
//
// # Use
//
// Events are those of the CloudEvents SDK, github.com/cloudevents/sdk-go/v2/event. A sourcing
// service makes one with [New], or hands over its own, and publishes what [Encode] gives on
// [SourcedSubject]. Readers of the feed get an [Event] of [Decode]: the SDK's event, and its data
// in one of our types. Who receives through the SDK reads the data with [DataOf].
//
// Everything is pure (no I/O, no clock, no state but schemas compiled once) and safe for concurrent
// use. Decode never panics and takes time and memory linear in the size of the message. No error of
// this package holds a value, or a name chosen by the publisher, out of an event: errors may be
// logged.
//
// # Encodings
//
// Encode writes the structured JSON format with its content type. Decode reads that, the binary
// format (attributes in ce- headers), and structured JSON without a content type, which the SDK
// sends. Both are our own, in front of the SDK's event:
//
//   - The SDK's reader takes repeated names and broken texts, stops at the first defect, and quotes
//     values in its errors.
//   - The SDK's binding for NATS knows a binary message by ce-specversion alone, minds the case of
//     header names, and neither percent-encodes nor decodes their values.
//
// Tests hold both to each other, through the SDK's JetStream sender and receiver.
//
// # Personal data
//
// [Sourced] is personal data except Candidate.ID, Candidate.ProspectStatus, Position and
// SubmissionID. [Claimed], [Accepted], [Failed] and [StatusChanged] hold no name, address or text
// about a person, only ids and states: they are pseudonymous. Names of custom fields are the
// account's own.
package events
