package connector

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/events"
)

const (
	// maxFileBytes is Comeet's limit for one file (Comeet API: create-a-candidate-new).
	maxFileBytes = 6 << 20
	// maxFilesBytes is ours for all files of one event, since they are sent in one request and held in memory until then.
	maxFilesBytes = 24 << 20
	// filesMemory is what the files of all events in hand may take, and accountFilesMemory those of one account: who waits for a slow
	// host keeps others waiting for memory, so no account gets all of it. What is sent of them takes a third more than the files.
	filesMemory        = 64 << 20
	accountFilesMemory = 40 << 20
)

// fileTries is how often a file that may come is looked for: an object may not have reached the server that we ask, a host
// may be restarting.
const fileTries = 3

// hostGrace is for how long an event waits, from when it was published, for a host that is away: a restart of it must not refuse
// whoever is published meanwhile.
const hostGrace = time.Hour

// files are an event's files with their content.
type files struct {
	resume, picture *comeet.File
	others          []comeet.File
	// memory is what was taken of filesMemory for them.
	memory int64
}

// readFiles gets every file that the event names, when there is memory for them; dropFiles gives it back. A file that is not
// there, or too large, refuses the event: it can be replayed when the file is there.
func (s *submission) readFiles() (*refusal, error) {
	memory, err := s.takeMemory()
	if err != nil {
		return nil, err
	}
	read, why, err := s.readAll()
	if why != nil || err != nil {
		s.giveMemory(memory)
		if why != nil && s.repeats {
			// What came of the POST before is as unknown as it was, and without its files it can't be repeated.
			why.reason, why.message = events.ReasonInDoubt, "what became of a submission is unknown, and it cannot be repeated: "+why.message+". Look at Comeet first"
		}
		return why, err
	}
	read.memory = memory
	s.files = read
	return nil, nil
}

// dropFiles lets go of the files, which are read again if the event is sent again.
func (s *submission) dropFiles() {
	if s.files != nil {
		s.giveMemory(s.files.memory)
		s.files = nil
	}
}

// takeMemory waits until there is memory for what the event's files may come to. Those in the event itself are in memory already.
func (s *submission) takeMemory() (int64, error) {
	var n int64
	count := func(f *events.File) {
		if f != nil && (f.Object != nil || f.URL != "") {
			n += maxFileBytes
		}
	}
	c := &s.data.Candidate
	count(c.Resume)
	count(c.Picture)
	for i := range c.Files {
		count(&c.Files[i])
	}
	if n = min(n, maxFilesBytes); n == 0 {
		return 0, nil
	}
	if err := s.filesShare.Acquire(s.intake, n); err != nil {
		return 0, errLater{time.Second, "the connector is stopping"}
	}
	if err := s.filesMemory.Acquire(s.intake, n); err != nil {
		s.filesShare.Release(n)
		return 0, errLater{time.Second, "the connector is stopping"}
	}
	return n, nil
}

func (s *submission) giveMemory(n int64) {
	if n > 0 {
		s.filesMemory.Release(n)
		s.filesShare.Release(n)
	}
}

func (s *submission) readAll() (*files, *refusal, error) {
	c := &s.data.Candidate
	out := &files{}
	sum := 0
	one := func(pointer string, f *events.File) (*comeet.File, *refusal, error) {
		if f == nil {
			return nil, nil, nil
		}
		data, why, err := s.readFile(pointer, f)
		if why != nil || err != nil {
			return nil, why, err
		}
		if sum += len(data); sum > maxFilesBytes {
			return nil, &refusal{reason: events.ReasonFileRefused, message: fmt.Sprintf("the files come to more than %d MiB, the most for one candidate; leave some out or make them smaller", maxFilesBytes>>20)}, nil
		}
		return &comeet.File{Name: f.Name, File: data}, nil, nil
	}
	var why *refusal
	var err error
	if out.resume, why, err = one("/data/candidate/resume", c.Resume); why != nil || err != nil {
		return nil, why, err
	}
	if out.picture, why, err = one("/data/candidate/picture", c.Picture); why != nil || err != nil {
		return nil, why, err
	}
	for i := range c.Files {
		f, why, err := one(fmt.Sprintf("/data/candidate/files/%d", i), &c.Files[i])
		if why != nil || err != nil {
			return nil, why, err
		}
		out.others = append(out.others, *f)
	}
	return out, nil, nil
}

func (s *submission) readFile(pointer string, f *events.File) ([]byte, *refusal, error) {
	for try := 1; ; try++ {
		data, err := s.readOnce(f)
		missing, again := errors.AsType[fileMissing](err)
		switch {
		case err == nil:
			return data, nil, nil
		case errors.Is(err, bus.ErrTooLarge):
			return nil, &refusal{reason: events.ReasonFileRefused, message: fmt.Sprintf("the file at %s is larger than the %d MiB that Comeet takes", pointer, maxFileBytes>>20)}, nil
		case s.intake.Err() != nil:
			return nil, nil, errLater{time.Second, "the connector is stopping"}
		case !again:
			return nil, nil, fmt.Errorf("read the file at %s: %w", pointer, err)
		case try == fileTries && missing.passing && s.bus.Now().Sub(s.stored) < hostGrace:
			return nil, nil, errLater{min(max(s.bus.Now().Sub(s.stored), 10*time.Second), 5*time.Minute), fmt.Sprintf("the file at %s cannot be read now: %v", pointer, missing)}
		case missing.forGood, try == fileTries:
			return nil, &refusal{reason: events.ReasonFileMissing, message: fmt.Sprintf("the file at %s cannot be read: %v; provide it, then replay", pointer, missing)}, nil
		}
		if !rest(s.intake, time.Duration(try)*s.cfg.SettleDelay/4) {
			return nil, nil, errLater{time.Second, "the connector is stopping"}
		}
	}
}

