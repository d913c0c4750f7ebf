package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/internal/fold"
)

// download reads a file by https. Errors never show the address: its path and query may be a key to
// the file.
func (s *submission) download(address, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(s.intake, s.cfg.RequestTimeout, errors.New("REQUEST_TIMEOUT has passed"))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fileError{why: "its address is not valid", forGood: true}
	}
	resp, err := s.downloads.Do(req)
	if err != nil {
		if refused, ok := errors.AsType[fileError](err); ok {
			return nil, refused
		}
		return nil, fileError{why: "its host does not answer", passing: true}
	}
	defer resp.Body.Close()
	if code := resp.StatusCode; code != http.StatusOK {
		passing := code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout
		return nil, fileError{why: fmt.Sprintf("its host answers %d", code), forGood: !passing, passing: passing}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxFileBytes+1))
	if err != nil {
		return nil, fileError{why: "its host broke off", passing: true}
	}
	if len(data) > maxFileBytes {
		return nil, bus.ErrTooLarge
	}
	if isPage(resp.Header.Get("Content-Type"), name, data) {
		return nil, fileError{why: "its host answers with a web page in place of the file, such as to sign in", forGood: true}
	}
	return data, nil
}

// documents are the endings of names of files that are no web page, with the first bytes of such
// files.
var documents = map[string][]string{
	".pdf": {"%PDF"}, ".doc": {"\xd0\xcf\x11\xe0", "{\\rtf", "PK"}, ".docx": {"PK", "\xd0\xcf\x11\xe0"}, ".odt": {"PK"}, ".rtf": {"{\\rtf"},
	".png": {"\x89PNG"}, ".jpg": {"\xff\xd8"}, ".jpeg": {"\xff\xd8"}, ".gif": {"GIF8"},
}

// isPage tells whether a host sent a web page or an XML document for a file whose name says that it
// is something else. The type that the host tells counts only where the content does not speak for
// itself: some hosts call everything HTML.
func isPage(contentType, name string, data []byte) bool {
	begins, known := documents[strings.ToLower(path.Ext(fold.ID(name)))]
	if !known {
		return false
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(data[:min(len(data), 512)]), "\ufeff"))
	if len(text) > 1 && text[0] == '<' && (text[1] == '!' || text[1] == '?' || unicode.IsLetter(rune(text[1]))) {
		return true
	}
	contentType, _, _ = strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(contentType)) {
	case "text/html", "application/xhtml+xml", "application/xml", "text/xml":
		return !slices.ContainsFunc(begins, func(magic string) bool { return strings.HasPrefix(string(data[:min(len(data), 16)]), magic) })
	}
	return false
}

// What the downloads' client itself refuses.
var (
	errPrivateAddress = fileError{why: "its host is in a private network, which PRIVATE_FILE_URLS does not allow", forGood: true}
	errRedirect       = fileError{why: "it redirects too often, or not to https", forGood: true}
)

// newDownloads is the HTTP client for files: https only, a few redirects, and no private addresses
// unless allowed, since the address comes from a stranger and we stand inside a network. The check
// is made on the resolved address at connect.
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

// special are addresses that are global by their form and yet lead inside (IANA special-purpose
// address registries).
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
