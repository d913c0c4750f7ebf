package comeettest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// pageParameter carries a page's position inside next_page. Its name and value are opaque to
// clients (specification §2.9).
const pageParameter = "opaque"

// page is where a listing stands.
type page struct {
	Filters string `json:"f"` // the first request's query
	Limit   int    `json:"l"`
	At      int    `json:"a"` // ordinal to go on from (OrderCreated), else rows given so far
	Empty   bool   `json:"e"` // this page is an empty one in between
}

// openPage reads limit and position of a list request. limit is clamped silently; its default and
// maximum are UNKNOWN.
func (c *call) openPage() (p page, filters url.Values, bad *reply) {
	if token := c.query.Get(pageParameter); token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err == nil {
			err = json.Unmarshal(raw, &p)
		}
		if err == nil {
			filters, err = url.ParseQuery(p.Filters)
		}
		if err != nil {
			c.s.record.violate(c.req, "query", "next_page was altered")
			return p, nil, apiError(http.StatusBadRequest, "invalid_request", "Bad page")
		}
		return p, filters, nil
	}
	p.Limit = orDefault(c.sw.PageSize, 100)
	if text := c.query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			c.s.record.violate(c.req, "query", "limit must be a positive whole number")
			return p, nil, apiError(http.StatusBadRequest, "invalid_request", "Bad limit "+text)
		}
		p.Limit = n
	}
	p.Limit = min(p.Limit, orDefault(c.sw.MaxPageSize, 1000))
	p.Filters = c.in.rawQuery
	return p, c.query, nil
}

// nextURL is the absolute URL of the page after p, which continues at the position given.
func (c *call) nextURL(p page, at int) string {
	p.At, p.Empty = at, c.sw.EmptyPages && !p.Empty
	if c.sw.NextPageDropsFilters {
		p.Filters = ""
	}
	raw, err := json.Marshal(p)
	if err != nil {
		panic("comeettest: " + err.Error())
	}
	base, path := c.in.base, c.in.path
	switch c.sw.NextPageBase {
	case "":
	case "/":
		base = ""
	default:
		base = c.sw.NextPageBase
		path = path[len(c.s.config.basePath):]
	}
	return base + path + "?" + pageParameter + "=" + base64.RawURLEncoding.EncodeToString(raw)
}

// envelope is a list's answer: the rows, and next_page as URL, null or absent [O: wsc, riverside].
func (c *call) envelope(name string, rows any, next string) *reply {
	out := map[string]any{name: rows}
	switch {
	case next != "":
		out["next_page"] = next
	case !c.sw.OmitNextPage:
		out["next_page"] = nil
	}
	return jsonReply(http.StatusOK, out)
}

// cut takes a page from rows of which the first is at position p.At, and says where the next one
// starts; -1 for nowhere. Repeated and skipped rows: Switches.
func cut[T any](rows []T, p page, sw *Switches, position func(index int) int) (part []T, next int) {
	if p.Empty {
		return rows[:0], p.At
	}
	if len(rows) <= p.Limit {
		return rows, -1
	}
	from := p.Limit + sw.SkipRows - min(sw.RepeatRows, p.Limit-1)
	if from >= len(rows) {
		return rows[:p.Limit], -1
	}
	return rows[:p.Limit], position(from)
}
