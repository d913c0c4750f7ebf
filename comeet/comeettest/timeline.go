package comeettest

import (
	"slices"
	"sort"
)

// timeline orders candidates by the second of their last activity, so that a list filtered on
// "updated since" near now costs what it returns, not what exists. A candidate that becomes active
// again gets a second entry; its old one is stale and is dropped when stale ones are the majority.
type timeline struct {
	entries []activity
	live    int
}

type activity struct {
	unix int64
	mark uint64
	c    *candidate
}

func (e activity) stale() bool { return e.c.mark != e.mark }

// touch makes unix the candidate's last activity.
func (t *timeline) touch(c *candidate, unix int64) {
	if c.mark == 0 {
		t.live++
	}
	c.mark++
	e := activity{unix, c.mark, c}
	if n := len(t.entries); n == 0 || t.entries[n-1].unix <= unix {
		t.entries = append(t.entries, e)
	} else { // the clock was set back
		t.entries = slices.Insert(t.entries, t.lower(unix+1), e)
	}
	if len(t.entries) > 2*t.live+1024 {
		t.entries = slices.DeleteFunc(t.entries, activity.stale)
	}
}

// lower is the first entry not before unix.
func (t *timeline) lower(unix int64) int {
	return sort.Search(len(t.entries), func(i int) bool { return t.entries[i].unix >= unix })
}
