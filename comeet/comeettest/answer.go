package comeettest

import (
	"encoding/json"
	"fmt"
	"html"
	"math"
	"net/http"
	"strconv"
	"time"
)

// reply is what a door makes of a request.
type reply struct {
	fate   fate
	status int
	header http.Header
	body   []byte
	chunk  time.Duration // before each piece of the body
	cut    bool          // break in the middle of the body
}

func jsonReply(status int, v any) *reply {
	body, err := json.Marshal(v)
	if err != nil {
		panic("comeettest: unencodable answer: " + err.Error())
	}
	return &reply{status: status, body: body, header: http.Header{"Content-Type": {"application/json"}}}
}

// apiError has the documented form: status, error, message and, by case, more [D: error-responses].
// Messages quote what the client sent on purpose: a client must not pass them on.
func apiError(status int, code, message string, more ...any) *reply {
	body := map[string]any{"status": status, "error": code, "message": message}
	for i := 0; i+1 < len(more); i += 2 {
		body[more[i].(string)] = more[i+1]
	}
	return jsonReply(status, body)
}

func htmlPage(status int, title string) *reply {
	t := html.EscapeString(title)
	return &reply{
		status: status,
		header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		body:   fmt.Appendf(nil, "<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%s</h1></body></html>\n", t, t),
	}
}

func throttled(retryAfter time.Duration, asHTML bool) *reply {
	r := apiError(http.StatusTooManyRequests, "too_many_requests", "Too many requests: the limit is 100 requests per 60 seconds")
	if asHTML {
		r = htmlPage(http.StatusTooManyRequests, "Too Many Requests")
	}
	if retryAfter > 0 {
		r.header.Set("Retry-After", strconv.Itoa(int(math.Ceil(retryAfter.Seconds()))))
	}
	return r
}

func noPermission() *reply {
	return apiError(http.StatusForbidden, "no_permission", "The application has no permission for this operation")
}

func notFound(what string) *reply {
	return apiError(http.StatusNotFound, "not_found", what+" was not found")
}
