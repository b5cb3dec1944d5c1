package accesslog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// notations gives an address in the ways in which it may get into a text.
func notations(a netip.Addr) map[string]string {
	b := a.AsSlice()
	ap := netip.AddrPortFrom(a, 40123)
	type inside struct{ a netip.Addr } // its fields have no String
	all := map[string]string{
		"String":         a.String(),
		"StringExpanded": a.StringExpanded(),
		"AddrPort":       ap.String(),
		"net.IP":         net.IP(b).String(),
		"TCPAddr":        net.TCPAddrFromAddrPort(ap).String(),
		"UDPAddr":        net.UDPAddrFromAddrPort(ap).String(),
		"prefix":         netip.PrefixFrom(a, a.BitLen()).String(),
		"upper case":     strings.ToUpper(a.String()),
		"percent":        url.QueryEscape(ap.String()),
		"twice":          url.QueryEscape(url.QueryEscape(ap.String())),
		"everything":     everything(a.String()),
		"bytes":          fmt.Sprintf("%d", b),
		"Go syntax":      fmt.Sprintf("%#v", b),
		"net.IP Go":      fmt.Sprintf("%#v", net.IP(b)),
		"Addr Go":        fmt.Sprintf("%#v", a),
		"inside %v":      fmt.Sprintf("%v", inside{a}),
		"inside %+v":     fmt.Sprintf("%+v", inside{a}),
		"inside %#v":     fmt.Sprintf("%#v", inside{a}),
		"error":          (&net.OpError{Op: "read", Net: "tcp", Source: net.TCPAddrFromAddrPort(ap), Err: errors.New("reset")}).Error(),
		"TLS":            fmt.Sprintf("http: TLS handshake error from %s: EOF", ap),
		"URL":            (&url.URL{Scheme: "https", Host: ap.String(), Path: "/x"}).String(),
		"brackets":       "[" + a.String() + "]",
		"quoted":         fmt.Sprintf("%q", a.String()),
		"key":            "addr=" + a.String() + ",",
		"sentence":       "from " + a.String() + ".",
		"before colon":   "dial " + a.String() + ": refused",
		"path":           "/x/" + a.String() + "/y",
	}
	if a.Is4() {
		m := netip.AddrFrom16(a.As16())
		all["mapped"] = m.String()
		all["mapped expanded"] = m.StringExpanded()
		all["mapped port"] = netip.AddrPortFrom(m, 7).String()
		all["mapped hex"] = fmt.Sprintf("::ffff:%02x%02x:%02x%02x", b[0], b[1], b[2], b[3])
		all["NAT64"] = fmt.Sprintf("64:ff9b::%02x%02x:%02x%02x", b[0], b[1], b[2], b[3])
		all["6to4"] = fmt.Sprintf("2002:%02x%02x:%02x%02x::1", b[0], b[1], b[2], b[3])
		all["reverse"] = fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa.", b[3], b[2], b[1], b[0])
		all["dashes"] = fmt.Sprintf("ip-%d-%d-%d-%d.example.net", b[0], b[1], b[2], b[3])
		all["padded"] = fmt.Sprintf("%03d.%03d.%03d.%03d", b[0], b[1], b[2], b[3])
		all["tcpdump"] = a.String() + ".443"
		all["glued"] = "peer" + a.String()
		return all
	}
	all["zone"] = a.WithZone("eth0.1").String()
	all["zone and port"] = netip.AddrPortFrom(a.WithZone("wg-0"), 443).String()
	all["zone in a URL"] = "https://[" + strings.ReplaceAll(a.WithZone("eth0").String(), "%", "%25") + "]:1/"
	all["port without brackets"] = a.StringExpanded() + ":443"
	all["glued"] = "peer" + a.String()
	var nibbles strings.Builder
	for _, c := range slices.Backward([]byte(hex.EncodeToString(b))) {
		nibbles.WriteString(string(c) + ".")
	}
	all["reverse"] = nibbles.String() + "ip6.arpa"
	all["nibbles"] = strings.TrimSuffix(nibbles.String(), ".")
	return all
}

// everything percent-encodes each character.
func everything(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02x", c)
	}
	return b.String()
}

