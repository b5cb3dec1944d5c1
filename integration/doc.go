// Package integration is the top of the tree: what needs all servers at once. Its
// folders are the world that starts them together, the all-in-one command, the
// fleet simulator, and the tests and measurements over the whole.
//
// The package itself holds no code. Its test keeps the layout of the repository:
// a folder is a program, its subfolders are its libraries, and imports go one
// way,
//
//	configs <- pki <- auerproxy <- {ara, ccc, backup} <- integration
//
// where the three in braces never import one another.
package integration
