package ops

import (
	"context"

	"github.com/comeet-connector/comeet-connector/connector/bus"
	"github.com/comeet-connector/comeet-connector/connector/owner"
	"github.com/comeet-connector/comeet-connector/events"
)

// PauseAccount holds an account until ResumeAccount: the connector fetches and sends nothing for
// it, and nothing is lost. An account that no connector has ever served may be paused beforehand.
// PauseAccount logs a warning then, since the name may be misspelled. Errors: that no account can
// have this name; the bus's, the context's.
func (c *Client) PauseAccount(ctx context.Context, account, reason string) error {
	bucket, err := c.accounts(ctx, account)
	if err != nil {
		return err
	}
	if err := owner.PauseAccount(ctx, bucket, account, reason); err != nil {
		return err
	}
	served, err := c.bus.HasConsumer(ctx, bus.SourcedStream, owner.ConsumerOf(account))
	if err == nil && !served {
		c.cfg.Log.Warn().Str("account", account).Msg("no connector has served an account of this name yet; check the spelling")
	}
	return err
}

// ResumeAccount ends a pause, and reports whether there was one. Errors: that no account can have
// this name; the bus's, the context's.
func (c *Client) ResumeAccount(ctx context.Context, account string) (paused bool, err error) {
	bucket, err := c.accounts(ctx, account)
	if err != nil {
		return false, err
	}
	return owner.ResumeAccount(ctx, bucket, account)
}

// PausedAccounts lists the accounts that are paused, by name. Errors: the bus's, the context's.
func (c *Client) PausedAccounts(ctx context.Context) ([]owner.Pause, error) {
	bucket, err := c.bus.Bucket(ctx, bus.AccountsBucket)
	if err != nil {
		return nil, err
	}
	return owner.Paused(ctx, bucket)
}

// accounts is the accounts bucket, for a name that an account can have.
func (c *Client) accounts(ctx context.Context, account string) (*bus.Bucket, error) {
	if err := events.CheckAccount(account); err != nil {
		return nil, err
	}
	return c.bus.Bucket(ctx, bus.AccountsBucket)
}
