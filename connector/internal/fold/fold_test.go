package fold

import "testing"

func TestText(t *testing.T) {
	t.Parallel()
	for _, alike := range [][]string{
		{"Café Manager", "Cafe\u0301 Manager", "CAFE\u0301  MANAGER", "\tcafé\u00a0manager\u200b\n"},
		{"Senior Engineer", "Senior\u00a0 Engineer\u200b", "\ufeffsenior engineer", "Sen\u00adior Engineer"},
		{"Ångström", "A\u030angstro\u0308m", "\u212bngström"},
		{"한국어", "\u1112\u1161\u11ab국어"},
	} {
		for _, s := range alike {
			if got := Text(s); got != Text(alike[0]) || Text(got) != got {
				t.Errorf("%+q is %+q, and again %+q, want %+q", s, got, Text(got), Text(alike[0]))
			}
		}
	}
	for _, pair := range [][2]string{{"Cafe", "Café"}, {"AB", "A B"}, {"Engineer 1", "Engineer 2"}} {
		if Text(pair[0]) == Text(pair[1]) {
			t.Errorf("%q and %q are alike", pair[0], pair[1])
		}
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"1.1\n": "1.1", "\ufeffENG-1\u00a0 ": "ENG-1", "\u200b": "", "a  b": "a  b", "00017": "00017"} {
		if got := ID(given); got != want {
			t.Errorf("%q is %q, want %q", given, got, want)
		}
	}
}
