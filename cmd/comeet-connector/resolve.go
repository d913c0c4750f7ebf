package main

import (
	"errors"
	"strings"

	"github.com/alecthomas/kong"
)

// configFlag is the only setting that the file cannot hold.
const configFlag = "config"

// noSettings are the flags that every command has and that are no settings.
var noSettings = map[string]bool{"help": true, "version": true, configFlag: true}

// resolver finds the value of a flag that the command line does not give: in the environment, else
// in the file. kong's own env tag is not used, since it quotes values in errors, takes an empty
// variable for a value, and would lose to the file.
type resolver struct {
	env  environment
	file *settingsFile
	// known are the keys that the file may hold: the settings, and the two secrets, which have no
	// flag.
	known map[string]bool
	// origin says where each value was found, for errors; nil until the file has been read.
	origin map[string]string
}

// learn takes the settings' names from the flags that every command has.
func (r *resolver) learn(app *kong.Application) {
	r.known = map[string]bool{key(apiKey): true, key(apiSecret): true}
	for _, flag := range app.Flags {
		if !noSettings[flag.Name] {
			r.known[key(flag.Name)] = true
		}
	}
}

// variables are the environment's names of the settings.
func (r *resolver) variables() map[string]bool {
	out := map[string]bool{variable(configFlag): true}
	for k := range r.known {
		out[variable(k)] = true
	}
	return out
}

// Validate implements kong.Resolver; all that it could check is checked by Resolve.
func (r *resolver) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (r *resolver) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if r.origin == nil {
		r.origin = map[string]string{}
		r.file.load(r.configPath(ctx), r.known)
	}
	if !r.known[key(flag.Name)] {
		return nil, nil
	}
	if v := r.env.get(variable(flag.Name)); v != "" {
		r.origin["--"+flag.Name] = variable(flag.Name)
		return v, nil
	}
	if v, ok := r.file.values[key(flag.Name)]; ok {
		r.origin["--"+flag.Name] = r.file.path + ": " + key(flag.Name)
		return v, nil
	}
	return nil, nil
}

func (r *resolver) configPath(ctx *kong.Context) string {
	for _, flag := range ctx.Model.Flags {
		if flag.Name == configFlag {
			if path, _ := ctx.FlagValue(flag).(string); path != "" {
				return path
			}
		}
	}
	return r.env.get(variable(configFlag))
}

// explain names the place of a bad value instead of a flag that nobody gave.
func (r *resolver) explain(err error) error {
	if err == nil {
		return nil
	}
	said := err.Error()
	if end := strings.IndexAny(said, ": "); end > 0 && r.origin[said[:end]] != "" {
		return errors.New(r.origin[said[:end]] + said[end:])
	}
	return err
}

func variable(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

func key(name string) string { return strings.ToLower(strings.ReplaceAll(name, "-", "_")) }
