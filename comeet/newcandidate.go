package comeet

import (
	"encoding/base64"
	"encoding/json"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

// NewCandidate is a candidate to create. Zero fields are not sent. Comeet requires PositionUID,
// FirstName and LastName, and checks the rest. The client checks nothing, because Comeet does not
// publish its limits.
//
// Comeet API: https://developers.comeet.com/reference/create-a-candidate-new
type NewCandidate struct {
	PositionUID string `json:"position_uid,omitempty"`
	// PartnerCandidateID is the only guard against a second candidate. Comeet answers Existing
	// while the first one is in progress on the same position. It is optional, and Comeet never
	// returns it.
	PartnerCandidateID string `json:"partner_candidate_id,omitempty"`
	FirstName          string `json:"first_name,omitempty"`
	MiddleName         string `json:"middle_name,omitempty"`
	LastName           string `json:"last_name,omitempty"`
	Email              string `json:"email,omitempty"`
	Phone              string `json:"phone,omitempty"`
	MobilePhone        string `json:"mobile_phone,omitempty"`
	NationalID         string `json:"national_id,omitempty"`
	LinkedInURL        string `json:"linkedin_url,omitempty"`
	// SalaryExpectations is restricted to some accounts.
	SalaryExpectations string `json:"salary_expectations,omitempty"`
	// ProspectStatus is one of Sourced, Contacted, Responded, Interested, Not interested, Do not
	// contact.
	ProspectStatus string `json:"prospect_status,omitempty"`
	// Resume is a .pdf, .doc or .docx; Picture an image; Files up to 6 MB each, of types that the
	// account allows.
	Resume  *File  `json:"resume,omitempty"`
	Picture *File  `json:"picture,omitempty"`
	Files   []File `json:"files,omitempty"`
	Links   []Link `json:"links,omitempty"`
	// SourceContact needs an e-mail address if it is sent; which other fields depends on the
	// account.
	SourceContact *NewSourceContact `json:"source_contact,omitempty"`
	Address       *Address          `json:"address,omitempty"`
	// CustomFields are sent as encoding/json writes them. A json.Number or json.RawMessage keeps
	// every digit of a number.
	CustomFields map[string]any `json:"custom_fields,omitempty"`
	// Note is plain text.
	Note string `json:"note,omitempty"`
}

// File is a file's name, whose extension tells its type, and its bytes, which travel as base64.
type File struct {
	Name string `json:"name"`
	File []byte `json:"file"`
}

// Link is a page about the candidate.
type Link struct {
	URL string `json:"url"`
}

// NewSourceContact is the person who sourced a candidate.
type NewSourceContact struct {
	FullName string `json:"full_name,omitempty"`
	Email    string `json:"email,omitempty"`
	Phone    string `json:"phone,omitempty"`
}

// Address is where a candidate lives. Country is an ISO 3166 code.
type Address struct {
	Country string `json:"country,omitempty"`
	City    string `json:"city,omitempty"`
	State   string `json:"state,omitempty"`
	Zip     string `json:"zip,omitempty"`
	Street  string `json:"street,omitempty"`
}

// String returns the position alone, because the rest is a person's data, and %v would write it to
// logs.
func (n NewCandidate) String() string { return "new candidate for position " + n.PositionUID }

// GoString is String.
func (n NewCandidate) GoString() string { return n.String() }

var errNotJSON = errors.New("the candidate cannot be written as JSON (nil, or a custom field); nothing was sent")

// body returns the request's body. It encodes the files, which are nearly all of it, straight into
// a buffer of their size. encoding/json would hold each file twice, and keep its buffer of
// megabytes for the next small candidate.
func (n *NewCandidate) body() ([]byte, error) {
	if n == nil {
		return nil, errNotJSON
	}
	type plain NewCandidate
	small := plain(*n)
	small.Resume, small.Picture, small.Files = nil, nil, nil
	b, err := json.Marshal(&small)
	if err != nil {
		return nil, errNotJSON // json's own error may quote a value
	}
	lists := [...]struct {
		opening, closing string
		files            []File
	}{{`"resume":`, "", listOf(n.Resume)}, {`"picture":`, "", listOf(n.Picture)}, {`"files":[`, "]", n.Files}}
	size := len(b) + 64
	for _, l := range lists {
		for _, f := range l.files {
			size += base64.StdEncoding.EncodedLen(len(f.File)) + 2*len(f.Name) + 32
		}
	}
	body := append(make([]byte, 0, size), b[:len(b)-1]...)
	for _, l := range lists {
		for i := range l.files {
			if len(body) > 1 {
				body = append(body, ',')
			}
			if i == 0 {
				body = append(body, l.opening...)
			}
			body = l.files[i].append(body)
		}
		if len(l.files) > 0 {
			body = append(body, l.closing...)
		}
	}
	return append(body, '}'), nil
}

func listOf(f *File) []File {
	if f == nil {
		return nil
	}
	return []File{*f}
}

func (f *File) append(b []byte) []byte {
	b, _ = jsontext.AppendQuote(append(b, `{"name":`...), f.Name) // invalid UTF-8 is replaced
	b = base64.StdEncoding.AppendEncode(append(b, `,"file":"`...), f.File)
	return append(b, `"}`...)
}
