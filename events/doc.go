// Package events is the contract between sourcing services, the connector and the readers of its feed: the Go types of
// the five event types, and how they become NATS messages and back. A sourcing service written in Go uses [New],
// [Encode] and [SourcedSubject] to publish, and [Decode] to read what became of its candidates; services in other
// languages use the JSON Schemas of package schemas, which are the source of truth here too.
//
// Guarantees: everything is pure (no I/O, no clock, no state but schemas compiled once) and safe for concurrent use.
// Decode never panics, takes time and memory linear in the size of the message, and no error of this package holds a
// value, or a name chosen by the publisher, out of an event: errors may be logged.
//
// # Encodings
//
// Events are CloudEvents 1.0. Encode writes the structured JSON format with its content type. Decode reads that, the
// binary format (attributes in ce- headers), and structured JSON without a content type, which the CloudEvents SDKs
// send. The SDK for Go is not used to read: it stops at the first defect, quotes values in its errors, and reads
// duplicate names; the tests hold both to the same format.
//
// # Personal data
//
// [Sourced] is personal data except Candidate.ID, Candidate.ProspectStatus, Position and SubmissionID. [Claimed],
// [Accepted], [Failed] and [StatusChanged] hold no name, address or text about a person, only ids and states: they are
// pseudonymous. Names of custom fields are the account's own.
package events
