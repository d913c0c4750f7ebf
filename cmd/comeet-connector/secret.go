package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// source is where a secret comes from: a value, or a file that is read anew each time, so that a rotated one is followed.
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
		if v := strings.TrimSpace(s.value); v != "" {
			return v, nil
		}
		return "", fmt.Errorf("%s is blank", s.valueName)
	}
	raw, err := os.ReadFile(s.file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.fileName, err)
	}
	if v := strings.TrimSpace(string(raw)); v != "" {
		return v, nil
	}
	return "", fmt.Errorf("%s: %s is empty", s.fileName, s.file)
}

func credentials(key, secret source) comeet.Credentials {
	return func() (string, string, error) {
		k, keyErr := key.read()
		s, secretErr := secret.read()
		return k, s, errors.Join(keyErr, secretErr)
	}
}