var canaries = []netip.Addr{
	addr("198.51.100.77"), addr("203.0.113.9"), addr("10.200.3.4"), addr("127.77.66.55"), addr("255.254.253.252"),
	addr("2001:db8:cafe:1:2:3:4:5"), addr("2a02:8071:abcd::77"), addr("fe80::1234:56ff:fe78:9abc"), addr("fd12:3456::1"), addr("2001:db8::8"),
}

// leaks tells what of an address is in a text, "" for nothing. It looks in another way
// than the redactor: for the digits, whatever stands between them.
func leaks(text string, a netip.Addr) string {
	for range 3 {
		if t, err := url.PathUnescape(text); err == nil {
			text = t
		}
	}
	text = strings.ToLower(text)
	b := a.AsSlice()
	hexed := hex.EncodeToString(b)
	candidates := []string{a.String(), a.StringExpanded(), fmt.Sprintf("%d", b), fmt.Sprintf("%#v", b)[len("[]byte"):], hexed}
	if a.Is4() {
		candidates = append(candidates,
			fmt.Sprintf("%d-%d-%d-%d", b[0], b[1], b[2], b[3]), fmt.Sprintf("%d.%d.%d.%d", b[3], b[2], b[1], b[0]),
			fmt.Sprintf("%03d.%03d.%03d.%03d", b[0], b[1], b[2], b[3]),
			fmt.Sprintf("%02x%02x:%02x%02x", b[0], b[1], b[2], b[3]), fmt.Sprint(uint64(mapped)|uint64(b[0])<<24|uint64(b[1])<<16|uint64(b[2])<<8|uint64(b[3])))
	} else {
		r := []byte(hexed)
		slices.Reverse(r)
		candidates = append(candidates, strings.Join(strings.Split(string(r), ""), "."), strings.TrimLeft(hexed[:16], "0"), fmt.Sprint(be(b)))
	}
	for _, c := range candidates {
		if strings.Contains(text, strings.ToLower(c)) {
			return c
		}
	}
	return ""
}

func be(b []byte) (v uint64) {
	for _, c := range b[:8] {
		v = v<<8 | uint64(c)
	}
	return v
}

func TestRedactEveryNotation(t *testing.T) {
	t.Parallel()
	var r Redactor
	for _, a := range canaries {
		for name, text := range notations(a) {
			// The scan finds the address before, or it would find nothing after.
			if leaks(text, a) == "" && !strings.Contains(text, "::") {
				t.Errorf("control: %s of %s: %q is not found", name, a, text)
			}
			got := r.String(text)
			if found := leaks(got, a); found != "" || got == text {
				t.Errorf("%s: %q became %q, in which there is %q", name, text, got, found)
			}
		}
	}
}

