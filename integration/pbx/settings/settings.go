// Package settings is what an administrator can set on a PBX: the values, and one table of
// what each may be, by which values are checked, described to programs and shown in forms.
//
//	s := settings.Default()
//	wrong := settings.Apply(&s, map[string]json.RawMessage{"ntp_server": []byte(`"ntp.example.net"`)})
//	for _, c := range settings.Diff(&before, &s) { … }
//
// The table is [Fields]. A value that is not in it cannot be set.
package settings

import "slices"

// Settings are the values. Their JSON is flat, with the keys of [Fields].
type Settings struct {
	// Name of the system, for people.
	Name string `json:"name"`
	// Language of pages for browsers that ask for none of ours.
	Language string `json:"language"`
	// Country decides tones and emergency numbers, ISO 3166-1.
	Country string `json:"country"`
	// TimeZone is a name of the IANA database.
	TimeZone string `json:"time_zone"`
	// NTPServer is a host or address; the time is asked for every NTPIntervalMinutes.
	NTPServer          string `json:"ntp_server"`
	NTPIntervalMinutes int    `json:"ntp_interval_minutes"`
	// DNSServers are addresses; none: those of DHCP.
	DNSServers []string `json:"dns_servers"`
	// SyslogServer is a host or address; empty: nothing is sent.
	SyslogServer string `json:"syslog_server"`
	// SIPRegistrationExpirySeconds is how long a telephone stays registered.
	SIPRegistrationExpirySeconds int `json:"sip_registration_expiry_seconds"`
	// CodecOrder has the codecs that are offered, the preferred one first.
	CodecOrder []string `json:"codec_order"`
	// VoicemailMaxMinutes bounds one message.
	VoicemailMaxMinutes int `json:"voicemail_max_minutes"`
	// MusicOnHold is played to who waits.
	MusicOnHold bool `json:"music_on_hold"`
	// MaintenanceWindow is the time of day in which the PBX may be disturbed, in its time
	// zone; empty: none is named.
	MaintenanceWindow string `json:"maintenance_window"`
	// ContactDays is after how many days without contact to the control centre a
	// pairing is dissolved.
	ContactDays int `json:"contact_days"`
	// CallDataIDZero has every record of call data carry the id 0, as some firmware
	// does.
	CallDataIDZero bool `json:"calldata_id_zero"`
	// CallsPerDay is how many calls the generator makes.
	CallsPerDay int `json:"calls_per_day"`
}

// Default are the settings of a new PBX.
func Default() Settings {
	return Settings{
		Name: "COMtrexx", Language: "de", Country: "DE", TimeZone: "Europe/Berlin",
		NTPServer: "de.pool.ntp.org", NTPIntervalMinutes: 60, DNSServers: []string{},
		SIPRegistrationExpirySeconds: 600, CodecOrder: []string{"opus", "g722", "g711a", "g711u"},
		VoicemailMaxMinutes: 5, MusicOnHold: true, MaintenanceWindow: "02:00-04:00",
		ContactDays: 30, CallsPerDay: 40,
	}
}

// Clone copies the settings so that neither copy sees changes of the other.
func (s Settings) Clone() Settings {
	s.DNSServers, s.CodecOrder = slices.Clone(s.DNSServers), slices.Clone(s.CodecOrder)
	return s
}
