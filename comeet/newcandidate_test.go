package comeet_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// sentBody is the body of a CreateCandidate.
func sentBody(t testing.TB, n *comeet.NewCandidate) string {
	t.Helper()
	var body []byte
	c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		if r.ContentLength != int64(len(body)) {
			t.Errorf("Content-Length %d of %d bytes", r.ContentLength, len(body))
		}
		return answer(r, 201, nil, `{"uid":"3C.7F2A1"}`), nil
	})))
	if _, _, err := c.CreateCandidate(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestBodyIsAsDocumented(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		n    comeet.NewCandidate
		want string
	}{
		"nothing": {comeet.NewCandidate{}, `{}`},
		"a file alone": {comeet.NewCandidate{Picture: &comeet.File{Name: "a \"b\".png", File: []byte{0xfb, 0xff, 0xfe}}},
			`{"picture":{"name":"a \"b\".png","file":"+//+"}}`},
		"everything": {
			comeet.NewCandidate{
				PositionUID: "5A.1B9", PartnerCandidateID: "p-1", FirstName: "Noor", MiddleName: "M", LastName: "L", Email: "e", Phone: "1",
				MobilePhone: "2", NationalID: "3", LinkedInURL: "l", SalaryExpectations: "s", ProspectStatus: "Sourced",
				Resume: &comeet.File{Name: "cv.pdf", File: []byte("%PDF")}, Picture: &comeet.File{Name: "p.png"},
				Files:         []comeet.File{{Name: "a.txt", File: []byte("a")}, {Name: "b.txt", File: []byte("bc")}},
				Links:         []comeet.Link{{URL: "https://example.test/?a=1&b=2"}},
				SourceContact: &comeet.NewSourceContact{FullName: "Dana", Email: "d", Phone: "4"},
				Address:       &comeet.Address{Country: "SE", City: "c", State: "s", Zip: "z", Street: "t"},
				CustomFields:  map[string]any{"big": json.Number("12345678901234567890.10"), "raw": json.RawMessage(`[1.0, null]`), "text": "x", "yes": true},
				Note:          "plain <text>",
			},
			`{"position_uid":"5A.1B9","partner_candidate_id":"p-1","first_name":"Noor","middle_name":"M","last_name":"L","email":"e","phone":"1",
			"mobile_phone":"2","national_id":"3","linkedin_url":"l","salary_expectations":"s","prospect_status":"Sourced",
			"links":[{"url":"https://example.test/?a=1\u0026b=2"}],"source_contact":{"full_name":"Dana","email":"d","phone":"4"},
			"address":{"country":"SE","city":"c","state":"s","zip":"z","street":"t"},
			"custom_fields":{"big":12345678901234567890.10,"raw":[1.0,null],"text":"x","yes":true},"note":"plain \u003ctext\u003e",
			"resume":{"name":"cv.pdf","file":"JVBERg=="},"picture":{"name":"p.png","file":""},
			"files":[{"name":"a.txt","file":"YQ=="},{"name":"b.txt","file":"YmM="}]}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want bytes.Buffer
			if err := json.Compact(&want, []byte(tt.want)); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want.String(), sentBody(t, &tt.n)); d != "" {
				t.Error(d)
			}
		})
	}
}

// The hand-made part of the body says what encoding/json would have said.
func TestBodyIsWhatEncodingJSONWrites(t *testing.T) {
	t.Parallel()
	file := rapid.Custom(func(t *rapid.T) comeet.File {
		return comeet.File{Name: rapid.String().Draw(t, "name"), File: append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")...)}
	})
	rapid.Check(t, func(rt *rapid.T) {
		n := &comeet.NewCandidate{
			FirstName: rapid.String().Draw(rt, "first"),
			Resume:    rapid.Ptr(file, true).Draw(rt, "resume"),
			Picture:   rapid.Ptr(file, true).Draw(rt, "picture"),
			Files:     rapid.SliceOfN(file, 0, 3).Draw(rt, "files"),
		}
		raw, err := json.Marshal(n)
		if err != nil {
			rt.Fatal(err)
		}
		var got, want map[string]any
		if err := json.Unmarshal([]byte(sentBody(t, n)), &got); err != nil {
			rt.Fatal(err)
		}
		if err := json.Unmarshal(raw, &want); err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			rt.Fatal(d)
		}
	})
}

func TestALargeFileArrivesWhole(t *testing.T) {
	t.Parallel()
	file := bytes.Repeat([]byte{0, 1, 2, 0xff, 0xfe}, 6<<20/5)
	var got struct{ Resume struct{ File string } }
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, `{"uid":"3C.7F2A1"}`)
	})
	n := noor()
	n.Resume = &comeet.File{Name: "cv.pdf", File: file}
	if _, _, err := c.CreateCandidate(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if back, err := base64.StdEncoding.DecodeString(got.Resume.File); err != nil || !bytes.Equal(back, file) {
		t.Errorf("%d bytes of %d arrived: %v", len(back), len(file), err)
	}
}

func TestWhatIsNoJSONIsNotSent(t *testing.T) {
	t.Parallel()
	c := newClient(t, comeet.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		t.Error("sent")
		return nil, io.EOF
	})))
	for name, n := range map[string]*comeet.NewCandidate{
		"nil":         nil,
		"a function":  {CustomFields: map[string]any{"marker": func() {}}},
		"not a value": {CustomFields: map[string]any{"marker": math.NaN()}},
		"raw":         {CustomFields: map[string]any{"x": json.RawMessage(`marker`)}},
		"number":      {CustomFields: map[string]any{"x": json.Number(`marker`)}},
	} {
		_, _, err := c.CreateCandidate(t.Context(), n)
		if comeet.KindOf(err) != comeet.Invalid || bytes.Contains([]byte(err.Error()), []byte("marker")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
