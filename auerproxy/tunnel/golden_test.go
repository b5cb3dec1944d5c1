package tunnel_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
)

func id(b byte) []byte { return bytes.Repeat([]byte{b}, tunnel.IDLen) }

// golden are the messages in testdata: <name>.bin as on the wire, with its length,
// and <name>.json to be read. They are never changed: a new field gets a new file.
var golden = map[string]proto.Message{
	"hello": &tunnel.Frame{Frame: &tunnelpb.Control_Hello{Hello: &tunnel.Hello{
		Version: 1, MinVersion: 1, InstanceId: id(0xa1), BootId: id(0xb2), Attempt: 3, Slot: 1,
		Services: []string{"web", "ssh"}, Agent: "auer-agent/1.2.3",
	}}},
	"hello_choice": &tunnel.Frame{Frame: &tunnelpb.Control_Hello{Hello: &tunnel.Hello{
		Version: 1, MinVersion: 1, InstanceId: id(0xa1), BootId: id(0xb2), Choice: tunnelpb.Choice_CHOICE_SILENT,
	}}},
	"welcome": &tunnel.Frame{Frame: &tunnelpb.Control_Welcome{Welcome: &tunnel.Welcome{
		Version: 1, Session: id(0xc3), Epoch: 1764000000000, Relay: "relay/fra-1", HeartbeatMs: 20000, MaxStreams: 64,
	}}},
	"refused": &tunnel.Frame{Frame: &tunnelpb.Control_Refused{Refused: &tunnelpb.Refused{
		Code: uint32(tunnel.CodeTryLater), Message: "full", RetryAfterMinMs: 1000, RetryAfterMaxMs: 30000,
	}}},
	"heartbeat": &tunnel.Frame{Frame: &tunnelpb.Control_Heartbeat{Heartbeat: &tunnelpb.Heartbeat{
		Seq: 7, SentUnixNs: 1764000000123456789, RttUs: 15000, Padding: make([]byte, 24),
	}}},
	"heartbeat_ack": &tunnel.Frame{Frame: &tunnelpb.Control_HeartbeatAck{HeartbeatAck: &tunnelpb.HeartbeatAck{
		Seq: 7, SentUnixNs: 1764000000123456789,
	}}},
	"heartbeat_path": &tunnel.Frame{Frame: &tunnelpb.Control_Heartbeat{Heartbeat: &tunnelpb.Heartbeat{
		Seq: 7, SentUnixNs: 1764000000123456789, RttUs: 15000, Padding: make([]byte, 24),
		Path: &tunnelpb.Path{RttUs: 16000, MinRttUs: 14000, Sent: 100000, Lost: 1000, Rate: 400000},
	}}},
	"heartbeat_ack_path": &tunnel.Frame{Frame: &tunnelpb.Control_HeartbeatAck{HeartbeatAck: &tunnelpb.HeartbeatAck{
		Seq: 7, SentUnixNs: 1764000000123456789, Path: &tunnelpb.Path{RttUs: 15000, MinRttUs: 14000, Sent: 5000},
	}}},
	"go_away": &tunnel.Frame{Frame: &tunnelpb.Control_GoAway{GoAway: &tunnelpb.GoAway{
		Code: uint32(tunnel.CodeDraining), Reason: "update", DeadlineMs: 60000, SpreadMs: 10000,
	}}},
	"probe":     &tunnel.Frame{Frame: &tunnelpb.Control_Probe{Probe: &tunnelpb.Probe{Nonce: 42}}},
	"probe_ack": &tunnel.Frame{Frame: &tunnelpb.Control_ProbeAck{ProbeAck: &tunnelpb.ProbeAck{Nonce: 42}}},
	"preamble": &tunnel.Preamble{
		Target: "device/0123456789", Service: "web", Caller: "service/ccc", Purpose: "pairing", RequestId: id(0xd4),
		TimeoutMs: 5000, Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Hop: 1, Inner: tunnelpb.Inner_INNER_MUX,
	},
	"preamble_bulk": &tunnel.Preamble{
		Target: "device/0123456789", Service: "backup", Caller: "service/backup", RequestId: id(0xd4),
		TimeoutMs: 5000, Inner: tunnelpb.Inner_INNER_TLS, Bulk: true, DataTicket: append(id(0xe5), id(0xf6)...),
	},
	"open_ack_data": &tunnel.OpenAck{Data: true, DataTicket: append(id(0xa1), id(0xb2)...)},
	"open_ack":      &tunnel.OpenAck{Hops: []*tunnel.Hop{{At: "device/0123456789", TookUs: 1500}, {At: "target", TookUs: 900}}},
	"open_ack_refused": &tunnel.OpenAck{
		Code: uint32(tunnel.CodeRateLimited), Message: "too fast", RetryAfterMinMs: 100, RetryAfterMaxMs: 500,
	},
}

