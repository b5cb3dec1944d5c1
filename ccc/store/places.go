package store

import (
	"math"
)

// Position is a place on earth (WGS 84), in degrees to the millionth.
type Position struct{ Latitude, Longitude float64 }

// valid tells whether it is on earth.
func (p Position) valid() bool {
	return math.Abs(p.Latitude) <= 90 && math.Abs(p.Longitude) <= 180 // false for what is no number
}

const microdegrees = 1e6

// degrees gives what is kept: whether there is a position, and it in millionths.
func (p *Position) degrees() (placed, latitude, longitude int64) {
	if p == nil {
		return 0, 0, 0
	}
	return 1, int64(math.Round(p.Latitude * microdegrees)), int64(math.Round(p.Longitude * microdegrees))
}

// position is what degrees gave.
func position(placed, latitude, longitude int64) *Position {
	if placed == 0 {
		return nil
	}
	return &Position{float64(latitude) / microdegrees, float64(longitude) / microdegrees}
}

// PlaceSite says where a site is: its postal address, empty for none, and its position, nil
// for none. ErrInvalid "Position" where that is not on earth.
func (t *Tx) PlaceSite(tenant TenantID, id SiteID, address string, at *Position) error {
	if at != nil && !at.valid() {
		return &InvalidError{Field: "Position", Problem: "is not on earth"}
	}
	placed, latitude, longitude := at.degrees()
	return t.change("UPDATE sites SET address = $3, placed = $4, latitude = $5, longitude = $6 WHERE tenant_id = $1 AND id = $2",
		tenant, id, address, placed, latitude, longitude)
}
