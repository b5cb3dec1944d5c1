// Package calls makes call data as a COMtrexx has them: an endless past of calls that
// follows from a seed, so that any part of it can be made at any time and nothing is
// kept.
//
//	g := calls.New(calls.Config{Seed: 1, Since: created, PerDay: 40})
//	page, total := g.Page(time.Now(), calls.Query{Limit: 50})
//
// The records have the fields of the PBX's REST API. Numbers are from ranges that are
// kept free for films (Bundesnetzagentur, Mitteilung 148/2021): nobody can be called.
package calls

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Record is one call as the API gives it.
type Record struct {
	// CallDataID counts from 1; 0 on firmware that does not count.
	CallDataID int64     `json:"CallDataId"`
	StartDate  time.Time `json:"startDate"`
	// Length in seconds; 0 where nobody answered.
	Length              int     `json:"length"`
	ExternalName        string  `json:"externalName"`
	ExternalPhoneNumber string  `json:"externalPhoneNumber"`
	MSN                 string  `json:"msn"`
	UserNumber          string  `json:"userNumber"`
	UserName            string  `json:"userName"`
	ConnectedUserNumber string  `json:"connectedUserNumber"`
	ConnectedUserName   string  `json:"connectedUserName"`
	GroupNumber         string  `json:"groupNumber"`
	GroupName           string  `json:"groupName"`
	Cost                float64 `json:"cost"`
	CostFactor          float64 `json:"costFactor"`
	Direction           string  `json:"direction"` // Incoming or Outgoing
	CallType            string  `json:"callType"`  // Normal, CfIntern, CfExtern, Voicemailbox, Faxbox
	Success             bool    `json:"success"`
}

// Subscriber is somebody with a telephone.
type Subscriber struct {
	ID     int    `json:"id"`
	Number string `json:"number"`
	Name   string `json:"name"`
	Group  string `json:"group"`
}

// Subscribers are the same in every PBX.
var Subscribers = []Subscriber{
	{1, "11", "Erika Sommer", "Zentrale"},
	{2, "12", "Jonas Winter", "Zentrale"},
	{3, "21", "Marie Dubois", "Vertrieb"},
	{4, "22", "Peter Stein", "Vertrieb"},
	{5, "23", "Anna Fuchs", "Vertrieb"},
	{6, "31", "Tom Baker", "Werkstatt"},
	{7, "32", "Lena Brandt", "Werkstatt"},
	{8, "41", "Konferenzraum", "Haus"},
}

// groups are the numbers of the subscribers' groups.
var groups = map[string]string{"Zentrale": "50", "Vertrieb": "51", "Werkstatt": "52", "Haus": "53"}

// partners are who calls and is called.
var partners = []struct{ name, number string }{
	{"Bäckerei Albrecht", "+493023125014"},
	{"Stadtwerke", "+496990009120"},
	{"Müller GmbH", "+494066969331"},
	{"", "+492214710058"},
	{"Dr. Weiss", "+498999998407"},
	{"Hotel Seeblick", "+493023125207"},
	{"", "+496990009718"},
	{"Spedition Krause", "+494066969902"},
}

// Config says which calls.
type Config struct {
	// Seed decides everything.
	Seed uint64
	// Since is when the first call may have been; it is cut to a day in UTC.
	Since time.Time
	// PerDay is how many there are on each day. 0: none.
	PerDay int
	// ZeroID has every record carry the id 0.
	ZeroID bool
}

// Generator makes calls. It holds nothing but its Config.
type Generator struct{ cfg Config }

// New makes a generator.
func New(cfg Config) Generator {
	cfg.Since = cfg.Since.UTC().Truncate(day)
	return Generator{cfg}
}

const day = 24 * time.Hour

// Query selects records, the newest first.
type Query struct {
	// UserID selects the calls of one subscriber; 0: all.
	UserID int
	// Offset is how many of the newest are left out, and Limit how many are given at
	// most.
	Offset, Limit int
}

// Page gives the calls that were over by now, and how many the query selects without
// its limits.
func (g Generator) Page(now time.Time, q Query) (page []Record, total int) {
	page = []Record{}
	if g.cfg.PerDay <= 0 || now.Before(g.cfg.Since) {
		return page, 0
	}
	today := int(now.Sub(g.cfg.Since) / day)
	skip := max(q.Offset, 0)
	for d := today; d >= 0; d-- {
		if q.UserID == 0 && d < today && (skip >= g.cfg.PerDay || len(page) >= q.Limit) {
			skip = max(0, skip-g.cfg.PerDay) // a whole day of which nothing is wanted
			total += g.cfg.PerDay
			continue
		}
		of := g.day(d)
		for _, r := range slices.Backward(of) {
			if q.UserID != 0 && r.user.ID != q.UserID || r.StartDate.Add(time.Duration(r.Length)*time.Second).After(now) {
				continue
			}
			total++
			if skip > 0 {
				skip--
			} else if len(page) < q.Limit {
				page = append(page, r.Record)
			}
		}
	}
	return page, total
}

type call struct {
	Record
	user Subscriber
}

// day makes the calls of one day, the earliest first. Each is over on its day.
func (g Generator) day(d int) []call {
	rng := rand.New(rand.NewPCG(g.cfg.Seed, uint64(d))) //nolint:gosec // data for a simulation
	list := make([]call, g.cfg.PerDay)
	begin := g.cfg.Since.Add(time.Duration(d) * day)
	for i := range list {
		list[i] = draw(rng, begin)
	}
	slices.SortStableFunc(list, func(a, b call) int {
		return cmp.Or(a.StartDate.Compare(b.StartDate), cmp.Compare(a.Length, b.Length))
	})
	if !g.cfg.ZeroID {
		for i := range list {
			list[i].CallDataID = int64(d)*int64(g.cfg.PerDay) + int64(i) + 1
		}
	}
	return list
}

// draw makes one call between six in the morning and eight in the evening.
func draw(rng *rand.Rand, begin time.Time) call {
	user := Subscribers[rng.IntN(len(Subscribers))]
	partner := partners[rng.IntN(len(partners))]
	c := call{user: user, Record: Record{
		StartDate:    begin.Add(6*time.Hour + time.Duration(rng.IntN(14*3600))*time.Second),
		ExternalName: partner.name, ExternalPhoneNumber: partner.number,
		MSN:        fmt.Sprintf("+4953069200%s", user.Number),
		UserNumber: user.Number, UserName: user.Name, ConnectedUserNumber: user.Number, ConnectedUserName: user.Name,
		Direction: "Incoming", CallType: "Normal", CostFactor: 1, Success: rng.IntN(5) > 0,
	}}
	if c.Success {
		c.Length = 5 + int(rng.ExpFloat64()*150)
		c.Length = min(c.Length, 3600)
	}
	switch {
	case rng.IntN(2) == 0:
		c.Direction = "Outgoing"
		if c.Success {
			c.Cost = float64((c.Length+59)/60) * 0.03
		}
	case !c.Success && rng.IntN(3) == 0:
		c.CallType, c.Success, c.Length = "Voicemailbox", true, 10+rng.IntN(50)
	case rng.IntN(6) == 0:
		other := Subscribers[rng.IntN(len(Subscribers))]
		c.CallType, c.ConnectedUserNumber, c.ConnectedUserName = "CfIntern", other.Number, other.Name
	case rng.IntN(3) == 0:
		c.GroupName, c.GroupNumber = user.Group, groups[user.Group]
	}
	return c
}
