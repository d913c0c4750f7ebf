package comeet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// shifting lists rows by offset, as a server may, while rows move between two pages.
type shifting struct {
	rows []string
	size int
	// move is called after each page, with how many were asked for.
	move    func(rows []string, asked int) []string
	repeats bool
	asked   int
}

func (s *shifting) page(_ context.Context, page string) ([]string, *comeet.Response, error) {
	s.asked++
	at := 0
	if page != "" {
		if _, err := fmt.Sscan(page, &at); err != nil {
			return nil, nil, err
		}
	}
	end := min(at+s.size, len(s.rows))
	from := min(at, end)
	if s.repeats && from > 0 {
		from--
	}
	rows := slices.Clone(s.rows[from:end])
	r := &comeet.Response{Date: time.Unix(int64(s.asked), 0)}
	if end < len(s.rows) {
		r.NextPage = fmt.Sprint(end)
	}
	if s.move != nil {
		s.rows = s.move(slices.Clone(s.rows), s.asked)
	}
	return rows, r, nil
}

func (s *shifting) read(ctx context.Context) ([]string, error) {
	rows, _, err := comeet.ReadSteady(ctx, 0, func(row *string) string { return *row }, s.page)
	return rows, err
}

// One row moves under each reading, wherever from and to, is created or goes: no reading that is given lacks a row that was there
// all the time.
func TestSteadyReadingLosesNoRow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := &shifting{size: rapid.IntRange(1, 5).Draw(t, "page size"), repeats: rapid.Bool().Draw(t, "repeats")}
		for i := range rapid.IntRange(1, 12).Draw(t, "rows") {
			s.rows = append(s.rows, fmt.Sprint("row", i))
		}
		there := map[string]bool{}
		for _, row := range s.rows {
			there[row] = true
		}
		pages := (len(s.rows) + s.size - 1) / s.size
		left := rapid.IntRange(0, 8).Draw(t, "readings that something moves under")
		s.move = func(rows []string, asked int) []string {
			if left == 0 || asked%pages != rapid.IntRange(0, pages-1).Draw(t, "after page") || len(rows) == 0 {
				return rows
			}
			left--
			from := rapid.IntRange(0, len(rows)-1).Draw(t, "from")
			row := rows[from]
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0, 1:
				rows = slices.Delete(rows, from, from+1)
				return slices.Insert(rows, rapid.SampledFrom([]int{0, len(rows)}).Draw(t, "to"), row)
			case 2:
				there[row] = false
				return slices.Delete(rows, from, from+1)
			case 3:
				return append(rows, fmt.Sprint("new", asked))
			default:
				return slices.Insert(rows, 0, fmt.Sprint("new", asked))
			}
		}
		got, err := s.read(t.Context())
		if errors.Is(err, comeet.ErrUnsteady) && comeet.KindOf(err) == comeet.Unavailable {
			return // nothing is said
		}
		if err != nil {
			t.Fatal(err)
		}
		for row, all := range there {
			if all && !slices.Contains(got, row) {
				t.Fatalf("%s is lost: %v", row, got)
			}
		}
		slices.Sort(got)
		if len(slices.Compact(got)) != len(got) {
			t.Fatalf("rows are repeated: %v", got)
		}
	})
}

func TestSteadyReadingCostsWhatItMust(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		shifting
		asked int
		err   error
	}{
		"one page":                {shifting{rows: []string{"a", "b"}, size: 2}, 1, nil},
		"no row":                  {shifting{size: 2}, 1, nil},
		"two pages":               {shifting{rows: []string{"a", "b", "c"}, size: 2}, 4, nil},
		"a server that repeats":   {shifting{rows: []string{"a", "b", "c"}, size: 2, repeats: true}, 8, nil},
		"never the same":          {shifting{rows: []string{"a", "b", "c"}, size: 2, move: rotate}, 16, comeet.ErrUnsteady},
		"moves before the second": {shifting{rows: []string{"a", "b", "c"}, size: 2, move: onceAfter(2)}, 6, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := tt.read(t.Context()); !errors.Is(err, tt.err) {
				t.Errorf("%v, want %v", err, tt.err)
			}
			if tt.shifting.asked != tt.asked {
				t.Errorf("%d requests, want %d", tt.shifting.asked, tt.asked)
			}
		})
	}
}

func rotate(rows []string, _ int) []string { return append(rows[1:], rows[0]) }

func onceAfter(n int) func([]string, int) []string {
	return func(rows []string, asked int) []string {
		if asked == n {
			return rotate(rows, asked)
		}
		return rows
	}
}
