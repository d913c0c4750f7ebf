package events

import (
	"iter"
	"strconv"
)

// Sourced is the data of candidate.sourced: a person was found for a job.
type Sourced struct {
	Candidate Candidate `json:"candidate"`
	Position  Position  `json:"position"`
	// SourceContact is the person at the source who stands for the candidate. nil means none.
	SourceContact *SourceContact `json:"source_contact,omitempty"`
	// SubmissionID makes a new act on purpose; "" means the ordinary one. At most 200 characters.
	SubmissionID string `json:"submission_id,omitempty"`
}

// EventType returns TypeSourced.
func (*Sourced) EventType() string { return TypeSourced }

func (*Sourced) about() *SourcedRef { return nil }

// Candidate is the person, with the fields of Comeet's create request (Comeet API:
// create-a-candidate-new). Everything but ID and ProspectStatus is personal data. Optional fields
// are "" or nil when absent; the schema tells the lengths.
type Candidate struct {
	// ID is the sourcing service's own stable id of the person, ^[A-Za-z0-9._:-]{1,100}$. It
	// appears in logs.
	ID                 string   `json:"id"`
	FirstName          string   `json:"first_name"` // required, not blank
	LastName           string   `json:"last_name"`  // required, not blank
	MiddleName         string   `json:"middle_name,omitempty"`
	Email              string   `json:"email,omitempty"`
	Phone              string   `json:"phone,omitempty"`
	MobilePhone        string   `json:"mobile_phone,omitempty"`
	NationalID         string   `json:"national_id,omitempty"`
	LinkedInURL        string   `json:"linkedin_url,omitempty"`
	SalaryExpectations string   `json:"salary_expectations,omitempty"`
	ProspectStatus     string   `json:"prospect_status,omitempty"` // open set: Sourced, Contacted, Responded, ...
	Address            *Address `json:"address,omitempty"`
	Links              []Link   `json:"links,omitempty"`
	// CustomFields holds values by the account's own field names. Decode gives string, bool, nil,
	// json.Number (the digits as they were written) and []any of these.
	CustomFields map[string]any `json:"custom_fields,omitempty"`
	Note         string         `json:"note,omitempty"` // plain text
	Resume       *File          `json:"resume,omitempty"`
	Picture      *File          `json:"picture,omitempty"`
	Files        []File         `json:"files,omitempty"`
}

// AllFiles yields Resume, Picture and Files where they are, each with the JSON pointer of its place
// in the event.
func (c *Candidate) AllFiles() iter.Seq2[string, *File] {
	return func(yield func(string, *File) bool) {
		const at = "/data/candidate/"
		if c.Resume != nil && !yield(at+"resume", c.Resume) || c.Picture != nil && !yield(at+"picture", c.Picture) {
			return
		}
		for i := range c.Files {
			if !yield(at+"files/"+strconv.Itoa(i), &c.Files[i]) {
				return
			}
		}
	}
}

// Address is a postal address. Personal data.
type Address struct {
	Country string `json:"country,omitempty"` // ISO 3166
	City    string `json:"city,omitempty"`
	State   string `json:"state,omitempty"`
	Zip     string `json:"zip,omitempty"`
	Street  string `json:"street,omitempty"`
}

// Link is a web page of the person.
type Link struct {
	URL string `json:"url"` // required
}

// MaxContentBytes bounds File.Content.
const MaxContentBytes = 512 << 10

// File is a file in exactly one of three places.
type File struct {
	Name    string  `json:"name"`              // with extension; required. Personal data.
	Content []byte  `json:"content,omitempty"` // the file itself, at most MaxContentBytes
	Object  *Object `json:"object,omitempty"`  // in the object store CANDIDATE_FILES
	URL     string  `json:"url,omitempty"`     // fetched by https, without further credentials
}

// Object names a file in the object store CANDIDATE_FILES.
type Object struct {
	Name string `json:"name"` // SHA-256 of the file, 64 lower-case hexadecimal digits
}

// Position names a Comeet position in exactly one way: UID, CustomID or Name.
type Position struct {
	UID        string `json:"uid,omitempty"`
	CustomID   string `json:"custom_id,omitempty"` // Comeet's internal_use_custom_id
	Name       string `json:"name,omitempty"`
	Department string `json:"department,omitempty"` // narrows Name
	Location   string `json:"location,omitempty"`   // narrows Name
}

// SourceContact is the person at the source who stands for the candidate. Personal data.
type SourceContact struct {
	FullName string `json:"full_name,omitempty"`
	Email    string `json:"email"` // required
	Phone    string `json:"phone,omitempty"`
}
