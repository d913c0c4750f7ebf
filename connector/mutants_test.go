package connector_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

var (
	mutants = flag.Uint64("mutants", 96, "for each guard that TestMutants breaks, how many seeds of the campaign may pass until one notices")
	mutant  = flag.String("mutant", "^settle: a doubt is kept even without its claim$", "which guards TestMutants breaks, by a regular expression over their names; . is all")
)

// guard is one line of defence, and what the code is without it.
type guard struct {
	name string
	// file is relative to this folder. from stands there once; to takes its place.
	file, from, to string
	// test names what notices, if that is not the campaign: where a second line of defence hides the loss of this one. It is in the package pkg,
	// this one if empty.
	test, pkg string
	// noticed is a seed of the campaign that found the guard missing.
	noticed uint64
}

// guards are what the promises hang on.
var guards = []guard{
	{name: "claim: who loses it sends nothing", file: "attempt.go", noticed: 7,
		from: "if err != nil || !won {\n\t\treturn at.after(claim), false, err", to: "if err != nil || !won && claim.Claimed() == nil {\n\t\treturn at.after(claim), false, err"},
	{name: "claim: a write is a compare-and-set", file: "ledger/ledger.go", noticed: 19,
		from: "Expect: &bus.Expect{Filter: filter, Seq: before},", to: ""},
	{name: "settle: the repetition has the same partner id", file: "attempt.go", noticed: 4,
		from: "PartnerCandidateID: a.partnerID,", to: "PartnerCandidateID: a.partnerID + \"-\" + a.Op.ID[:1+a.last.Claimed().Attempt()],"},
	{name: "settle: only the same person is adopted", file: "lookup.go", noticed: 13,
		from: "|| tooOld || !s.isSamePerson(c) {", to: "|| tooOld {"},
	{name: "settle: what another operation has is not adopted", file: "lookup.go", test: "TestSettleNeverAdoptsTwice",
		from: "return st == nil || st.Operation == s.Op.ID, st", to: "return st == nil || st.Operation != \"\", st"},
	{name: "settle: a claim or a doubt rests before it is looked up", file: "settle.go", noticed: 7,
		from: "return wait - s.bus.Now().Sub(last.Stored)", to: "return 0"},
	{name: "settle: what was not sent again is still in doubt", file: "attempt.go", test: "TestSettleAfterARepetitionThatWasNotSent",
		from: "if a.resend != nil {\n\t\treturn a.endClaim", to: "if false {\n\t\treturn a.endClaim"},
	{name: "settle: an outage is not the event's fault", file: "doubt.go", test: "TestOutageBlamesNobody",
		from: "return sent.known && p.verdicts.Load()-sent.verdicts >= others", to: "return others > -2"},
	{name: "answer: a conflict means that Comeet has the candidate", file: "attempt.go", test: "TestExisting$",
		from: "case comeet.Existing:\n", to: "case comeet.Existing + 100:\n"},
	{name: "answer: a page of a gateway is no verdict", file: "../comeet/answer.go", noticed: 18,
		from: "{Kind: Invalid, rule: rule{from: 400, to: 400, form: apiError}", to: "{Kind: Invalid, rule: rule{from: 400, to: 400}"},
	{name: "match: only a fresh catalogue refuses", file: "match.go", test: "TestMatchByFreshPositions",
		from: "return a.stored", to: "return time.Time{}"},
	{name: "match: no name by an old catalogue", file: "match.go", test: "TestPositionsOfAnEarlierProcess",
		from: "return a.bus.Now().Add(-staleAfter * a.cfg.PositionsInterval)", to: "return time.Time{}"},
	{name: "match: Comeet's \"no such position\" is asked twice", file: "attempt.go", test: "TestEveryAnswerToAPost",
		from: "if !at.contradictedAt.IsZero() || a.resend != nil {", to: "if true {"},
	{name: "outcome: it comes before the ack", file: "attempt.go", noticed: 4,
		from: "\tsent := a.posts.now()\n", to: "\tsent := a.posts.now()\n\t_ = a.msg.Ack()\n"},
	{name: "outcome: a redelivered event is given its first status", file: "accept.go", test: "TestCrashAtEveryStep",
		from: "if have.Seq != 0 {\n", to: "if true {\n"},
	{name: "outcome: what Comeet has is written even without its claim", file: "accept.go", test: "TestClaimLostUnderItsPost",
		from: "(entry.Seq == 0 || entry.Failed()", to: "(entry.Failed()"},
	{name: "settle: a doubt is kept even without its claim", file: "attempt.go", test: "TestClaimLostUnderItsPost",
		from: "entry.Seq == 0 && how == events.StateInDoubt", to: "entry.Seq == 1 && how == events.StateInDoubt"},
	{name: "settle: a failure in doubt is looked up before another event sends", file: "submission.go", test: "TestAnotherEventAfterADoubtLooksFirst",
		from: "if at.last.Failed().Reason == events.ReasonInDoubt {", to: "if false {"},
	{name: "settle: a refused repetition hides no doubt", file: "attempt.go", test: "TestRefusedRepetitionOfWhatNobodyCouldLookUp",
		from: "if a.resend != nil && a.lookupDenied && why", to: "if false && why"},
	{name: "dead letter: it comes before the outcome", file: "refuse.go", noticed: 22,
		from: "letter, err := s.buryOriginal()", to: "letter, err := &events.DeadLetter{Sequence: 1 << 40}, error(nil)"},
	{name: "dead letter: it is stored once", file: "deadletter.go", noticed: 22,
		from: "if errors.Is(err, bus.ErrConflict) {", to: "if errors.Is(err, bus.ErrFull) {"},
	{name: "permit: a slot is taken until its answer is a window old", file: "../comeet/budget.go", noticed: 6,
		from: "s := answeredSlot{at + b.period, c}", to: "s := answeredSlot{at + b.period/2, c}"},
	{name: "fence: no POST long after its claim", file: "attempt.go", test: "TestFrozenBeyondEveryLease",
		from: "> a.cfg.RequestTimeout {\n\t\treturn a.notSent(claim)\n\t}\n\tctx, cancel := context.WithDeadline(a.work, begun.Add(2*a.cfg.RequestTimeout))", to: "> time.Hour {\n\t\treturn a.notSent(claim)\n\t}\n\tctx, cancel := context.WithCancel(a.work)"},
	{name: "settle: a piece of a look-up fits one page", file: "lookup.go", test: "TestLookUpReadsPieces",
		from: "middle := piece.after.Add(piece.before.Sub(piece.after) / 2).Truncate(time.Second)", to: "middle := piece.after"},
	{name: "settle: several pages are read until they agree", file: "../comeet/steady.go", test: "TestSteadyReadingLosesNoRow", pkg: "../comeet",
		from: "if n == 1 || equal", to: "if n >= 1 || equal"},
	{name: "settle: what is older than the claim is not ours", file: "lookup.go", test: "TestLookUpWhereFiltersAreDropped",
		from: "|| c.Deleted || tooOld ||", to: "|| c.Deleted || tooOld && false ||"},
	{name: "late: closing discards", file: "../comeet/conn.go", test: "TestGivenUpRequestIsDiscarded", pkg: "../comeet",
		from: "err = tcp.SetLinger(0)", to: "err = tcp.SetLinger(-1)"},
	{name: "late: the kernel of a frozen process gives up", file: "../comeet/conn_linux.go", test: "TestKernelGivesUpWhatTheProcessCannot", pkg: "../comeet",
		from: "if left, bound := c.left(); bound && left > 0 {", to: "if left, bound := c.left(); bound && left < 0 {"},
	{name: "late: who wakes up sends nothing more", file: "../comeet/conn_linux.go", test: "TestConnectionSendsNothingAfterTheDeadline", pkg: "../comeet",
		from: "if left, bound := c.left(); bound && left <= 0 {", to: "if false {"},
	{name: "late: what a lost owner sent may still arrive", file: "../comeet/booking.go", test: "TestBookingBoundsAnOwnerThatIsGone", pkg: "../comeet",
		from: "return g.cfg.RequestTimeout + MaxLateness(g.cfg.RequestTimeout) + g.cfg.HoldBack", to: "return g.cfg.RequestTimeout"},
	{name: "late: a doubtful outcome is confirmed", file: "confirm.go", test: "TestLateRequestShowsInTheConfirmingLook",
		from: "claim == nil || claim.Unsettled == 0 &&", to: "claim == nil || claim.Unsettled >= 0 &&"},
	{name: "settle: look before sending again", file: "lookup.go", test: "TestCrashAtEveryStep",
		from: "if c.PositionUID != claim.PositionUID ||", to: "if true || c.PositionUID != claim.PositionUID ||"},
	{name: "settle: what was found is noted before it is adopted", file: "adopt.go", test: "TestFoundCandidateMergedAwayBeforeItsOutcome",
		from: "if claim.CandidateUID != c.candidate.UID {", to: "if false {"},
	{name: "outcome: an event that has failed stays failed", file: "refuse.go", test: "TestRefusedEventComesAgainAfterItsOperationWasAccepted",
		from: "if err != nil || failed == nil {\n\t\treturn false, err", to: "if true {\n\t\treturn false, err"},
	{name: "outcome: a lost acknowledgement is recognised", file: "ledger/ledger.go", test: "TestPutWithLostAnswer", pkg: "./ledger",
		from: "case stored.Subject == subject && bytes.Equal(stored.Data, body):", to: "case stored.Subject == \"\" && bytes.Equal(stored.Data, body):"},
	{name: "erasure: an erased operation is not submitted again", file: "submission.go", test: "TestErasedPersonLeavesNothing",
		from: "case last.Erased():\n\t\treturn at, true, s.finishErased(at.firstStatusUID)", to: "case last.Erased():\n\t\treturn s.attempt(at, permit, nil, false)"},
	{name: "booking: what the owner before may send counts", file: "owner/booking.go", noticed: 2,
		from: "b.cfg.Gate.Import(spent.After(", to: "_ = (spent.After("},
	{name: "booking: who was overtaken books no more", file: "owner/booking.go", test: "TestTwoFreshOwnersDoNotShareABooking", pkg: "./owner",
		from: "if rerr != nil || string(have) != string(raw) {", to: "if rerr != nil || string(have) == \"\" {"},
	{name: "booking: nothing is sent that is not booked", file: "../comeet/booking.go", test: "TestBookingBoundsAnOwnerThatIsGone", pkg: "../comeet",
		from: "return !b.on || b.left", to: "return true || b.left"},
	{name: "poll: it reaches back over what becomes visible late", file: "track/poll.go", noticed: 180,
		from: "after := last.Since.Add(-t.cfg.PollOverlap)", to: "after := last.Since"},
	{name: "poll: a run that failed moves no cursor", file: "track/poll.go", test: "TestRunOfSeveralPagesMissesNothing",
		from: "if err := t.pollListed(ctx, after, last, &next, &left); err != nil {", to: "if err := t.pollListed(ctx, after, last, &next, &left); ctx.Err() != nil {"},
	{name: "poll: the cursor comes after what was seen", file: "track/poll.go", noticed: 45,
		from: "\tnext := cursor{}\n", to: "\tnext := cursor{}\n\tif err := t.saveState(ctx, \"poll\", cursor{Started: t.comeetNow(), Since: t.comeetNow()}); err != nil {\n\t\treturn 0, err\n\t}\n"},
	{name: "poll: what took several pages is read twice", file: "track/poll.go", test: "TestRunOfSeveralPagesMissesNothing",
		from: "next.Since = last.Started\n", to: "next.Since = next.Started\n"},
	{name: "poll: the clock is Comeet's", file: "track/observe.go", noticed: 10,
		from: "return r.Date.Add(-r.Answered.Sub(r.Sent)).UTC()", to: "return r.Sent.UTC()"},
	{name: "poll: a clock that was set back is noticed", file: "track/poll.go", test: "TestClockSetBackLosesNothing",
		from: "if by := next.setBack(last); by > 0 {", to: "if by := next.setBack(last); by < 0 {"},
	{name: "status: what may be old is read anew", file: "track/observe.go", test: "TestLatePageIsNotPublishedOverANewerState",
		from: "return !deletion && r.asked.After(known.SeenAt)", to: "return !deletion"},
	{name: "status: a deletion may be a merge", file: "track/observe.go", noticed: 72,
		from: "return !deletion && r.asked.After(known.SeenAt)", to: "return (!deletion || true) && r.asked.After(known.SeenAt)"},
	{name: "status: a write has to be over while its look is fresh", file: "track/observe.go", test: "TestStatusIsNotPublishedLate",
		from: "context.WithDeadline(ctx, r.sent.Add(t.freshness()))", to: "context.WithDeadline(ctx, r.sent.Add(time.Hour))"},
	{name: "status: a merged candidate has ended", file: "track/observe.go", test: "TestStatusEventSaysWhatChanged",
		from: "if known == nil || known.Merged {", to: "if known == nil {"},
	{name: "status: a write is a compare-and-set", file: "ledger/ledger.go", noticed: 19,
		from: "return l.put(ctx, subject, subject, 0, before, e)", to: "last, err := l.last(ctx, subject)\n\tif err != nil {\n\t\treturn last, false, err\n\t}\n\treturn l.put(ctx, subject, subject, 0, last.Seq, e)"},
	{name: "status: content is compared, not times", file: "track/diff.go", noticed: 15,
		from: "\tif len(changed) == 0 {\n", to: "\tif len(changed) == 0 && (r.candidate == nil || timeText(r.candidate.TimeLastStatusChanged) == known.TimeLastStatusChanged) {\n"},
	{name: "status: what is not told stays as it was known", file: "track/diff.go", test: "TestWhatARowLeavesOutStaysAsItWasKnown",
		from: "\tif c.Status != nil {\n\t\tknown.Status = *c.Status", to: "\tif known.Status = \"\"; c.Status != nil {\n\t\tknown.Status = *c.Status"},
	{name: "sweep: what no page showed is looked at", file: "track/sweep.go", test: "TestSweepSeesWhatPollsCannot",
		from: "if err := p.checkUnlisted(ctx); err != nil {", to: "if err := error(nil); err != nil {"},
	{name: "bus: an unknown result is asked for again", file: "bus/try.go", test: "TestPublishLostAnswer", pkg: "./bus",
		from: "\t\tif !again {\n", to: "\t\tif !again || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {\n"},
	{name: "bus: a write in flight is no verdict", file: "bus/try.go", test: "TestCluster", pkg: "./bus",
		from: "return ErrConflict, true", to: "return ErrConflict, false"},
}

