package connector_test

import "testing"

// An operator pauses one account: its events wait, also over a restart, the other account's do not; nothing is lost.
func TestPausedAccountWaitsAndOthersDoNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, accounts("acme", "default"))
	ctx, operator := t.Context(), w.operator()
	if err := operator.PauseAccount(ctx, "acme", "contract under review"); err != nil {
		t.Fatal(err)
	}
	first := w.run()
	w.publishTo("acme", source, "held", person(1))
	w.publish("free", person(2))
	w.outcome("free")
	first.stop(w)
	w.run()
	w.publish("free too", person(3))
	w.outcome("free too")
	if n := len(w.fake.Candidates("acme")); n != 0 {
		t.Fatalf("%d candidates of the paused account", n)
	}
	held, err := operator.PausedAccounts(ctx)
	if err != nil || len(held) != 1 || held[0].Account != "acme" || held[0].Reason != "contract under review" {
		t.Fatalf("pauses %+v, %v", held, err)
	}
	if paused, err := operator.ResumeAccount(ctx, "acme"); err != nil || !paused {
		t.Fatalf("paused before: %v, %v", paused, err)
	}
	w.outcome("held")
	w.check()
}
