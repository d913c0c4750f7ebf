package positions

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/comeet-connector/comeet-connector/connector/bus"
)

// The positions bucket has a key for each position, <account>.<uid>, and the Position as JSON.

// Read is what the positions bucket holds of an account's positions, in no order. What is not
// readable there is left out.
func Read(ctx context.Context, bucket *bus.Bucket, account string) ([]Position, error) {
	stored, err := bucket.All(ctx, account)
	if err != nil {
		return nil, err
	}
	var out []Position
	for _, raw := range stored {
		var p Position
		if json.Unmarshal(raw, &p) == nil {
			out = append(out, p)
		}
	}
	return out, nil
}

// store writes what differs from the bucket, which is read anew since another replica may have
// written it. A position that Comeet no longer shows is removed: it may be closed, deleted or no
// longer shared, and in each case nobody should source for it.
func (c *Catalogue) store(ctx context.Context, list []Position) error {
	gone, err := c.cfg.Bucket.All(ctx, c.cfg.Account)
	if err != nil {
		return err
	}
	for _, p := range list {
		key := c.cfg.Account + "." + keyToken(p.UID)
		raw, err := json.Marshal(p)
		if err != nil {
			return err
		}
		same := bytes.Equal(gone[key], raw)
		delete(gone, key)
		if same {
			continue
		}
		if err := c.cfg.Bucket.Put(ctx, key, raw); err != nil {
			return err
		}
	}
	for key := range gone {
		if err := c.cfg.Bucket.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// keyToken writes a uid as one token of a bucket's key: letters, digits, - and _ stay, all else
// becomes =XX.
func keyToken(uid string) string {
	var b strings.Builder
	for i := range len(uid) {
		ch := uid[i]
		if ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || ch >= '0' && ch <= '9' || ch == '-' || ch == '_' {
			b.WriteByte(ch)
		} else {
			fmt.Fprintf(&b, "=%02X", ch)
		}
	}
	return b.String()
}
