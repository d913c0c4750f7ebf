package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// source is where a secret comes from: a value, or a file that is read anew each time, so that a
// rotated one is followed.
type source struct{ valueName, fileName, value, file string }

func (s source) given() bool { return s.value != "" || s.file != "" }

func (s source) check() error {
	switch {
	case !s.given():
		return fmt.Errorf("%s is missing: set it, or %s", s.valueName, s.fileName)
	case s.value != "" && s.file != "":
		return fmt.Errorf("%s and %s are both given: keep one", s.valueName, s.fileName)
	}
	_, err := s.read()
	return err
}

func (s source) read() (string, error) {
	if s.file == "" {
		if v := trim(s.value); v != "" {
			return oneLine(v, s.valueName)
		}
		return "", fmt.Errorf("%s is blank", s.valueName)
	}
	raw, err := os.ReadFile(s.file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.fileName, err)
	}
	if bytes.HasPrefix(raw, []byte("\xff\xfe")) || bytes.HasPrefix(raw, []byte("\xfe\xff")) {
		return "", fmt.Errorf("%s: %s is UTF-16, as some Windows programs write it: save it as UTF-8", s.fileName, s.file)
	}
	if v := trim(string(raw)); v != "" {
		return oneLine(v, s.fileName)
	}
	return "", fmt.Errorf("%s: %s is empty", s.fileName, s.file)
}

// oneLine refuses what was cut or pasted together wrongly: no key or secret of Comeet's has a line
// break inside.
func oneLine(v, name string) (string, error) {
	if strings.ContainsFunc(v, unicode.IsControl) {
		return "", fmt.Errorf("%s holds a line break or another control character inside: it must be the value alone", name)
	}
	return v, nil
}

func credentials(key, secret source) comeet.Credentials {
	return func() (string, string, error) {
		k, keyErr := key.read()
		s, secretErr := secret.read()
		return k, s, errors.Join(keyErr, secretErr)
	}
}
