package connector

import (
	"github.com/comeet-connector/comeet-connector/comeet"
	"github.com/comeet-connector/comeet-connector/events"
)

// request is the body of the POST: what the event says of the person, under the ids that the claim
// has fixed.
func (a *attempt) request(c *events.Claimed) *comeet.NewCandidate {
	p := &a.Data.Candidate
	n := &comeet.NewCandidate{
		PositionUID: c.PositionUID, PartnerCandidateID: c.PartnerCandidateID,
		FirstName: p.FirstName, MiddleName: p.MiddleName, LastName: p.LastName, Email: p.Email, Phone: p.Phone,
		MobilePhone: p.MobilePhone, NationalID: p.NationalID, LinkedInURL: p.LinkedInURL,
		SalaryExpectations: p.SalaryExpectations, ProspectStatus: p.ProspectStatus, CustomFields: p.CustomFields, Note: p.Note,
		Resume: a.files.resume, Picture: a.files.picture, Files: a.files.others,
	}
	for _, l := range p.Links {
		n.Links = append(n.Links, comeet.Link{URL: l.URL})
	}
	if a := p.Address; a != nil {
		n.Address = &comeet.Address{Country: a.Country, City: a.City, State: a.State, Zip: a.Zip, Street: a.Street}
	}
	if sc := a.Data.SourceContact; sc != nil {
		n.SourceContact = &comeet.NewSourceContact{FullName: sc.FullName, Email: sc.Email, Phone: sc.Phone}
	}
	return n
}
