package store

// The queries of a rollout's progress, for their plans.
var (
	RingCountsQuery = ringCountsQuery("rollout_id = $1")
	UncheckedQuery  = "SELECT " + workColumns + fromDevices + unchecked + " LIMIT 200"
)