// fileMissing says in words why a file cannot be had. Any other error is trouble of the bus's or our own, which must not refuse an event.
type fileMissing struct {
	why string
	// forGood means that it is of no use to try again, passing that the file's host is in trouble which may pass.
	forGood, passing bool
}

func (e fileMissing) Error() string { return e.why }

func (s *submission) readOnce(f *events.File) ([]byte, error) {
	switch {
	case f.Object != nil:
		return s.object(f.Object.Name)
	case f.URL != "":
		return s.download(f.URL)
	}
	return f.Content, nil
}

func (s *submission) object(name string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(s.intake, s.cfg.RequestTimeout, errors.New("REQUEST_TIMEOUT has passed"))
	defer cancel()
	data, err := s.objects.Get(ctx, name, maxFileBytes)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, fileMissing{why: "the object is not in the store"}
	}
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != name {
		return nil, fileMissing{why: "the object's content is not what its name, its SHA-256, says", forGood: true}
	}
	return data, nil
}

// download reads a file by https. Errors never show the address: its path and query may be a key to the file.
func (s *submission) download(address string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(s.intake, s.cfg.RequestTimeout, errors.New("REQUEST_TIMEOUT has passed"))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fileMissing{why: "its address is not valid", forGood: true}
	}
	resp, err := s.downloads.Do(req)
	if err != nil {
		if refused, ok := errors.AsType[fileMissing](err); ok {
			return nil, refused
		}
		return nil, fileMissing{why: "its host does not answer", passing: true}
	}
	defer resp.Body.Close()
	if code := resp.StatusCode; code != http.StatusOK {
		passing := code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout
		return nil, fileMissing{why: fmt.Sprintf("its host answers %d", code), forGood: !passing, passing: passing}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxFileBytes+1))
	if err != nil {
		return nil, fileMissing{why: "its host broke off", passing: true}
	}
	if len(data) > maxFileBytes {
		return nil, bus.ErrTooLarge
	}
	return data, nil
}

// What the downloads' client itself refuses.
var (
	errPrivateAddress = fileMissing{why: "its host is in a private network, which PRIVATE_FILE_URLS does not allow", forGood: true}
	errRedirect       = fileMissing{why: "it redirects too often, or not to https", forGood: true}
)

// newDownloads is the HTTP client for files: https only, a few redirects, and no private addresses unless allowed, since
// the address comes from a stranger and we stand inside a network. The check is made on the resolved address at connect.
func newDownloads(private bool) *http.Client {
	d := &net.Dialer{Timeout: 10 * time.Second}
	if !private {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil || !isPublic(ap.Addr().Unmap()) {
				return errPrivateAddress
			}
			return nil
		}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.DialContext = d.DialContext
	return &http.Client{
		Transport: t,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 || r.URL.Scheme != "https" {
				return errRedirect
			}
			// net/http names the address that redirects, which may be a key to the file.
			r.Header.Del("Referer")
			return nil
		},
	}
}

func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// special are addresses that are global by their form and yet lead inside (IANA special-purpose address registries).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared address space, used inside clouds
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), // NAT64: an IPv4 address inside, also a private one
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"), // Teredo and 6to4 likewise
	netip.MustParsePrefix("2002::/16"),
}

// request is the body of the POST: what the event says of the person, under the ids that the claim has fixed.
func (s *submission) request(c *events.Claimed) *comeet.NewCandidate {
	p := &s.data.Candidate
	n := &comeet.NewCandidate{
		PositionUID: c.PositionUID, PartnerCandidateID: c.PartnerCandidateID,
		FirstName: p.FirstName, MiddleName: p.MiddleName, LastName: p.LastName, Email: p.Email, Phone: p.Phone,
		MobilePhone: p.MobilePhone, NationalID: p.NationalID, LinkedInURL: p.LinkedInURL,
		SalaryExpectations: p.SalaryExpectations, ProspectStatus: p.ProspectStatus, CustomFields: p.CustomFields, Note: p.Note,
		Resume: s.files.resume, Picture: s.files.picture, Files: s.files.others,
	}
	for _, l := range p.Links {
		n.Links = append(n.Links, comeet.Link{URL: l.URL})
	}
	if a := p.Address; a != nil {
		n.Address = &comeet.Address{Country: a.Country, City: a.City, State: a.State, Zip: a.Zip, Street: a.Street}
	}
	if sc := s.data.SourceContact; sc != nil {
		n.SourceContact = &comeet.NewSourceContact{FullName: sc.FullName, Email: sc.Email, Phone: sc.Phone}
	}
	return n
}