// The list must not outlive the code that it speaks of.
func TestGuardsStandInTheCode(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, g := range guards {
		if names[g.name] {
			t.Errorf("two guards are called %q", g.name)
		}
		names[g.name] = true
		if _, err := g.broken(); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		if g.noticed == 0 && g.test == "" {
			t.Errorf("%s: no seed is known to notice that it is missing", g.name)
		}
	}
}

// broken is the guard's file without it.
func (g guard) broken() (string, error) {
	raw, err := os.ReadFile(filepath.FromSlash(g.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(raw), g.from); n != 1 {
		return "", fmt.Errorf("%s holds the guard %d times, want once", g.file, n)
	}
	return strings.Replace(string(raw), g.from, g.to, 1), nil
}

// TestMutants proves that a guard's absence is noticed. For all of them it takes a while; without flags it breaks one, to show that it can:
//
//	go test ./connector -run 'TestMutants$' -mutant . -timeout 3h -v
func TestMutants(t *testing.T) {
	for _, g := range guards {
		if !regexp.MustCompile(*mutant).MatchString(g.name) {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			program := g.build(t)
			if g.test != "" {
				test := exec.Command(program, "-test.run", g.test, "-test.timeout", "10m")
				test.Dir = g.folder()
				if out, err := test.CombinedOutput(); err == nil {
					t.Errorf("%s did not notice", g.test)
				} else {
					t.Logf("noticed by %s: %s", g.test, failed.Find(out))
				}
				return
			}
			const batch = 24
			for from := *fromSeed; from < *fromSeed+*mutants; from += batch {
				if seed, ok := g.notices(t, program, from, batch); ok {
					t.Logf("noticed by seed %d", seed)
					return
				}
			}
			t.Errorf("%d seeds did not notice", *mutants)
		})
	}
}

