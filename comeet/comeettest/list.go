package comeettest

import (
	"errors"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// candidateFilters are the documented parameters of GET /candidates [D: list-all-candidates-new].
var candidateFilters = []string{
	"status", "deleted", "limit", pageParameter,
	"time_created:after", "time_created:before",
	"time_last_status_change:after", "time_last_status_change:before",
	"time_hiring_process_updated:after", "time_hiring_process_updated:before",
	"time_person_last_activity:after", "time_person_last_activity:before",
}

// span is a time filter in whole seconds, both ends included.
type span struct {
	after, before int64
	set           bool
}

func (s span) holds(unix int64) bool { return !s.set || s.after <= unix && unix <= s.before }

// filter is a list's condition; all its parts must hold [I: pull-data-for-reports].
type filter struct {
	statuses                        []string // lower case
	deleted                         string
	created, status, active, person span
}

const (
	longAgo = -1 << 62
	farOff  = 1 << 62
)

// datetime reads a filter's time: whole seconds and Z [D]; anything else is 400 invalid_datetime.
func (c *call) datetime(text string) (int64, bool) {
	t, err := time.Parse("2006-01-02T15:04:05Z", text)
	if err != nil && c.sw.AcceptOffsets {
		t, err = time.Parse(time.RFC3339, text)
	}
	if err == nil && strings.Contains(text, ".") { // time.Parse takes a fraction that the layout lacks
		err = errors.New("fraction of a second")
	}
	if err != nil {
		c.s.record.violate(c.req, "datetime", "%q is not YYYY-MM-DDTHH:mm:ssZ", text)
	}
	return t.Unix(), err == nil
}

// span reads name:after and name:before. Whether they include the second given is UNKNOWN:
// Switches.BoundsExclusive.
func (c *call) span(q url.Values, name string) (s span, bad *reply) {
	s = span{after: longAgo, before: farOff}
	var edge int64
	if c.sw.BoundsExclusive {
		edge = 1
	}
	for _, end := range []string{":after", ":before"} {
		text := q.Get(name + end)
		if text == "" {
			continue
		}
		t, ok := c.datetime(text)
		if !ok {
			return s, invalid("invalid_datetime", "Invalid datetime "+text)
		}
		s.set = true
		if end == ":after" {
			s.after = t + edge
		} else {
			s.before = t - edge
		}
	}
	return s, nil
}

func (c *call) filter(q url.Values) (f filter, bad *reply) {
	for name, into := range map[string]*span{
		"time_created": &f.created, "time_last_status_change": &f.status,
		"time_hiring_process_updated": &f.active, "time_person_last_activity": &f.person,
	} {
		if *into, bad = c.span(q, name); bad != nil {
			return f, bad
		}
	}
	for status := range strings.SplitSeq(q.Get("status"), ",") {
		if status != "" {
			f.statuses = append(f.statuses, strings.ToLower(status))
		}
	}
	if f.deleted = q.Get("deleted"); f.deleted != "" && f.deleted != "True" && f.deleted != "False" {
		c.s.record.violate(c.req, "query", "deleted must be True or False")
		return f, invalid("invalid_request", "deleted must be True or False")
	}
	return f, nil
}

// visible says whether the app may see a version, and whether only its stub. The caller holds a.mu.
func (a *account) visible(v *version) bool {
	own := v.Source.UID == AppSource.UID
	return !v.Hidden && (own && !a.denied[ReadOwnCandidates] || !own && !a.denied[ReadOtherCandidates])
}

// admits says whether a candidate is in a list now, and how. The caller holds a.mu.
func (a *account) admits(c *candidate, f *filter, sw *Switches, delay time.Duration, now time.Time) (r row, ok bool) {
	v := c.cur
	asStub := v.Deleted || v.MergedInto != "" && sw.MergedStubbed
	switch {
	case !a.visible(v),
		delay > 0 && now.Sub(c.born) < delay,
		asStub && (sw.Stubs == StubsNever || f.deleted == "False"),
		!asStub && f.deleted == "True",
		!v.Deleted && v.MergedInto != "" && !sw.MergedStubbed && !sw.MergedListed,
		len(f.statuses) > 0 && !slices.Contains(f.statuses, strings.ToLower(v.Status)):
		return row{}, false
	}
	timed := f.created.holds(c.created) && f.status.holds(v.TimeLastStatusChanged.Unix()) && f.active.holds(v.TimeHiringProcessUpdated.Unix()) && f.person.holds(c.person.lastActivity)
	if !timed && !(asStub && sw.Stubs == StubsAlways) {
		return row{}, false
	}
	r = a.row(c, v)
	r.stub = asStub
	return r, true
}

// row must be called with a.mu held.
func (a *account) row(c *candidate, v *version) row {
	r := row{c: c, v: v}
	if p := a.byUID[v.PositionUID]; p != nil {
		r.steps = p.cur.Steps
	}
	return r
}

// ordered walks through the candidates that a filter may admit. A filter on recent activity uses
// the index, so that it costs what it finds. The caller holds a.mu.
func (a *account) ordered(f *filter, sw *Switches, from int) iter.Seq[*candidate] {
	since := 0
	if f.active.set && sw.Stubs != StubsAlways {
		since = a.updated.lower(f.active.after)
	}
	recent := a.updated.entries[since:]
	switch sw.Order {
	case OrderUpdated, OrderUpdatedNewestFirst:
		return func(yield func(*candidate) bool) {
			for i := range recent {
				if sw.Order == OrderUpdatedNewestFirst {
					i = len(recent) - 1 - i
				}
				if !recent[i].stale() && !yield(recent[i].c) {
					return
				}
			}
		}
	}
	all := a.all[min(from, len(a.all)):]
	if len(recent) < len(all)/8 {
		all = make([]*candidate, 0, len(recent))
		for _, e := range recent {
			if !e.stale() && e.c.ordinal >= from {
				all = append(all, e.c)
			}
		}
		slices.SortFunc(all, func(x, y *candidate) int { return x.ordinal - y.ordinal })
	}
	if sw.Order == OrderNewestFirst {
		return func(yield func(*candidate) bool) {
			for _, c := range slices.Backward(all) {
				if !yield(c) {
					return
				}
			}
		}
	}
	return slices.Values(all)
}

// rows collects a page and what is needed to know where the next one starts.
func (c *call) rows(candidates iter.Seq[*candidate], f *filter, p page, delay time.Duration) (rows []row, next int) {
	now := time.Now()
	byRow := c.sw.Order != OrderCreated
	skip := 0
	if byRow {
		skip = p.At
	}
	for can := range candidates {
		r, ok := c.account.admits(can, f, c.sw, delay, now)
		if !ok {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if rows = append(rows, r); len(rows) > p.Limit+c.sw.SkipRows {
			break
		}
	}
	return cut(rows, p, c.sw, func(i int) int {
		if byRow {
			return p.At + i
		}
		return rows[i].c.ordinal
	})
}

// listCandidates serves GET /candidates.
//
// Imitated: all readable filters, combined by AND [D: list-all-candidates-new,
// pull-data-for-reports], deleted True, False or both [D, O: wsc], stubs of deleted ones [D:
// candidates-copy], envelope and absolute next_page [O: riverside], hidden candidates of other
// sources and hidden blocks [D: permissions]. Bounds, order, page sizes, stability, what next_page
// keeps, merged-away ones, delay after a create: UNKNOWN, Switches. Not imitated: person-level
// filters other than last activity, include.
func (c *call) listCandidates() *reply {
	return c.list(c.sw.VisibleInListAfter, func(f *filter, from int) (iter.Seq[*candidate], *reply) {
		return c.account.ordered(f, c.sw, from), nil
	})
}

// listPositionCandidates serves GET /positions/{uid}/candidates: the full shape with steps, deleted
// stubs and blank statuses included, limit, envelope as above [O: riverside]; 404 for a position
// that is unknown or not shared [I]. Not imitated: time filters, of which UNKNOWN is whether they
// apply here; they are violations.
func (c *call) listPositionCandidates() *reply {
	return c.list(c.sw.VisibleInPositionListAfter, func(_ *filter, from int) (iter.Seq[*candidate], *reply) {
		p := c.account.shared(c.uid)
		if p == nil {
			return nil, notFound("Position " + c.uid)
		}
		return c.ofPosition(p, from), nil
	})
}

func (c *call) ofPosition(p *position, from int) iter.Seq[*candidate] {
	all := slices.Clone(p.candidates)
	slices.SortFunc(all, func(x, y *candidate) int {
		switch c.sw.Order {
		case OrderNewestFirst:
			return y.ordinal - x.ordinal
		case OrderUpdated:
			return x.cur.TimeHiringProcessUpdated.Compare(y.cur.TimeHiringProcessUpdated)
		case OrderUpdatedNewestFirst:
			return y.cur.TimeHiringProcessUpdated.Compare(x.cur.TimeHiringProcessUpdated)
		}
		return x.ordinal - y.ordinal
	})
	if c.sw.Order == OrderCreated {
		all = slices.DeleteFunc(all, func(x *candidate) bool { return x.ordinal < from })
	}
	return slices.Values(all)
}

func (c *call) list(delay time.Duration, candidates func(f *filter, from int) (iter.Seq[*candidate], *reply)) *reply {
	p, q, bad := c.openPage()
	if bad != nil {
		return bad
	}
	f, bad := c.filter(q)
	if bad != nil {
		return bad
	}
	from := 0
	if c.sw.Order == OrderCreated {
		from = p.At
	}
	a := c.account
	a.mu.RLock()
	walk, bad := candidates(&f, from)
	if bad != nil {
		a.mu.RUnlock()
		return bad
	}
	rows, at := c.rows(walk, &f, p, delay)
	seen := a.look()
	a.mu.RUnlock()

	views := make([]any, len(rows))
	for i, r := range rows {
		views[i] = r.view(seen)
	}
	next := ""
	if at >= 0 {
		next = c.nextURL(p, at)
	}
	return c.envelope("candidates", views, next)
}

// listDeleted serves GET /deleted-candidates: a bare array of uids [D: list-deleted-candidates],
// not paginated (UNKNOWN). Merged-away ones, an envelope: UNKNOWN, Switches. Not imitated: how long
// the list goes back.
func (c *call) listDeleted() *reply {
	during, bad := c.span(c.query, "time_deleted")
	if bad != nil {
		return bad
	}
	a := c.account
	a.mu.RLock()
	gone := a.deleted
	if c.sw.MergedInDeleted {
		gone = slices.Concat(gone, a.merged)
	}
	uids := []string{}
	for _, can := range gone {
		if !can.cur.Hidden && during.holds(can.cur.endedAt) {
			uids = append(uids, can.uid)
		}
	}
	a.mu.RUnlock()
	if c.sw.DeletedEnvelope {
		return c.envelope("candidates", uids, "")
	}
	return jsonReply(http.StatusOK, uids)
}
