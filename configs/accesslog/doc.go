// Package accesslog keeps what a server may know of the addresses that talk to it, and
// for how long: the access log, which every server of the cloud writes, and the
// redactor, through which every other log goes so that it holds no address.
//
//	log, err := accesslog.New(accesslog.Config{Dir: "/var/lib/ara/access", Service: "ara"})
//	err = log.Open()      // before any listener: what is too old is deleted first
//	go log.Run(ctx)
//	log.Watch(httpServer) // or log.Record(addr, accesslog.OK)
//
// Programs get all this from package configs/daemon.
//
// # Two streams
//
// One call, [Log.Record], feeds both. The raw stream has time, address, service and
// class, nothing else, and is for following up attacks. It cannot be read any more
// raw_for (at most 14 days) after the beginning of the hour that a record belongs to,
// so that none lives longer. The anonymous stream is made from the call itself, never
// from the raw stream, and is kept for ever:
//
//	stats-2026-11.jsonl     {"hour":"2026-11-26T09:00:00Z","service":"ara","class":"ok","prefix":"198.51.0.0/16","count":57}
//	visitors-2026-11.jsonl  {"day":"2026-11-26T00:00:00Z","service":"ara","visitors":1200}
//
// A row of stats is a UTC hour, a class and a network: /16 of IPv4, /32 of IPv6; an
// IPv4 address in an IPv6 one counts as what it is ([Unwrap]). Rows with fewer than k
// accesses, or fewer than k different addresses, are added to the row "other" of their
// hour and class before anything is written: in a network with one customer the count
// of accesses alone protects nobody. Several rows with the same key add up; they come
// from restarts within an hour. Visitors are counted with a HyperLogLog of
// HMAC-SHA256(K, address), where K is drawn each day, is only in memory and is dropped
// at the day's end; only the number remains, and 0 stands for fewer than k. A restart
// draws a new K, so that several rows of one day are an upper bound.
//
// A crash loses the counts of the current hour, the visitors of the current day and up
// to [Delay] of the raw stream. A regular stop loses nothing.
//
// # Files
//
// The directory belongs to one process. Its files:
//
//	state            clock and keys, of a fixed size (see below)
//	lock             locked by the process that writes
//	<hour>-<id>.seg  a segment of the raw stream
//	stats-*.jsonl    visitors-*.jsonl, one file for each month
//	sweeps-*.jsonl   the record of every deletion, a hash chain ([Sweep])
//
// A segment is a header and chunks:
//
//	"AXS2" | id [8] | start int64 | len uint8 | service
//	length uint32 | nonce [12] | AES-256-GCM(key of the segment, header as additional data)
//
// with all numbers big-endian, start in Unix seconds, and in a chunk up to
// 4096 records of 21 bytes:
//
//	microseconds since start uint32 | address [16] | class uint8
//
// Those of older programs have "AXS1" and milliseconds. No two accesses of a process have
// the same time, so that the time alone names one ([Reference], [Reader.At]): other logs
// can say which access they mean without having its address, and nothing follows from that
// once the access is gone.
//
// The state file is written in place, in slots of which one is good at any time, and
// has its full size from the beginning: keys can be deleted when the disk is full.
//
//	   0  clock, two slots of 512 bytes   "AXC1" | sequence | time | wall | CRC-32C
//	1024  key-encryption key, likewise    "AXK1" | n | key [32] | CRC-32C
//	2048  key ring, two slots of 32 KiB   n | length uint32 | nonce [12] | AES-256-GCM(key n)
//
// Each change of the ring, and so each deletion, derives key n+1 from key n by HKDF,
// seals the ring with it, and overwrites key n and the ring before. An old image of the
// ring is of no use with the keys of now. What this cannot do is erase blocks that a
// solid-state disk, a copy-on-write file system or a backup has kept of the keys of
// then: leave the directory out of backups.
//
// # Time
//
// Data never become younger. The log's own clock is at the highest time ever seen,
// goes on with the monotonic clock when the system's clock is set back, and is kept in
// the state file. A jump forward deletes what is too old then, and raises an alarm if
// it is more than an hour.
package accesslog
