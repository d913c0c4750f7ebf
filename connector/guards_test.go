package connector_test

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// guard is one line of defence, and what the code is without it. In the code it is a mark on the line
// on which the guarding statement begins: "// guard: name".
type guard struct {
	name    string
	without breakage
	// test names what notices, if that is not the campaign: where a second line of defence hides the loss
	// of this one, or the harm is too rare to be drawn. It is in the package pkg, this one if empty.
	test, pkg string
	// seed is one of the campaign that found the guard missing.
	seed uint64
}

// guards are what the promises hang on.
var guards = []guard{
	// Claims, and what is sent under them.
	{name: "claim-is-compare-and-set", without: drop, seed: 19},
	{name: "claim-loser-sends-nothing", without: instead("err != nil || !won && claim.Claimed() == nil"), seed: 7},
	{name: "no-post-long-after-its-claim", without: instead("a.send(claim, begun.Add(time.Hour))"), test: "TestFrozenBeyondEveryLease"},
	{name: "repetition-has-the-same-partner-id", without: instead(`fmt.Sprint(a.partnerID, "-", a.last.Seq)`), seed: 4},
	{name: "conflict-means-accepted", without: drop, test: "TestExisting"},
	{name: "gateway-page-is-no-verdict", without: set("form", "anyForm"), seed: 20},
	{name: "unknown-result-is-asked-again", without: instead("!again || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)"), test: "TestPublishLostAnswer", pkg: "./bus"},
	{name: "write-in-flight-is-no-verdict", without: instead("ErrConflict, false"), test: "TestCluster", pkg: "./bus"},

	// Where a candidate goes.
	{name: "refusal-needs-fresh-positions", without: instead("time.Time{}"), test: "TestMatchByFreshPositions"},
	{name: "name-needs-young-positions", without: instead("time.Time{}"), test: "TestPositionsOfAnEarlierProcess"},
	{name: "no-position-is-asked-twice", without: always, test: "TestEveryAnswerToAPost"},

	// What became of a lost answer.
	{name: "claim-rests-before-its-look-up", without: instead("0"), seed: 7},
	{name: "look-before-sending-again", without: always, test: "TestCrashAtEveryStep"},
	{name: "look-up-piece-fits-a-page", without: instead("piece.after"), test: "TestLookUpReadsPieces"},
	{name: "pages-read-until-they-agree", without: always, test: "TestSteadyReadingLosesNoRow", pkg: "../comeet"},
	{name: "nothing-older-than-the-claim", without: never, test: "TestLookUpWhereFiltersAreDropped"},
	{name: "adopt-the-same-person-only", without: instead("c.PositionUID != claim.PositionUID || c.Deleted || tooOld"), seed: 7},
	{name: "adopt-from-no-other-operation", without: instead("true, st != nil, nil"), test: "TestSettleNeverAdoptsTwice"},
	{name: "found-is-noted-first", without: never, test: "TestFoundCandidateMergedAwayBeforeItsOutcome"},
	{name: "outage-blames-no-event", without: instead("others > -2"), test: "TestOutageBlamesNobody"},
	{name: "unsent-repetition-stays-in-doubt", without: never, test: "TestSettleAfterARepetitionThatWasNotSent"},
	{name: "doubt-without-its-claim", without: never, test: "TestClaimLostUnderItsPost"},
	{name: "failed-doubt-is-looked-up", without: never, test: "TestAnotherEventAfterADoubtLooksFirst"},
	{name: "refusal-hides-no-doubt", without: never, test: "TestRefusedRepetitionOfWhatNobodyCouldLookUp"},

	// Outcomes.
	{name: "outcome-before-ack", without: before("_ = s.msg.Ack()"), test: "TestCrashAtEveryStep"},
	{name: "redelivery-makes-first-status", without: always, test: "TestCrashAtEveryStep"},
	{name: "accepted-without-its-claim", without: instead("err == nil && !won && entry.Failed() != nil && !s.isOutcome(entry)"), test: "TestClaimLostUnderItsPost"},
	{name: "failed-event-stays-failed", without: always, test: "TestRefusedEventComesAgainAfterItsOperationWasAccepted"},
	{name: "lost-ack-is-recognised", without: never, test: "TestPutWithLostAnswer", pkg: "./ledger"},
	{name: "erased-is-not-submitted", without: instead("s.attempt(at, permit, nil, false)"), test: "TestErasedPersonLeavesNothing"},
	{name: "dead-letter-before-outcome", without: instead("&events.DeadLetter{Sequence: 1 << 40}, error(nil)"), seed: 22},
	{name: "dead-letter-once", without: never, seed: 22},

	// Nothing arrives late.
	{name: "closing-discards", without: drop, test: "TestGivenUpRequestIsDiscarded", pkg: "../comeet"},
	{name: "kernel-gives-up", without: never, test: "TestKernelGivesUpWhatTheProcessCannot", pkg: "../comeet"},
	{name: "late-writer-sends-nothing", without: never, test: "TestConnectionSendsNothingAfterTheDeadline", pkg: "../comeet"},
	{name: "doubtful-outcome-is-confirmed", without: always, test: "TestLateRequestShowsInTheConfirmingLook"},

	// The budget.
	{name: "slot-taken-for-a-window", without: instead("answeredSlot{at + b.period/2, c}"), seed: 6},
	{name: "lost-owner-may-still-send", without: instead("g.cfg.RequestTimeout"), test: "TestBookingBoundsAnOwnerThatIsGone", pkg: "../comeet"},
	{name: "owner-before-counts", without: drop, seed: 12},
	{name: "overtaken-books-no-more", without: never, test: "TestTwoFreshOwnersDoNotShareABooking", pkg: "./owner"},
	{name: "unbooked-is-not-sent", without: always, test: "TestBookingBoundsAnOwnerThatIsGone", pkg: "../comeet"},

	// The way back.
	{name: "poll-reaches-back", without: instead("last.Since"), test: "TestFeedFollowsComeet"},
	{name: "failed-poll-moves-no-cursor", without: never, test: "TestRunOfSeveralPagesMissesNothing"},
	{name: "cursor-after-what-was-seen", without: after(`if err := t.saveState(ctx, "poll", cursor{Started: t.comeetNow(), Since: t.comeetNow()}); err != nil { return 0, err }`), test: "TestRunOfSeveralPagesMissesNothing"},
	{name: "several-pages-are-read-twice", without: drop, test: "TestRunOfSeveralPagesMissesNothing"},
	{name: "polls-go-by-comeets-clock", without: instead("r.Sent.UTC().Truncate(time.Second)"), seed: 10},
	{name: "clock-set-back-is-noticed", without: never, test: "TestClockSetBackLosesNothing"},
	{name: "sweep-reads-the-unlisted", without: drop, test: "TestSweepSeesWhatPollsCannot"},
	{name: "old-status-is-read-again", without: instead("!deletion"), test: "TestLatePageIsNotPublishedOverANewerState"},
	{name: "deletion-may-be-a-merge", without: never, seed: 17},
	{name: "status-written-while-fresh", without: instead("context.WithDeadline(ctx, r.sent.Add(time.Hour))"), test: "TestStatusIsNotPublishedLate"},
	{name: "status-is-compare-and-set", without: before("if last, err := l.last(ctx, subject); err == nil { before = last.Seq }"), seed: 19},
	{name: "status-compares-content", without: instead("len(changed) == 0 && (r.candidate == nil || timeText(r.candidate.TimeLastStatusChanged) == known.TimeLastStatusChanged)"), seed: 2},
	{name: "untold-status-stays", without: before(`known.Status = ""`), test: "TestWhatARowLeavesOutStaysAsItWasKnown"},
	{name: "merged-candidate-has-ended", without: instead("known == nil"), test: "TestStatusEventSaysWhatChanged"},
}

