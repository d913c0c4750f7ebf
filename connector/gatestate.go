package connector

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/comeet-connector/comeet-connector/comeet"
)

// tellGate logs what an operator must know of an account's gate: the breaker, denied capabilities,
// pauses, and a 429.
func tellGate(log zerolog.Logger) func(comeet.GateState) {
	last := comeet.GateState{Breaker: comeet.BreakerClosed}
	var heldUntil time.Time // as it was logged last
	return func(s comeet.GateState) {
		switch {
		case s.Breaker == last.Breaker:
		case s.Breaker == comeet.BreakerOpen && last.Breaker == comeet.BreakerClosed:
			log.Error().Time("next_probe", s.NextProbe).Msg("Comeet is not usable: breaker open, nothing is fetched or sent until a probe succeeds")
		case s.Breaker == comeet.BreakerClosed:
			log.Info().Dur("outage", last.Outage).Msg("Comeet is back: breaker closed")
		}
		for i, c := range s.Capabilities {
			before := i < len(last.Capabilities) && last.Capabilities[i].Denied
			switch {
			case c.Denied && !before:
				log.Error().Stringer("capability", c.Capability).Int("status", c.Status).Str("code", c.Code).Time("next_try", c.NextTrial).
					Msg("Comeet denies this account a capability; it is paused. Check the API key, the secret and the integration's permissions")
			case !c.Denied && before:
				log.Info().Stringer("capability", c.Capability).Msg("Comeet grants the capability again; going on")
			}
		}
		// Each answer that was under way may make the same hold a little longer.
		if s.Budget.HoldUntil.After(heldUntil.Add(time.Minute)) || s.Budget.Hold > 0 && heldUntil.Before(time.Now()) {
			log.Warn().Dur("for", s.Budget.Hold).Time("until", s.Budget.HoldUntil).Dur("retry_after", s.Budget.RetryAfter).
				Msg("Comeet says too many requests, now or to the owner before; sending nothing for a while. Does something else use this API key?")
			heldUntil = s.Budget.HoldUntil
		}
		if s.Paused != last.Paused {
			log.Warn().Bool("paused", s.Paused).Str("reason", s.PauseReason).Msg("an operator paused or resumed the account")
		}
		last = s
	}
}

// gates shows the gates' states, and the troubles of the accounts served here, as metrics, read
// when they are asked for.
type gates struct {
	clients *sync.Map
	served  *served
}

var (
	breakerDesc = prometheus.NewDesc("comeet_connector_breaker_state", "1 for the breaker's present state.", []string{"account", "state"}, nil)
	outageDesc  = prometheus.NewDesc("comeet_connector_outage_seconds", "For how long Comeet has not been usable; 0 while it is.", []string{"account"}, nil)
	slotsDesc   = prometheus.NewDesc("comeet_connector_budget_slots", "The request budget by use: slots used by submissions, polls and other, and free ones.", []string{"account", "use"}, nil)
	deniedDesc  = prometheus.NewDesc("comeet_connector_capability_denied", "1 while Comeet denies the account this capability.", []string{"account", "capability"}, nil)
	pausedDesc  = prometheus.NewDesc("comeet_connector_paused", "1 while an operator has paused the account.", []string{"account"}, nil)
	troubleDesc = prometheus.NewDesc("comeet_connector_account_in_trouble", "1 while an account that this replica has to serve can't be served, or could not shortly before; the log says why.", []string{"account"}, nil)
	holdDesc    = prometheus.NewDesc("comeet_connector_hold_seconds", "For how long nothing is sent, since Comeet said too many requests; 0 without that.", []string{"account"}, nil)
	waitingDesc = prometheus.NewDesc("comeet_connector_requests_waiting", "Requests that wait for the gate.", []string{"account", "priority"}, nil)
)

// Describe implements prometheus.Collector.
func (g gates) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{breakerDesc, outageDesc, slotsDesc, deniedDesc, pausedDesc, troubleDesc, holdDesc, waitingDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g gates) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	for name, trouble := range g.served.all() {
		gauge(troubleDesc, flag(trouble != ""), name)
	}
	for key, client := range g.clients.Range {
		name, s := key.(string), client.(*comeet.Client).Gate().State()
		for _, b := range []comeet.BreakerState{comeet.BreakerClosed, comeet.BreakerHalfOpen, comeet.BreakerOpen} {
			gauge(breakerDesc, flag(s.Breaker == b), name, b.String())
		}
		gauge(outageDesc, s.Outage.Seconds(), name)
		gauge(slotsDesc, float64(s.Budget.Submissions), name, "submissions")
		gauge(slotsDesc, float64(s.Budget.Polls), name, "polls")
		gauge(slotsDesc, float64(s.Budget.Other), name, "other")
		gauge(slotsDesc, float64(s.Budget.Free), name, "free")
		for _, k := range s.Capabilities {
			gauge(deniedDesc, flag(k.Denied), name, k.Capability.String())
		}
		gauge(pausedDesc, flag(s.Paused), name)
		gauge(holdDesc, s.Budget.Hold.Seconds(), name)
		for p, n := range s.Waiting {
			gauge(waitingDesc, float64(n), name, p.String())
		}
	}
}
