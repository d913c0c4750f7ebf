package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// download reads a file by https. Errors never show the address: its path and query may be a key to the file.
func (s *submission) download(address string) ([]byte, error) {
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
	return data, nil
}

// What the downloads' client itself refuses.
var (
	errPrivateAddress = fileError{why: "its host is in a private network, which PRIVATE_FILE_URLS does not allow", forGood: true}
	errRedirect       = fileError{why: "it redirects too often, or not to https", forGood: true}
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