// The list and the code name the same guards, each once. What is changed to break one is still there.
// That something notices is for TestBreakGuards to prove, which takes hours: see CONTRIBUTING.md.
func TestGuardsAreMarked(t *testing.T) {
	t.Parallel()
	marks := readMarks(t)
	listed := map[string]bool{}
	for _, g := range guards {
		if listed[g.name] {
			t.Errorf("two guards of the list are called %s", g.name)
		}
		listed[g.name] = true
		if m, ok := marks[g.name]; !ok {
			t.Errorf("no line of the code has the mark %q", markPrefix+g.name)
		} else if _, err := m.broken(g.without); err != nil {
			t.Error(err)
		}
		if g.test != "" && !slices.ContainsFunc(testFiles(t, g.folder()), func(text string) bool { return strings.Contains(text, "\nfunc "+g.test+"(") }) {
			t.Errorf("%s: %s has no %s, which should notice that the guard is missing", g.name, g.folder(), g.test)
		}
		if (g.test == "") == (g.seed == 0) {
			t.Errorf("%s: the list must name either a test or a seed that notices that the guard is missing", g.name)
		}
	}
	for name, m := range marks {
		if !listed[name] {
			t.Errorf("%s: the list of guards does not know %s", m.place(), name)
		}
	}
}

// folder is where the tests are that notice.
func (g guard) folder() string { return cmp.Or(g.pkg, ".") }

func testFiles(t *testing.T, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(raw))
	}
	return texts
}