func TestRedactExactly(t *testing.T) {
	t.Parallel()
	r := Redactor{Show: []Network{{netip.MustParsePrefix("192.0.2.0/24")}, {netip.MustParsePrefix("2001:db8:5::/48")}}}
	for in, want := range map[string]string{
		"session from 198.51.100.7:40123 ended":                      "session from (address) ended",
		"read tcp [2001:db8::1]:443->[2001:db8::2%eth0]:5: reset":    "read tcp (address)->(address): reset",
		"dial 2001:db8::1: connection refused":                       "dial (address): connection refused",
		`{"peer":"198.51.100.7","n":281473902969607}`:                `{"peer":"(address)","n":0}`,
		"a 198.51.100.7, b 198.51.100.8.":                            "a (address), b (address).",
		"x=%5B2001%3Adb8%3A%3A1%5D%3A443&y=1":                        "x=(address)&y=1",
		"[198 51 100 7] {198 51}":                                    "[0] {198 51}",
		`{"x":"\u0026198.51.100.7\b198.51.100.7\nfe80::1\u0026::2"}`: `{"x":"\u0026(address)\b(address)\n(address)\u0026(address)"}`,
		`C:\\b198.51.100.7 x198.51.100.7 ab198.51.100.7`:             `C:\\b(address) x(address) ab(address)`,
		`"\x01198.51.100.7" "\x1f2001:db8::1"`:                       `"\x01(address)" "\x1f(address)"`,
		`"\f::2 \b2001:db8::1 \fe80::1"`:                             `"\f(address) \b(address) \f(address)"`,
		"remote:::ffff:c633:6407 at:::2":                             "remote:(address) at:(address)",
		"ab2001:db8::1 xab2001:db8::1":                               "ab(address) xab(address)",
		// What is no address stays.
		"2026-11-26T09:46:12.123Z took 1.5s, version 1.26.8":          "",
		"sha256 AA:BB:CC:DD:EE:FF:00:11:22:33":                        "",
		"mac 02:42:ac:11:00:02":                                       "",
		"OID 1.3.6.1.5.5.7.3.2, std::string, %zz 100%":                "",
		"listen 127.0.0.1:9090 and [::1]:9090, [::]:443, 0.0.0.0:1":   "",
		"own 192.0.2.77:443, [2001:db8:5::1]:443, ::ffff:192.0.2.1":   "",
		"serial 0123456789, session 0f1e2d3c4b5a69788796a5b4c3d2e1f0": "",
		"10 calls, 3:2, 1.2.3, 300.1.1.1, 12:34":                      "",
		"https://example.com/a:b?c=%20d":                              "",
		"":                                                            "",
	} {
		if want == "" {
			want = in
		}
		if got := r.String(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got := r.String("192.0.3.1 2001:db8:6::1"); got != "(address) (address)" {
		t.Errorf("beside what is shown: %q", got)
	}
}

// What is logged through hclog, its adapters and http.Server is redacted, whatever the
// line is cut into.
func TestRedactingWriter(t *testing.T) {
	t.Parallel()
	for _, format := range []bool{false, true} {
		var out bytes.Buffer
		var r Redactor
		w := r.Writer(&out)
		log := hclog.New(&hclog.LoggerOptions{Name: "test", Level: hclog.Trace, Output: w, JSONFormat: format})
		for _, a := range canaries {
			for name, text := range notations(a) {
				log.Info("message "+text, "field", text, "error", fmt.Errorf("outer: %w", errors.New(text)))
				log.Named("sub").With("peer", a).Warn(name, "addr", netip.AddrPortFrom(a, 1), "list", []netip.Addr{a}, "multi", "line\n"+text+"\nline")
				log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Error}).Printf("http: TLS handshake error from %s: EOF", text)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if out.Len() < 10000 {
			t.Fatalf("control: %d bytes are logged", out.Len())
		}
		for _, a := range canaries {
			if found := leaks(out.String(), a); found != "" {
				t.Errorf("json %v: %q is in the log", format, found)
			}
		}
		if !format {
			continue
		}
		for line := range bytes.Lines(out.Bytes()) {
			if !json.Valid(line) {
				t.Errorf("not JSON any more: %s", line)
			}
		}
	}
}

// An address may come in pieces.
func TestRedactingWriterInPieces(t *testing.T) {
	t.Parallel()
	text := "from 198.51.100.7:1\nand [2001:db8::1]:2\nlast 203.0.113.9"
	for size := 1; size < len(text); size++ {
		var out bytes.Buffer
		w := new(Redactor).Writer(&out)
		for c := range slices.Chunk([]byte(text), size) {
			if n, err := w.Write(c); n != len(c) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if want := "from (address)\nand (address)\nlast (address)"; out.String() != want {
			t.Errorf("in pieces of %d: %q", size, out.String())
		}
	}
}

// The time for a line grows with its length only: what a peer can make a server log
// keeps nobody busy.
func TestRedactIsLinear(t *testing.T) {
	t.Parallel()
	for _, part := range []string{
		"1.", "1-", "300.", "a.", "aa:", "a:", ":", "::", "1:", "[", "[1 ", "{1 ", "%25", "%", "\\", "\\u0026", "\\b", "1", "a", "0x", "fe80::1%", "1.2.3.4.5 ",
	} {
		// A time that grows with the square of the length would be minutes.
		text := []byte(strings.Repeat(part, (256<<10)/len(part)))
		began := time.Now()
		new(Redactor).Append(nil, text)
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%q: %s for 256 KiB", part, took)
		}
	}
}

func TestClassOf(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]Class{
		http.StatusSwitchingProtocols: OK, http.StatusOK: OK, http.StatusNotModified: OK,
		http.StatusForbidden: Refused, http.StatusNotFound: Refused, http.StatusTooManyRequests: Limited,
		http.StatusInternalServerError: Failed, http.StatusBadGateway: Failed,
	} {
		if got := ClassOf(status); got != want {
			t.Errorf("%d: %s, want %s", status, got, want)
		}
	}
}
