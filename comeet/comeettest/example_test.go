package comeettest_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/comeet/comeettest"
)

// A script of faults: each POST meets the next one of the queue, and then all is well again.
func ExampleServer_Script() {
	fake := comeettest.New()
	defer fake.Close()
	client, err := comeet.NewClient(comeet.StaticCredentials(comeettest.DefaultAPIKey, comeettest.DefaultSecret),
		comeet.WithBaseURL(fake.URL()))
	if err != nil {
		fmt.Println(err)
		return
	}
	fake.Script(comeettest.CreateCandidate,
		comeettest.APIError(http.StatusBadRequest, "invalid_email"),
		comeettest.HTMLPage(http.StatusBadGateway), // a gateway answers, Comeet has not acted
		comeettest.DropAfter(),                     // Comeet acts, and the connection breaks before its answer
	)

	for i := range 4 {
		_, _, err := client.CreateCandidate(context.Background(), &comeet.NewCandidate{
			PositionUID: comeettest.DefaultPositionUID, PartnerCandidateID: fmt.Sprint("src-", i), FirstName: "Noor", LastName: fmt.Sprint("Nr ", i),
		})
		fmt.Printf("%v, %d candidates at Comeet\n", comeet.KindOf(err), len(fake.Candidates(comeettest.DefaultAccount)))
	}
	fmt.Println("left of the script:", fake.Scripted(comeettest.CreateCandidate))
	// Output:
	// invalid, 0 candidates at Comeet
	// in_doubt, 0 candidates at Comeet
	// in_doubt, 1 candidates at Comeet
	// none, 2 candidates at Comeet
	// left of the script: 0
}
