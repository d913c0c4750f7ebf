// Package schemas holds the JSON Schemas (draft 2020-12) of the data of every event that the
// connector reads or writes, embedded into the program. One file per event type lies in a folder
// per version of the contract: v1/<event type>.json. The files are the source of truth: package
// events validates with them, and other teams can copy them or print them with `comeet-connector
// schema`.
//
// Within a version fields are only added, as optional ones; readers ignore fields that they don't
// know. Functions here are safe for concurrent use and return copies.
package schemas

import (
	"embed"
	"slices"
)

//go:embed v1/*.json
var files embed.FS

// types is in the order of a candidate's life.
var types = []string{
	"candidate.sourced",
	"candidate.submission.claimed",
	"candidate.submission.accepted",
	"candidate.submission.failed",
	"candidate.status.changed",
}

// Types returns the event types that have a schema, in the order of a candidate's life.
func Types() []string { return slices.Clone(types) }

// Get returns the JSON Schema of the data of that event type, version 1. ok is false for types not
// in [Types].
func Get(eventType string) (json []byte, ok bool) {
	if !slices.Contains(types, eventType) {
		return nil, false
	}
	json, err := files.ReadFile("v1/" + eventType + ".json")
	return json, err == nil
}

// ID returns the $id of that type's schema, version 1: a URN, since a schema is known by its name
// wherever it is kept. Events carry it as the CloudEvents attribute dataschema. "" for types not in
// [Types].
func ID(eventType string) string {
	if !slices.Contains(types, eventType) {
		return ""
	}
	return "urn:comeet-connector:" + eventType + ":1"
}
