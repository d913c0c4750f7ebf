package connector

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/connector/positions"
	"github.com/comeet-connector/comeet-connector/events"
)

// metrics are the connector's figures. Labels hold account names and closed sets of words, never
// anything of a candidate.
type metrics struct {
	registry   *prometheus.Registry
	outcomes   *prometheus.CounterVec
	failures   *prometheus.CounterVec
	statuses   *prometheus.CounterVec
	unfinished *prometheus.CounterVec
	overtaken  *prometheus.CounterVec
	polls      *prometheus.CounterVec
	lastPoll   *prometheus.GaugeVec
	sweeps     *prometheus.CounterVec
	lastSweep  *prometheus.GaugeVec
	unreadable *prometheus.CounterVec
	unread     *prometheus.GaugeVec
	pending    *prometheus.GaugeVec
	byState    *prometheus.GaugeVec
	requests   *prometheus.CounterVec
	took       *prometheus.HistogramVec
	waiting    *prometheus.GaugeVec
	held       *prometheus.GaugeVec
	unserved   prometheus.Gauge
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "comeet_connector_" + name, Help: help}, append([]string{"account"}, labels...))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "comeet_connector_" + name, Help: help}, append([]string{"account"}, labels...))
	}
	m := &metrics{
		registry:   prometheus.NewRegistry(),
		outcomes:   counter("candidates_accepted_total", "Sourced events with the outcome accepted, by how it came.", "outcome"),
		failures:   counter("candidates_failed_total", "Sourced events with the outcome failed, by reason. Their originals are dead letters, but for the reason erased.", "reason"),
		statuses:   counter("status_changes_total", "Status events published by polls."),
		unfinished: counter("deliveries_unfinished_total", "Deliveries that ended without an outcome because the bus or we failed; they come again."),
		overtaken:  counter("claims_overtaken_total", "Candidates that Comeet took of submissions that had been given up. Anything but 0 deserves a look at Comeet: the log names both candidates."),
		polls:      counter("polls_total", "Polls for status changes, by whether they completed.", "result"),
		lastPoll:   gauge("last_poll_timestamp_seconds", "When the last poll completed."),
		sweeps:     counter("sweeps_total", "Passes of the slow sweep over all candidates, by whether they completed.", "result"),
		lastSweep:  gauge("last_sweep_timestamp_seconds", "When the last pass of the sweep completed."),
		unreadable: counter("ledger_entries_unreadable_total", "Entries of the events stream that cannot be read, each told in the log with its sequence. Anything but 0 deserves a look at who else writes there."),
		unread:     gauge("sweep_unread_candidates", "Followed candidates that the last complete pass of the sweep could not read."),
		pending:    gauge("poll_unread_candidates", "Followed candidates that the last complete poll could not read and left to later ones."),
		byState:    gauge("positions", "Known positions by state.", "state"),
		waiting:    gauge("events_waiting", "Sourced events that were not delivered yet."),
		held:       gauge("events_in_hand", "Sourced events that are delivered and have no outcome yet."),
		requests:   counter("comeet_requests_total", "Requests to Comeet by operation and what their answer meant.", "operation", "answer"),
	}
	m.took = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "comeet_connector_comeet_request_seconds", Help: "How long requests to Comeet took.",
		Buckets: []float64{.01, .03, .1, .3, 1, 3, 10, 30},
	}, []string{"account", "operation"})
	m.unserved = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "comeet_connector_events_unserved", Help: "Sourced events for accounts that are not configured. Anything but 0 deserves a look at the log.",
	})
	m.registry.MustRegister(m.unserved, m.took, m.waiting, m.held, m.outcomes, m.failures, m.statuses, m.unfinished, m.overtaken, m.polls, m.lastPoll, m.sweeps, m.lastSweep, m.unreadable, m.unread, m.pending, m.byState, m.requests,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// accountMetrics are one account's, with every value of a closed set present from the start. What
// it has counted stays as it is when another replica serves the account; what it shows of the
// present is there only from begin to end.
type accountMetrics struct {
	m                             *metrics
	account                       string
	statuses, unfinished          prometheus.Counter
	overtaken                     prometheus.Counter
	pollsCompleted, pollsFailed   prometheus.Counter
	sweepsCompleted, sweepsFailed prometheus.Counter
	unreadable                    prometheus.Counter

	lastPoll, lastSweep     prometheus.Gauge
	pollUnread, sweepUnread prometheus.Gauge
	waiting, held           prometheus.Gauge
}

func (m *metrics) of(account string) *accountMetrics {
	am := &accountMetrics{
		m: m, account: account,
		statuses: m.statuses.WithLabelValues(account), unfinished: m.unfinished.WithLabelValues(account),
		overtaken:      m.overtaken.WithLabelValues(account),
		pollsCompleted: m.polls.WithLabelValues(account, "completed"), pollsFailed: m.polls.WithLabelValues(account, "failed"),
		unreadable:      m.unreadable.WithLabelValues(account),
		sweepsCompleted: m.sweeps.WithLabelValues(account, "completed"), sweepsFailed: m.sweeps.WithLabelValues(account, "failed"),
	}
	for _, o := range []events.Outcome{events.OutcomeCreated, events.OutcomeExisting, events.OutcomeRecovered, events.OutcomeDuplicate} {
		am.accepted(o)
	}
	for _, r := range []events.Reason{
		events.ReasonInvalidEvent, events.ReasonPositionNotFound, events.ReasonPositionAmbiguous, events.ReasonPositionClosed,
		events.ReasonPositionOnHold, events.ReasonRefused, events.ReasonFileRefused, events.ReasonFileMissing, events.ReasonInDoubt, events.ReasonExpired,
		events.ReasonErased,
	} {
		am.failed(r)
	}
	return am
}

// begin shows the present of an account that this replica serves from now on.
func (m *accountMetrics) begin() {
	m.lastPoll, m.lastSweep = m.m.lastPoll.WithLabelValues(m.account), m.m.lastSweep.WithLabelValues(m.account)
	m.waiting, m.held = m.m.waiting.WithLabelValues(m.account), m.m.held.WithLabelValues(m.account)
	m.pollUnread, m.sweepUnread = m.m.pending.WithLabelValues(m.account), m.m.unread.WithLabelValues(m.account)
}

// end takes it away, for it is another replica's to show.
func (m *accountMetrics) end() {
	for _, g := range []*prometheus.GaugeVec{m.m.lastPoll, m.m.lastSweep, m.m.waiting, m.m.held, m.m.pending, m.m.unread, m.m.byState} {
		g.DeletePartialMatch(prometheus.Labels{"account": m.account})
	}
}

// StatusPublished implements track.Metrics.
func (m *accountMetrics) StatusPublished() { m.statuses.Inc() }

// Overtaken implements track.Metrics.
func (m *accountMetrics) Overtaken() { m.overtaken.Inc() }

// PollCompleted implements track.Metrics.
func (m *accountMetrics) PollCompleted(unread int) {
	m.pollsCompleted.Inc()
	m.lastPoll.SetToCurrentTime()
	m.pollUnread.Set(float64(unread))
}

// PollFailed implements track.Metrics.
func (m *accountMetrics) PollFailed() { m.pollsFailed.Inc() }

// SweepCompleted implements track.Metrics.
func (m *accountMetrics) SweepCompleted(unread int) {
	m.sweepsCompleted.Inc()
	m.lastSweep.SetToCurrentTime()
	m.sweepUnread.Set(float64(unread))
}

// SweepFailed implements track.Metrics.
func (m *accountMetrics) SweepFailed() { m.sweepsFailed.Inc() }

// EntryUnreadable implements track.Metrics.
func (m *accountMetrics) EntryUnreadable() { m.unreadable.Inc() }

func (m *accountMetrics) accepted(o events.Outcome) prometheus.Counter {
	return m.m.outcomes.WithLabelValues(m.account, string(o))
}

func (m *accountMetrics) failed(r events.Reason) prometheus.Counter {
	return m.m.failures.WithLabelValues(m.account, string(r))
}

// answered counts and times one request to Comeet.
func (m *accountMetrics) answered(o comeet.Observation) {
	answer := "ok"
	if o.Kind != 0 {
		answer = o.Kind.String()
	}
	op := strings.ReplaceAll(o.Op, " ", "_")
	m.m.requests.WithLabelValues(m.account, op, answer).Inc()
	m.m.took.WithLabelValues(m.account, op).Observe(o.Took.Seconds())
}

func (m *accountMetrics) positions(list []positions.Position) {
	var n [3]float64
	for _, p := range list {
		n[p.State()]++
	}
	m.m.byState.WithLabelValues(m.account, "open").Set(n[positions.Open])
	m.m.byState.WithLabelValues(m.account, "on_hold").Set(n[positions.OnHold])
	m.m.byState.WithLabelValues(m.account, "closed").Set(n[positions.Closed])
}
