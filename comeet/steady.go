package comeet

import (
	"context"
	"errors"
	"slices"
)

const (
	// steadyReadings is how often ReadSteady reads a listing before it gives up.
	steadyReadings = 8
	// repeatedReadings is how many equal readings in a row it takes where pages repeat rows.
	repeatedReadings = 4
)

// ErrUnsteady ends a listing of several pages that did not hold still.
var ErrUnsteady = errors.New("the rows moved each time that the pages were read, so a row may have been skipped")

// ReadSteady reads a whole listing in a way that a row's absence means something. Comeet may cut
// its pages anew at each request (its order is not documented), so a row may be skipped that moves
// from one page to another in between. A single page skips nothing. Several are read again until
// two readings in a row show the same rows in the same order, none of them twice: a move changes
// the order, and one that hides a row shows another one twice. A server that repeats rows by habit
// has to give the same reading four times. Left are moves that come and go in the same way under
// each of these readings.
//
// key is a row's identity, and a row that is repeated counts once, where it was seen first. list is
// as in [ReadPages], and so is max. The response is of the first page of the last reading. Errors
// are those of [Pages.Err], and an *Error of Kind Unavailable around [ErrUnsteady] after 8
// readings.
func ReadSteady[T any](
	ctx context.Context, max int, key func(*T) string, list func(ctx context.Context, page string) ([]T, *Response, error),
) ([]T, *Response, error) {
	var before []string
	for reading, equal := 1, 1; reading <= steadyReadings; reading++ {
		var rows []T
		var keys []string
		var first *Response
		n := 0
		pages := ReadPages(max, list)
		for ; pages.Next(ctx); n++ {
			if first == nil {
				first = pages.Response()
			}
			for _, row := range pages.Items() {
				rows, keys = append(rows, row), append(keys, key(&row))
			}
		}
		if err := pages.Err(); err != nil {
			return nil, first, err
		}
		if reading > 1 && slices.Equal(keys, before) {
			equal++
		} else {
			equal = 1
		}
		before = keys
		rows, repeated := withoutRepeats(rows, keys)
		if n == 1 || equal >= repeatedReadings || equal > 1 && !repeated { // guard: pages-read-until-they-agree
			return rows, first, nil
		}
	}
	return nil, nil, &Error{Op: "list pages", Kind: Unavailable, Err: ErrUnsteady}
}

// withoutRepeats keeps the first of the rows that have the same key, and reports whether there were
// others.
func withoutRepeats[T any](rows []T, keys []string) (once []T, repeated bool) {
	seen := make(map[string]struct{}, len(keys))
	for i, row := range rows {
		if _, again := seen[keys[i]]; !again {
			seen[keys[i]] = struct{}{}
			once = append(once, row)
		}
	}
	return once, len(once) < len(rows)
}
