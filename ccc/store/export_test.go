package store

// What the tests in package store_test see of the package.
var (
	SortKey     = sortKey
	Fold        = fold
	ParseCursor = parseCursor
	Again       = again
)