func TestGoldenMessages(t *testing.T) {
	t.Parallel()
	for name, m := range golden {
		var wire bytes.Buffer
		if _, err := (protodelim.MarshalOptions{MarshalOptions: proto.MarshalOptions{Deterministic: true}}).MarshalTo(&wire, m); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name)
		if *update {
			writeGolden(t, file, wire.Bytes(), m)
		}
		want, err := os.ReadFile(file + ".bin")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(wire.Bytes(), want) {
			t.Errorf("%s: on the wire it is\n%s, want\n%s", name, hex.Dump(wire.Bytes()), hex.Dump(want))
		}
		back := m.ProtoReflect().New().Interface()
		if err := protodelim.UnmarshalFrom(bytes.NewReader(want), back); err != nil || !proto.Equal(back, m) {
			t.Errorf("%s is read as %v, %v", name, back, err)
		}
		text, err := os.ReadFile(file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		fromText := m.ProtoReflect().New().Interface()
		if err := protojson.Unmarshal(text, fromText); err != nil || !proto.Equal(fromText, m) {
			t.Errorf("%s.json says %v, %v", name, fromText, err)
		}
	}
	if hb, _ := os.ReadFile("testdata/heartbeat.bin"); len(hb) < 40 {
		t.Errorf("a heartbeat of %d bytes; a restarted relay resets those of 40 and more", len(hb))
	}
}

func writeGolden(t *testing.T, file string, wire []byte, m proto.Message) {
	t.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	// protojson varies its white space on purpose.
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		t.Fatal(err)
	}
	if err := json.Indent(&pretty, compact.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	for name, b := range map[string][]byte{file + ".bin": wire, file + ".json": pretty.Bytes()} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // for everybody
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil { //nolint:gosec // for everybody
			t.Fatal(err)
		}
	}
}

// TestUnknownFieldsAndFramesAreIgnored: what a newer peer adds does not disturb.
func TestUnknownFieldsAndFramesAreIgnored(t *testing.T) {
	t.Parallel()
	// Field 2000 of a preamble, and frame kind 99 of a control frame.
	extra := []byte{0x82, 0x7d, 3, 'n', 'e', 'w'}
	inner := frame(&tunnel.Preamble{RequestId: id(1), Service: "web"})
	inner = append(inner, extra...)
	inner[0] += byte(len(extra))
	p, err := tunnel.ReadPreamble(newSaid(inner), patience)
	if err != nil || p.GetService() != "web" {
		t.Errorf("preamble with an unknown field: %v, %v", p, err)
	}
	unknown := []byte{4, 0x9a, 0x06, 1, 'x'}
	welcome := frame(&tunnel.Frame{Frame: &tunnelpb.Control_Welcome{Welcome: &tunnel.Welcome{Version: 1, Session: id(1)}}})
	if _, _, err := tunnel.Connect(t.Context(), talk{stream: newSaid(append(unknown, welcome...))}, hello()); err != nil {
		t.Errorf("a control frame of an unknown kind: %v", err)
	}
}
