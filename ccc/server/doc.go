// Package server is the control centre as one part of a process: the store, the accounts,
// the pairing service, the presence of PBXs, the API and the pages, made and run in order.
//
//	s, err := server.New(ctx, server.Config{…})
//	defer s.Close()
//	err = d.Run(ctx, s.Components()...)        // of a configs/daemon
//
// The program ccc is this package with a command line; tests run several in one process.
package server
