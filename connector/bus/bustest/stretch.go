package bustest

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// StretchEnv names the environment variable that stretches the deadlines of tests, see Stretch.
const StretchEnv = "COMEET_TEST_STRETCH"

// StretchDefault suits a machine whose cores are busy with other work too.
const StretchDefault = 3

var stretchBy = sync.OnceValue(func() float64 {
	text := os.Getenv(StretchEnv)
	if text == "" {
		return StretchDefault
	}
	by, err := strconv.ParseFloat(text, 64)
	if err != nil || by <= 0 {
		panic(fmt.Sprintf("%s is %q, want a number above 0", StretchEnv, text))
	}
	return by
})

// Stretch is how long a test may wait for what takes d on an idle machine: d times the factor that
// StretchEnv names, by default StretchDefault. Every deadline of a test goes through it, and so
// does every time-out of the program under test that the test scales down. It panics if the factor
// is not a number above 0.
func Stretch(d time.Duration) time.Duration { return time.Duration(float64(d) * stretchBy()) }
