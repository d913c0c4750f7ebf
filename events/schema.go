package events

import "github.com/comeet-connector/comeet-connector/schemas"

// Types lists the event types of the contract.
func Types() []string { return schemas.Types() }

// Schema returns the JSON Schema (draft 2020-12) of an event type's data. ok is false for any other
// type.
func Schema(eventType string) (schema []byte, ok bool) { return schemas.Get(eventType) }
