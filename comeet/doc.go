// Package comeet is a client of the Comeet ("Spark Hire Recruit") Recruiting API. It reads
// positions, submits candidates and reads their state. It depends on no other package of this
// module.
//
// A [Client] speaks for one account. Each call waits for a [Permit] of the client's [Gate], then
// sends one request and reads one answer. The gate keeps the account within Comeet's request
// budget, and stops requests while Comeet is down. An error is an *[Error]; its [Kind] says what to
// do next, by the table that [Answers] returns.
//
// # Guarantees
//
//   - What blocks: a call waits for its permit until its context ends. Once it has the permit, it
//     takes [WithTimeout] at most. Nothing else blocks, and the client starts no goroutine.
//   - What retries: nothing, except that a refused token is renewed once. The client then reads the
//     credentials again and repeats the request with a new permit. After a POST only the API's own
//     JSON counts as a refusal of the token. The client also keeps net/http from resending a read
//     by itself, because Comeet counts both requests.
//   - POST /candidates is not idempotent. So one call never sends a POST again once a byte of it
//     was written. Its error tells whether it was sent: [Unavailable] and [Canceled] mean "no";
//     [InDoubt] means "yes, with an unknown result". Every other Kind is Comeet's own answer.
//   - A page of a gateway says nothing about a candidate: a status counts only with the API's own
//     code.
//   - The token goes to the base URL only: the client follows no redirect and reads no page from
//     another host.
//   - Answers are bounded: 8 MiB and 10,000 rows for a list, 4 MiB for one object, 64 KiB for an error, after
//     decompression.
//   - Decoding is tolerant, because the documentation has gaps: an odd field never loses its row,
//     an odd row never its page. But an answer that is not a list never counts as an empty list.
//   - Errors hold no token, key, secret, query, body, or message of Comeet. The client logs
//     nothing. Client, Candidate and NewCandidate print without their fields.
//   - All of Client is safe for concurrent use.
//
// # Clocks
//
// Tokens live ten minutes by Comeet's clock. The client learns that clock from the Date of each
// answer and offers it as [Client.Now]. It signs tokens by that clock if the local one is wrong by
// more than 5 seconds.
//
// Comeet API: https://developers.comeet.com/reference
package comeet
