// Package comeet is a client of the Comeet ("Spark Hire Recruit") Recruiting API: positions, candidates, and what became of
// them. It is usable alone.
//
// A [Client] speaks for one account. Each call waits for a [Permit] of the client's [Gate], which keeps the account within
// Comeet's request budget and stops while Comeet is sick; then it sends one request and reads one answer. An error is an
// *[Error], whose [Kind] says what to do next, by the table that [Answers] returns.
//
// # Guarantees
//
//   - What blocks: a call waits for its permit as long as its context lasts, and from then on no longer than [WithTimeout].
//     Nothing else blocks, and the client starts no goroutine.
//   - What retries: nothing, but one renewal of the token. When Comeet refuses a token, the credentials are read again and the
//     request goes out once more, with a permit of its own. After a POST only the API's own JSON counts as such a refusal. The
//     client also keeps net/http from sending a read again by itself, since Comeet would count both.
//   - POST /candidates is not idempotent, so a POST never goes out twice from one call after a byte of it was written, and its
//     failure tells whether it was sent: [Unavailable] and [Canceled] mean "no"; [InDoubt] means "yes, and what became of it
//     is unknown". Every other Kind is Comeet's own word.
//   - A gateway's page is no verdict on a candidate: a status counts only with the API's own code.
//   - No redirect is followed, and no page is read from elsewhere than the base URL: the token goes nowhere else.
//   - Answers are bounded: 32 MiB for a list, 4 MiB for one object, 64 KiB for an error, after decompression.
//   - Decoding is tolerant, since the documentation has gaps: one odd field never loses its row, one odd row never its page.
//     But an answer that is no list is never an empty list.
//   - Errors hold no token, key, secret, query or body and not Comeet's message; nothing is logged. Client, Candidate and
//     NewCandidate print without their fields.
//   - All of Client is safe for concurrent use.
//
// # Clocks
//
// Tokens live ten minutes by Comeet's clock. The client learns that clock from the Date of each answer, signs by it if the
// local one is wrong by more than seconds, and offers it as [Client.Now].
//
// Comeet API: https://developers.comeet.com/reference
package comeet
