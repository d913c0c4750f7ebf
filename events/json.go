package events

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parser reads I-JSON (RFC 7493) into the tree that the schema validator takes: map[string]any, []any, string,
// json.Number, bool, nil. encoding/json isn't used since it lets duplicate names, lone surrogates and invalid UTF-8
// pass, matches names regardless of case (so that FIRST_NAME, unknown to the schema, would overwrite the checked
// first_name), and quotes the body in its errors.
//
// Defects that leave the structure clear are collected, and reading goes on, so that a publisher learns all at once.
type parser struct {
	text   string // the tree's strings are parts of it: one copy of the body instead of one per string
	pos    int
	values int
	path   []step // to the value being read
	found  []Violation
	nul    []Violation // strings that hold U+0000; a defect only in what strangers send
	fatal  string      // message of the defect that ended the reading
}

// step is one step of a path: into an object by name, or into an array by index if name is "" and index ≥ 0.
type step struct {
	name  string
	index int
}

const (
	maxNumberBytes = 64
	maxExponent    = 308 // of a float64; also keeps the validator's rational numbers small
)

// parseJSON reads the whole body. ok is false if it isn't JSON or breaks a bound; the tree then holds what was read
// before. at is the place of the body in the event.
func parseJSON(body []byte, at ...step) (p *parser, tree any, ok bool) {
	p = &parser{text: string(body), path: append(make([]step, 0, 16), at...)}
	tree = p.value()
	if p.fatal == "" {
		if p.space(); p.pos < len(p.text) {
			p.syntax()
		}
	}
	if p.fatal != "" {
		p.found = append(p.found, Violation{pointer(at), p.fatal})
	}
	return p, tree, p.fatal == ""
}

func (p *parser) syntax() {
	if p.fatal == "" {
		p.fatal = fmt.Sprintf("must be JSON: syntax error at byte %d", p.pos)
	}
}

func (p *parser) defect(message string) {
	p.found = append(p.found, Violation{pointer(p.path), message})
}

func (p *parser) space() {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// next skips space and returns the next byte without consuming it, 0 at the end.
func (p *parser) next() byte {
	p.space()
	if p.pos == len(p.text) {
		return 0
	}
	return p.text[p.pos]
}

func (p *parser) value() any {
	if p.values++; p.values > MaxValues {
		p.fatal = fmt.Sprintf("must hold at most %d values", MaxValues)
		return nil
	}
	switch c := p.next(); c {
	case '{':
		return p.object()
	case '[':
		return p.array()
	case '"':
		s, nul := p.string()
		if nul {
			p.nul = append(p.nul, Violation{pointer(p.path), messageNUL})
		}
		return s
	case 't':
		p.literal("true")
		return true
	case 'f':
		p.literal("false")
		return false
	case 'n':
		p.literal("null")
		return nil
	default:
		return p.number()
	}
}

func (p *parser) literal(word string) {
	if !strings.HasPrefix(p.text[p.pos:], word) {
		p.syntax()
		return
	}
	p.pos += len(word)
}

// enter goes one level down; it reports whether there is a level left.
func (p *parser) enter() bool {
	if len(p.path) >= MaxDepth {
		p.fatal = fmt.Sprintf("must nest at most %d levels deep", MaxDepth)
		return false
	}
	p.pos++ // the bracket
	p.path = append(p.path, step{index: -1})
	return true
}

func (p *parser) leave() { p.path = p.path[:len(p.path)-1] }

func (p *parser) object() any {
	m := make(map[string]any, 8)
	if !p.enter() {
		return m
	}
	defer p.leave()
	if p.next() == '}' {
		p.pos++
		return m
	}
	for {
		if p.next() != '"' {
			p.syntax()
			return m
		}
		top := &p.path[len(p.path)-1]
		*top = step{index: -1}
		name, nul := p.string()
		*top = step{name: name, index: -1}
		if nul {
			p.nul = append(p.nul, Violation{pointer(p.path), "must not have a NUL character in its name"})
		}
		if p.fatal != "" || p.next() != ':' {
			p.syntax()
			return m
		}
		p.pos++
		v := p.value()
		if p.fatal != "" {
			switch v.(type) {
			case map[string]any, []any: // what was read of it; a half-read plain value is none
				if _, twice := m[name]; !twice {
					m[name] = v
				}
			}
			return m
		}
		if _, twice := m[name]; twice {
			p.defect("must not appear twice")
		} else {
			m[name] = v
		}
		switch p.next() {
		case ',':
			p.pos++
		case '}':
			p.pos++
			return m
		default:
			p.syntax()
			return m
		}
	}
}

func (p *parser) array() any {
	a := []any{}
	if !p.enter() {
		return a
	}
	defer p.leave()
	if p.next() == ']' {
		p.pos++
		return a
	}
	for {
		p.path[len(p.path)-1].index = len(a)
		v := p.value()
		if p.fatal != "" {
			return a
		}
		a = append(a, v)
		switch p.next() {
		case ',':
			p.pos++
		case ']':
			p.pos++
			return a
		default:
			p.syntax()
			return a
		}
	}
}

const (
	messageNUL     = "must not hold a NUL character"
	messageUnicode = "must be valid Unicode (UTF-8, no lone surrogates)"
)

// string reads a string; the opening quote is next. nul tells whether it holds U+0000.
func (p *parser) string() (s string, nul bool) {
	p.pos++
	start := p.pos
	ascii := true
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		switch {
		case c == '"':
			s = p.text[start:p.pos]
			p.pos++
			if !ascii && !utf8.ValidString(s) {
				p.defect(messageUnicode)
				s = strings.ToValidUTF8(s, "\uFFFD")
			}
			return s, false
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			p.syntax()
			return "", false
		case c >= utf8.RuneSelf:
			ascii = false
		}
		p.pos++
	}
	p.syntax()
	return "", false
}

