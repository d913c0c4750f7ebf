package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// The types of settings. Their errors say what is expected and never quote what was given.

// text is any string, trimmed.
type text string

func (t *text) UnmarshalText(b []byte) error {
	*t = text(trim(string(b)))
	return nil
}

// word is one of a set, in any letter case.
type word string

func (w *word) UnmarshalText(b []byte) error {
	*w = word(strings.ToLower(trim(string(b))))
	return nil
}

// level is a log level, also by the names that other programs have for it.
type level string

func (l *level) UnmarshalText(b []byte) error {
	*l = level(strings.ToLower(trim(string(b))))
	switch *l {
	case "warning":
		*l = "warn"
	case "err":
		*l = "error"
	}
	return nil
}

// addr is an address to listen on, or "off".
type addr string

func (a *addr) UnmarshalText(b []byte) error {
	*a = addr(trim(string(b)))
	if off(b) {
		*a = "off"
	}
	return nil
}

// off tells the word that switches a setting off, in any letter case.
func off(b []byte) bool { return strings.EqualFold(trim(string(b)), "off") }

// duration is above 0, since 0 means "the default" to the connector: who writes 0 would not get it.
type duration time.Duration

func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(trim(string(b)))
	if err != nil || v <= 0 {
		return errors.New("must be a duration above 0, such as 500ms, 30s or 5m")
	}
	*d = duration(v)
	return nil
}

// span is a duration above 0, or "off", which the connector knows as a negative one.
type span time.Duration

func (s *span) UnmarshalText(b []byte) error {
	if off(b) {
		*s = -1
		return nil
	}
	var d duration
	if d.UnmarshalText(b) != nil {
		return errors.New(`must be a duration above 0, such as 30s or 2m, or "off"`)
	}
	*s = span(d)
	return nil
}

// count is above 0 for the same reason.
type count int

func (c *count) UnmarshalText(b []byte) error {
	v, err := strconv.Atoi(trim(string(b)))
	if err != nil || v < 1 {
		return errors.New("must be a whole number above 0")
	}
	*c = count(v)
	return nil
}

// rate is a request budget such as 100/60s; "off" is none.
type rate comeet.Limit

func (r *rate) UnmarshalText(b []byte) error {
	if off(b) {
		*r = rate{}
		return nil
	}
	count, window, ok := strings.Cut(string(b), "/")
	n, err := strconv.Atoi(trim(count))
	d, derr := time.ParseDuration(trim(window))
	if !ok || err != nil || derr != nil || n < 1 || d <= 0 {
		return errors.New(`must be like 100/60s, or "off"`)
	}
	*r = rate{Requests: n, Window: d}
	return nil
}

// size is a number of bytes such as 4GiB.
type size int64

func (s *size) UnmarshalText(b []byte) error {
	t := trim(string(b))
	shift := 0
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if at := len(t) - len(unit); at > 0 && strings.EqualFold(t[at:], unit) {
			t, shift = trim(t[:at]), 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(t, 10, 64)
	if err != nil || n < 1 || n > 1<<(62-shift) {
		return errors.New("must be a number of bytes, or like 512MiB or 4GiB")
	}
	*s = size(n << shift)
	return nil
}
