package main

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"gopkg.in/yaml.v3"
)

// settingsFile is the YAML file: the flags' names with underscores, the two secrets, and the
// accounts. Its errors name keys and lines, never values: a value may be a secret in the wrong
// place.
type settingsFile struct {
	path     string
	values   map[string]string
	accounts []fileAccount
	// err is kept until a command asks for the settings: kong would blame an innocent flag for it,
	// and version needs no file.
	err error
}

// fileAccount is one entry of accounts.
type fileAccount struct {
	name, apiKey, apiKeyFile, apiSecret, apiSecretFile, baseURL, fallbackPosition text

	rateLimit    rate
	pollInterval duration
	workers      count
}

func (a *fileAccount) fields() map[string]encoding.TextUnmarshaler {
	return map[string]encoding.TextUnmarshaler{
		"name": &a.name, "api_key": &a.apiKey, "api_key_file": &a.apiKeyFile, "api_secret": &a.apiSecret,
		"api_secret_file": &a.apiSecretFile, "base_url": &a.baseURL, "fallback_position": &a.fallbackPosition,
		"rate_limit": &a.rateLimit, "poll_interval": &a.pollInterval, "workers": &a.workers,
	}
}

// load reads the file at path; "" is none.
func (f *settingsFile) load(path string, known map[string]bool) {
	if path == "" {
		return
	}
	f.path, f.values = path, map[string]string{}
	raw, err := os.ReadFile(path)
	if err != nil {
		f.err = fmt.Errorf("configuration file: %w", err)
		return
	}
	top, err := onlyDocument(path, raw)
	if err != nil || top == nil {
		f.err = err
		return
	}
	var wrong []error
	refuse := func(n *yaml.Node, format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("%s:%d: %s", path, n.Line, fmt.Sprintf(format, args...)))
	}
	each(top, refuse, func(k, v *yaml.Node) {
		switch {
		case k.Value == "accounts":
			f.readAccounts(v, refuse)
		case !known[k.Value]:
			refuse(k, "unknown setting %q", k.Value)
		case v.Kind != yaml.ScalarNode:
			refuse(v, "%s must be a single value", k.Value)
		case v.Tag != "!!null" && trim(v.Value) != "":
			f.values[k.Value] = trim(v.Value)
		}
	})
	f.err = errors.Join(wrong...)
}

// onlyDocument returns the content of the file's only YAML document; nil if there is none. Empty
// documents do not count.
func onlyDocument(path string, raw []byte) (*yaml.Node, error) {
	var only *yaml.Node
	for documents := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var doc yaml.Node
		err := documents.Decode(&doc)
		switch {
		case errors.Is(err, io.EOF):
			return only, nil
		case err != nil && only != nil && bytes.Contains(raw, []byte("\n---")):
			return nil, fmt.Errorf("%s: a second YAML document begins after a line of dashes; all settings belong into one", path)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, syntaxError(err))
		case len(doc.Content) == 0 || doc.Content[0].Tag == "!!null":
		case only != nil:
			return nil, fmt.Errorf("%s:%d: a second document begins here; all settings belong into one", path, doc.Line)
		default:
			only = doc.Content[0]
		}
	}
}

type refuseFunc func(n *yaml.Node, format string, args ...any)

func (f *settingsFile) readAccounts(list *yaml.Node, refuse refuseFunc) {
	if list.Kind != yaml.SequenceNode {
		refuse(list, "accounts must be a list")
		return
	}
	for _, entry := range list.Content {
		var a fileAccount
		fields := a.fields()
		each(entry, refuse, func(k, v *yaml.Node) {
			field, known := fields[k.Value]
			switch {
			case !known:
				refuse(k, "unknown setting %q of an account", k.Value)
			case v.Kind != yaml.ScalarNode:
				refuse(v, "%s must be a single value", k.Value)
			case v.Tag == "!!null":
			default:
				if err := field.UnmarshalText([]byte(v.Value)); err != nil {
					refuse(v, "%s: %v", k.Value, err)
				} else if k.Value == "rate_limit" && a.rateLimit.Requests == 0 {
					refuse(v, "rate_limit: off is for all accounts or none: set it outside accounts")
				}
			}
		})
		f.accounts = append(f.accounts, a)
	}
}

// each calls visit for every key and value of a mapping. A key that comes twice is refused: one of
// the two would be lost.
func each(mapping *yaml.Node, refuse refuseFunc, visit func(k, v *yaml.Node)) {
	if mapping.Kind != yaml.MappingNode {
		refuse(mapping, "must be settings, each as \"name: value\"")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		k, v := mapping.Content[i], mapping.Content[i+1]
		if seen[k.Value] {
			refuse(k, "%s is given twice", k.Value)
			continue
		}
		seen[k.Value] = true
		visit(k, v)
	}
}

var line = regexp.MustCompile(`line \d+`)

// syntaxError keeps only the place of a YAML error: its words may quote the text.
func syntaxError(err error) error {
	if at := line.FindString(err.Error()); at != "" {
		return fmt.Errorf("not valid YAML near %s", at)
	}
	return errors.New("not valid YAML: quote values that begin with a special character such as * or &")
}