// escaped reads the rest of a string that began at start and has its first escape at p.pos.
func (p *parser) escaped(start int) (s string, nul bool) {
	var b strings.Builder
	b.WriteString(p.text[start:p.pos])
	broken := false
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		p.pos++
		switch {
		case c == '"':
			s = b.String()
			if broken || !utf8.ValidString(s) {
				p.defect(messageUnicode)
				s = strings.ToValidUTF8(s, "\uFFFD")
			}
			return s, nul
		case c < ' ':
			p.pos--
			p.syntax()
			return "", false
		case c != '\\':
			b.WriteByte(c)
		default:
			r, ok := p.escape()
			if !ok {
				p.syntax()
				return "", false
			}
			switch {
			case r == 0:
				nul = true
			case r < 0:
				broken = true
				r = utf8.RuneError
			}
			b.WriteRune(r)
		}
	}
	p.syntax()
	return "", false
}

// escape reads what follows a backslash. r is negative for a lone surrogate.
func (p *parser) escape() (r rune, ok bool) {
	if p.pos == len(p.text) {
		return 0, false
	}
	c := p.text[p.pos]
	p.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		r, ok = p.hex4()
		if !ok || r < 0xD800 || r > 0xDFFF {
			return r, ok
		}
		if r < 0xDC00 && strings.HasPrefix(p.text[p.pos:], `\u`) {
			p.pos += 2
			low, ok := p.hex4()
			if !ok {
				return 0, false
			}
			if low >= 0xDC00 && low <= 0xDFFF {
				return 0x10000 + (r-0xD800)<<10 + (low - 0xDC00), true
			}
		}
		return -1, true
	}
	return 0, false
}

func (p *parser) hex4() (rune, bool) {
	if p.pos+4 > len(p.text) {
		return 0, false
	}
	var r rune
	for i := range 4 {
		d := hexDigit(p.text[p.pos+i])
		if d < 0 {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	p.pos += 4
	return r, true
}

func (p *parser) digits() bool {
	start := p.pos
	for p.pos < len(p.text) && p.text[p.pos] >= '0' && p.text[p.pos] <= '9' {
		p.pos++
	}
	return p.pos > start
}

func (p *parser) at(c byte) bool {
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) number() any {
	start := p.pos
	p.at('-')
	if !p.at('0') && !p.digits() {
		p.syntax()
		return nil
	}
	if p.at('.') && !p.digits() {
		p.syntax()
		return nil
	}
	exponent := ""
	if p.at('e') || p.at('E') {
		from := p.pos
		if !p.at('+') {
			p.at('-')
		}
		if !p.digits() {
			p.syntax()
			return nil
		}
		exponent = p.text[from:p.pos]
	}
	n := p.text[start:p.pos]
	if exponent != "" {
		if e, err := strconv.Atoi(exponent); err != nil || e > maxExponent || e < -maxExponent {
			p.defect(fmt.Sprintf("must be a number with an exponent of at most %d", maxExponent))
			n = "0"
		}
	}
	if len(n) > maxNumberBytes {
		p.defect(fmt.Sprintf("must be a number of at most %d characters", maxNumberBytes))
		n = "0"
	}
	return json.Number(n)
}