func (g guard) folder() string { return cmp.Or(g.pkg, ".") }

// build makes the tests of a connector without the guard.
func (g guard) build(t *testing.T) string {
	t.Helper()
	text, err := g.broken()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	original, err := filepath.Abs(filepath.FromSlash(g.file))
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: filepath.Join(dir, "mutant.go")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"mutant.go": text, "overlay.json": string(overlay)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "mutant.test")
	if out, err := exec.Command("go", "test", "-c", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, g.folder()).CombinedOutput(); err != nil {
		t.Fatalf("the mutant does not build: %v\n%s", err, out)
	}
	return program
}

var (
	failed     = regexp.MustCompile(`--- FAIL: \S+`)
	failedSeed = regexp.MustCompile(`--- FAIL: TestCampaign/seed=(\d+)`)
)

// notices runs a batch of seeds against the mutant, and tells the first that fails.
func (g guard) notices(t *testing.T, program string, from, n uint64) (seed uint64, ok bool) {
	t.Helper()
	out, err := exec.Command(program, "-test.run", "TestCampaign$", "-test.parallel", fmt.Sprint(12*runtime.NumCPU()), "-test.timeout", "10m",
		"-seeds", fmt.Sprint(n), "-seed", fmt.Sprint(from)).CombinedOutput()
	if err == nil {
		return 0, false
	}
	m := failedSeed.FindSubmatch(out)
	if m == nil {
		t.Fatalf("the mutant ended by itself: %v\n%s", err, out[max(0, len(out)-4000):])
	}
	_, err = fmt.Sscan(string(m[1]), &seed)
	return seed, err == nil
}
