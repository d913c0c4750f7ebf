package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// The types of settings. Their errors say what is expected and never quote what was given.

// text is any string.
type text string

func (t *text) UnmarshalText(b []byte) error {
	*t = text(b)
	return nil
}

// duration is above 0, since 0 means "the default" to the connector: who writes 0 would not get it.
type duration time.Duration

func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v <= 0 {
		return errors.New("must be a duration above 0, such as 500ms, 30s or 5m")
	}
	*d = duration(v)
	return nil
}

// span is a duration above 0, or "off", which the connector knows as a negative one.
type span time.Duration

func (s *span) UnmarshalText(b []byte) error {
	if string(b) == "off" {
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
	v, err := strconv.Atoi(string(b))
	if err != nil || v < 1 {
		return errors.New("must be a whole number above 0")
	}
	*c = count(v)
	return nil
}

// rate is a request budget such as 100/60s; "off" is none.
type rate comeet.Limit

func (r *rate) UnmarshalText(b []byte) error {
	if string(b) == "off" {
		*r = rate{}
		return nil
	}
	count, window, ok := strings.Cut(string(b), "/")
	n, err := strconv.Atoi(count)
	d, derr := time.ParseDuration(window)
	if !ok || err != nil || derr != nil || n < 1 || d <= 0 {
		return errors.New(`must be like 100/60s, or "off"`)
	}
	*r = rate{Requests: n, Window: d}
	return nil
}

// size is a number of bytes such as 4GiB.
type size int64

func (s *size) UnmarshalText(b []byte) error {
	t := string(b)
	shift := 0
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, ok := strings.CutSuffix(t, unit); ok {
			t, shift = rest, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(t, 10, 64)
	if err != nil || n < 1 || n > 1<<(62-shift) {
		return errors.New("must be a number of bytes, or like 512MiB or 4GiB")
	}
	*s = size(n << shift)
	return nil
}
